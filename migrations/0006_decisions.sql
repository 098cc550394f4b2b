-- What operators decided about orders in review, and why: for whoever asks later. Only ever added to.
CREATE TABLE decisions (
    key          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_key    bigint      NOT NULL REFERENCES orders,
    at           timestamptz NOT NULL,
    review_cause text        NOT NULL,   -- the order was in review, for this
    state        text        NOT NULL,   -- and became this
    reason       text        NOT NULL,
    decided_by   text,                   -- null: the operator's machine did not say
    checked_doku boolean     NOT NULL,
    CONSTRAINT decisions_review_cause_is_known CHECK (review_cause IN (
        'payment_unresolved', 'refund_unresolved', 'check_gave_up', 'amount_mismatch')),
    CONSTRAINT decisions_state_is_a_verdict CHECK (state IN ('paid', 'failed', 'refunded')),
    CONSTRAINT decisions_have_a_reason CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT decisions_name_is_bounded CHECK (char_length(decided_by) BETWEEN 1 AND 64),
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
