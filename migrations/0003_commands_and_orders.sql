CREATE DOMAIN command_kind AS text
    CONSTRAINT command_kind_is_known CHECK (VALUE IN ('payment', 'refund'));
CREATE DOMAIN command_outcome AS text
    CONSTRAINT command_outcome_is_known CHECK (
        VALUE IN ('accepted', 'declined', 'unresolved', 'abandoned', 'rejected'));
CREATE DOMAIN command_source AS text
    CONSTRAINT command_source_is_bounded CHECK (char_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN command_id AS text
    CONSTRAINT command_id_is_bounded CHECK (char_length(VALUE) BETWEEN 1 AND 128);
-- What a sender wrote, whether it is valid or not.
CREATE DOMAIN as_written AS text
    CONSTRAINT as_written_is_bounded CHECK (char_length(VALUE) <= 255);
CREATE DOMAIN command_import AS text
    CONSTRAINT command_import_is_known CHECK (VALUE IN ('with_request_id', 'without_request_id'));
CREATE DOMAIN sha256 AS bytea
    CONSTRAINT digest_is_sha256 CHECK (octet_length(VALUE) = 32);

-- Every command with a usable identity, the rejected ones too. Never pruned: a row is what makes a
-- second delivery of the same command a duplicate.
CREATE TABLE commands (
    key              bigint          GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Which claim a command has: drawn once with it and never changed. A database that went back in time hands
    -- out the same keys again: a process that still holds a claim compares this value, and so learns that its
    -- key is another command's now.
    birth            uuid            NOT NULL DEFAULT gen_random_uuid(),
    source           command_source  NOT NULL,
    id               command_id      NOT NULL,
    kind             command_kind    NOT NULL,
    merchant         as_written      NOT NULL,   -- as the sender wrote it: a rejected one may name none of ours
    digest           sha256          NOT NULL,   -- SHA-256 of the canonical data: "the same data"
    invoice_number   as_written,
    traceparent      text,
    tracestate       text,
    published_at     timestamptz,            -- as its sender gave it, for a metric: nothing is decided by it
    received_at      timestamptz     NOT NULL,
    -- The exact request, stored before the first send. Every resend uses these bytes, and goes to this
    -- account and host or nowhere. Pruning may empty the body, but not while a send may still need it.
    request_id       text,
    client_id        text,
    base_url         text,
    request_body     bytea,
    claimed_at       timestamptz,
    sends_end_at     timestamptz,
    expires_at       timestamptz,            -- its expirytime, which no stand-still moves
    -- A refund of an order from before the database went back in time: DOKU must answer that the order is still
    -- paid before the refund is sent for the first time.
    ask_first        boolean         NOT NULL DEFAULT false,
    -- No command asked for this payment: it was made before the service was there, and an operator's file says so,
    -- with its Request-Id or without.
    imported         command_import,
    -- How far it has come.
    sends            from_zero       NOT NULL DEFAULT 0,
    last_send_at     timestamptz,
    maybe_acted_at   timestamptz,            -- sticky doubt: the last send that may have acted
    doubted_at       timestamptz,            -- when doubt began: resends do not put its inquiry off
    inquired_at      timestamptz,            -- the last inquiry
    failed_inquiries from_zero       NOT NULL DEFAULT 0,
    contradictions   from_zero       NOT NULL DEFAULT 0,
    -- What became of it.
    outcome          command_outcome,
    settled_at       timestamptz,
    outcome_event    uuid,                   -- in `events`
    CONSTRAINT commands_identity_is_unique UNIQUE (source, id),
    CONSTRAINT commands_settled_with_event CHECK (
        num_nulls(outcome, settled_at, outcome_event) IN (0, 3)
        OR (imported IS NOT NULL AND outcome_event IS NULL)),
    CONSTRAINT commands_imported_are_accepted_payments CHECK (
        imported IS NULL OR (kind = 'payment' AND outcome IS NOT DISTINCT FROM 'accepted' AND sends = 0)),
    -- A rejected command has no request. One exception keeps it: a refund with `ask_first` that turns out to
    -- have been made by another is rejected though it was claimed, and the holder of its claim must not take
    -- the command for a forgotten one.
    CONSTRAINT commands_request_unless_rejected CHECK (
        num_nulls(request_id, client_id, base_url, request_body, claimed_at, sends_end_at) = 0
        OR (outcome IS NOT DISTINCT FROM 'rejected'
            AND num_nulls(request_id, client_id, base_url, request_body, claimed_at, sends_end_at) = 6)),
    CONSTRAINT commands_rejected_after_its_claim_was_not_sent CHECK (
        outcome IS DISTINCT FROM 'rejected' OR claimed_at IS NULL OR (ask_first AND sends = 0)),
    CONSTRAINT commands_request_is_kept_until_settled CHECK (
        outcome IS NOT NULL OR octet_length(request_body) > 0),
    CONSTRAINT commands_invoice_unless_rejected CHECK (
        invoice_number IS NOT NULL OR outcome IS NOT DISTINCT FROM 'rejected'),
    CONSTRAINT commands_no_send_after_expiry CHECK (sends_end_at <= expires_at)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- All refunds of an order, the latest and those before it: each has a Request-Id that a report may name. No
-- column of this index ever changes.
CREATE INDEX commands_refunds ON commands (merchant, invoice_number) WHERE kind = 'refund';

-- A person searches by the Request-Id of a refund. A payment's is its invoice number.
CREATE INDEX commands_refund_requests ON commands (request_id) WHERE kind = 'refund';

-- All commands with a smaller key have their outcome, and an outcome stays. So the count of open commands
-- does not read those that were settled long ago.
CREATE TABLE balance (
    only_row      boolean PRIMARY KEY DEFAULT true,
    settled_below bigint  NOT NULL DEFAULT 0,
    CONSTRAINT balance_has_one_row CHECK (only_row)
);

INSERT INTO balance DEFAULT VALUES;

CREATE DOMAIN rupiah AS bigint
    CONSTRAINT amount_in_range CHECK (VALUE BETWEEN 1 AND 999999999999);
CREATE DOMAIN order_state AS text
    CONSTRAINT order_state_is_known CHECK (VALUE IN (
        'submitting', 'awaiting_payment', 'paid', 'failed', 'expired', 'abandoned',
        'refunding', 'refunded', 'review'));
CREATE DOMAIN review_cause AS text
    CONSTRAINT review_cause_is_known CHECK (VALUE IN (
        'payment_unresolved', 'refund_unresolved', 'check_gave_up', 'amount_mismatch', 'other_request'));
CREATE DOMAIN evidence AS text
    CONSTRAINT evidence_is_known CHECK (VALUE IN ('response', 'notification', 'check', 'operator'));
CREATE DOMAIN revision AS bigint
    CONSTRAINT revision_from_zero CHECK (VALUE >= 0);

-- One row for each (merchant, invoice number). No index beyond the two unique ones: an index on a column
-- that changes would cost every update its HOT path. What is open is found through `due`.
CREATE TABLE orders (
    order_key          bigint         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant           merchant_name  NOT NULL,
    invoice_number     invoice_number NOT NULL,
    amount             rupiah         NOT NULL,
    state              order_state    NOT NULL,
    review_cause       review_cause,
    state_since        timestamptz    NOT NULL,
    version            from_zero      NOT NULL DEFAULT 0,   -- events so far
    revision           revision       NOT NULL DEFAULT 0,   -- raised by every write, claims of refunds too
    announced_paid     boolean        NOT NULL DEFAULT false,
    announced_failed   boolean        NOT NULL DEFAULT false,
    announced_expired  boolean        NOT NULL DEFAULT false,
    announced_refunded boolean        NOT NULL DEFAULT false,
    doku_status        text,
    evidence           evidence,
    checks_made        from_zero      NOT NULL DEFAULT 0,
    prompted_at        timestamptz,            -- for when a notification without an account last made an inquiry due:
                                               -- at most one for each minute
    payment            bigint         NOT NULL,   -- in `commands`
    refund             bigint,                 -- in `commands`, the latest
    created_at         timestamptz    NOT NULL,
    -- A person searches by the beginning of an invoice number alone.
    CONSTRAINT orders_invoice_is_unique UNIQUE (invoice_number, merchant),
    CONSTRAINT orders_review_has_a_cause CHECK ((state = 'review') = (review_cause IS NOT NULL)),
    -- Leaving `submitting` is always announced, and always for some evidence. An imported order has no event yet when
    -- it is paid, and when its first refund is claimed.
    CONSTRAINT orders_unannounced_while_submitting CHECK (
        (state = 'submitting') = (version = 0) OR (version = 0 AND state IN ('paid', 'refunding'))),
    CONSTRAINT orders_evidence_unless_submitting CHECK ((state = 'submitting') = (evidence IS NULL)),
    CONSTRAINT orders_refund_is_commanded CHECK (
        refund IS NOT NULL
        OR (state <> 'refunding' AND review_cause IS DISTINCT FROM 'refund_unresolved')),
    CONSTRAINT orders_no_refund_while_submitting CHECK (state <> 'submitting' OR refund IS NULL),
    CONSTRAINT orders_paid_is_announced CHECK (state NOT IN ('paid', 'refunding') OR announced_paid),
    CONSTRAINT orders_failed_is_announced CHECK (state <> 'failed' OR announced_failed),
    CONSTRAINT orders_expired_is_announced CHECK (state <> 'expired' OR announced_expired),
    CONSTRAINT orders_refunded_is_announced CHECK (state <> 'refunded' OR announced_refunded)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- A statement that rests on what was read before it writes everything or nothing: called with false, this
-- function undoes it. No other fault raises JN001: the caller that sees it reads again, under the lock.
CREATE FUNCTION all_or_nothing(held boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF held IS NOT TRUE THEN
        RAISE EXCEPTION 'what this statement rests on is not so any more' USING ERRCODE = 'JN001';
    END IF;
    RETURN true;
END
$$;
