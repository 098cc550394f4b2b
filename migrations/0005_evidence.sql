CREATE DOMAIN http_status AS smallint
    CONSTRAINT http_status_in_range CHECK (VALUE BETWEEN 100 AND 999);

-- Attempts that were made, for the person on call. Written with their record, not with their claim.
CREATE TABLE attempts (
    command_key bigint       NOT NULL,   -- in `commands`
    number      from_one     NOT NULL,
    kind        attempt_kind NOT NULL,
    started_at  timestamptz  NOT NULL,
    finished_at timestamptz  NOT NULL,
    http_status http_status,
    result      text         NOT NULL,
    detail      text,
    token       uuid,       -- of its claim: the same record, asked for twice, is written once
    PRIMARY KEY (command_key, number),
    CONSTRAINT attempts_end_after_their_start CHECK (finished_at >= started_at),
    CONSTRAINT attempts_send_result_is_known CHECK (
        kind <> 'send' OR result IN ('accepted', 'declined', 'not_acted', 'in_doubt', 'lost')),
    CONSTRAINT attempts_lost_without_a_record CHECK ((result = 'lost') = (token IS NULL))
);

-- Verified notifications, their signed fields only. Without an order they are parked until one appears.
CREATE TABLE notifications (
    key            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant       text        NOT NULL,
    invoice_number text        NOT NULL,
    order_key      bigint      REFERENCES orders,
    received_at    timestamptz NOT NULL DEFAULT jenius_now(),
    form           text        NOT NULL DEFAULT 'jenius',   -- in which of its two forms DOKU sent it
    request_id     text        NOT NULL,
    request        text,       -- the request of ours that it is about, if it names one
    status         text,
    amount         text,
    -- What makes it the same report as another, in one text: its `request`, the status by its meaning, the amount
    -- by its value. A repeated report is recognised by it.
    report_key     text        NOT NULL,
    applied        boolean     NOT NULL DEFAULT false,
    reason         text,       -- why it was not applied
    CONSTRAINT notifications_form_is_known CHECK (form IN ('jenius', 'snap')),
    CONSTRAINT notifications_parked_are_not_applied CHECK (order_key IS NOT NULL OR NOT applied),
    CONSTRAINT notifications_reason_unless_applied CHECK (
        (reason IS NOT NULL) = (order_key IS NOT NULL AND NOT applied)),
    -- `not_bound`: DOKU's own key signed it, so that it names no account. It is recorded and decides nothing, and
    -- DOKU is asked.
    CONSTRAINT notifications_reason_is_known CHECK (reason IN (
        'duplicate', 'no_change', 'amount_mismatch', 'incomplete', 'other_request', 'not_bound'))
);

-- The same parked report is kept once, however often DOKU sends it. The parked ones are also read through this
-- index, invoice by invoice.
CREATE UNIQUE INDEX notifications_parked ON notifications (merchant, invoice_number, report_key) WHERE order_key IS NULL;
-- PostgreSQL must not answer a look at what is parked for one order by this index: if nothing was parked when it
-- last counted, this index seems as cheap as the other one, and is read whole. Such a look asks for
-- `order_key IS NULL`, which proves nothing about the condition here.
CREATE INDEX notifications_parked_since ON notifications (received_at) WHERE coalesce(order_key, 0) = 0;
CREATE INDEX notifications_of_an_order ON notifications (order_key) WHERE order_key IS NOT NULL;

-- Whether DOKU ever named a request of ours in a report. If it names only others, time after time, it calls ours by
-- another name than we believe, and no report would ever decide an order.
CREATE TABLE reported_requests (
    merchant   merchant_name PRIMARY KEY,
    others     bigint        NOT NULL,   -- reports about requests that none of ours matches, before the first match
    matched_at timestamptz,            -- the first report about one of ours
    CONSTRAINT reported_requests_count_from_zero CHECK (others >= 0)
);

-- What operators decided about orders in review, and why, for a later audit. Rows are only ever added.
CREATE TABLE decisions (
    key          bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_key    bigint       NOT NULL REFERENCES orders,
    at           timestamptz  NOT NULL,
    review_cause review_cause NOT NULL,   -- the order was in review, for this
    state        text         NOT NULL,   -- and became this
    reason       text         NOT NULL,
    decided_by   text,                   -- the person, the system's user, the host, the user behind sudo; null: not known
    checked_doku boolean      NOT NULL,
    done_from    text,                   -- the program or address that it came from
    action_id    uuid         UNIQUE,    -- carried by the console's form: one that is sent twice acts once
    CONSTRAINT decisions_state_is_a_verdict CHECK (state IN ('paid', 'failed', 'refunded')),
    CONSTRAINT decisions_have_a_reason CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT decisions_name_is_bounded CHECK (char_length(decided_by) BETWEEN 1 AND 300),
    CONSTRAINT decisions_place_is_bounded CHECK (char_length(done_from) BETWEEN 1 AND 100),
    CONSTRAINT decisions_that_allow_a_refund_were_checked CHECK (
        checked_doku OR review_cause <> 'refund_unresolved' OR state <> 'paid')
);

CREATE INDEX decisions_of_an_order ON decisions (order_key);

CREATE FUNCTION decisions_are_kept() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'decisions are only ever added to'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'decisions_are_kept';
END
$$;

CREATE TRIGGER decisions_are_kept
    BEFORE UPDATE OR DELETE OR TRUNCATE ON decisions
    FOR EACH STATEMENT
    EXECUTE FUNCTION decisions_are_kept();
