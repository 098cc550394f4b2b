-- What an order waits for, and when. Narrow, and as long as the open orders are many, not the old ones.
-- Whoever writes a row holds the row lock of its order.
--
-- With a token an attempt is under way, and `at` is the end of its lease: whoever comes later finds the
-- attempt lost.
CREATE TABLE due (
    order_key    bigint      PRIMARY KEY REFERENCES orders,
    merchant     text        NOT NULL,
    kind         text        NOT NULL,
    at           timestamptz NOT NULL,
    sends_end_at timestamptz,
    token        uuid,
    claimed_at   timestamptz,
    -- Since when nobody here has the account and host it was made for: its budget stands still.
    stranded_at  timestamptz,
    CONSTRAINT due_kind_is_known CHECK (kind IN ('send', 'inquiry')),
    CONSTRAINT due_sends_end CHECK ((kind = 'send') = (sends_end_at IS NOT NULL)),
    CONSTRAINT due_token_with_claim CHECK ((token IS NULL) = (claimed_at IS NULL)),
    CONSTRAINT due_lease_after_claim CHECK (at > claimed_at)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX due_at ON due (at);

-- An order that somebody still waits for always has something due: without it nothing would ever move it
-- again. Judged at the commit, on what the tables say then.
CREATE FUNCTION open_order_has_due() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    judged bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.order_key ELSE NEW.order_key END;
BEGIN
    IF EXISTS (SELECT FROM orders
               WHERE order_key = judged AND state IN ('submitting', 'awaiting_payment', 'refunding'))
        AND NOT EXISTS (SELECT FROM due WHERE order_key = judged)
    THEN
        RAISE EXCEPTION 'order % is open and nothing is due for it', judged
            USING ERRCODE = 'check_violation', CONSTRAINT = 'open_order_has_due';
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER open_order_has_due_when_opened
    AFTER INSERT OR UPDATE OF state ON orders
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state IN ('submitting', 'awaiting_payment', 'refunding'))
    EXECUTE FUNCTION open_order_has_due();

CREATE CONSTRAINT TRIGGER open_order_has_due_when_done
    AFTER DELETE ON due
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    EXECUTE FUNCTION open_order_has_due();
