CREATE DOMAIN inquiry_rank AS smallint
    CONSTRAINT inquiry_is_ranked CHECK (VALUE BETWEEN 0 AND 4);
CREATE DOMAIN send_rank AS smallint
    CONSTRAINT send_is_ranked CHECK (VALUE BETWEEN 0 AND 2);

-- What an order waits for, and when. The table is narrow, and as long as the open orders are many, not the old
-- ones. A row is written under the row lock of its order.
--
-- Sends and inquiries of an order have times of their own: neither puts the other off, and while sends are
-- stopped inquiries go on. Every row has an inquiry, since nothing is concluded without one; a send only if one
-- may start.
--
-- With a token an attempt is under way. The row is then in none of the lists of what is due, only in that of
-- leases: a claim and its record touch one of these indexes each. A row whose lease has ended is a lost attempt.
CREATE TABLE due (
    order_key     bigint       PRIMARY KEY,   -- in `orders`
    merchant      text         NOT NULL,
    inquire_at    timestamptz  NOT NULL,
    inquire_rank  inquiry_rank NOT NULL,
    send_at       timestamptz,
    sends_end_at  timestamptz,
    send_rank     send_rank,
    -- The attempt that is under way: what the lease is for.
    token         uuid,
    claimed_at    timestamptz,
    attempt       attempt_kind,
    lease_ends_at timestamptz,
    -- Since when no process has the account and host it was made for: its budget stands still.
    stranded_at   timestamptz,
    -- For when a report or a row of settlement asked for an inquiry, until one begins: whatever else is written about
    -- the order keeps it due.
    prompted_at   timestamptz,
    CONSTRAINT due_send_is_whole CHECK (num_nulls(send_at, sends_end_at, send_rank) IN (0, 3)),
    CONSTRAINT due_lease_is_whole CHECK (num_nulls(token, claimed_at, attempt, lease_ends_at) IN (0, 4)),
    CONSTRAINT due_lease_after_claim CHECK (lease_ends_at > claimed_at)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Payments that were not sent yet are due at once, those with most time left first: what a stop held back for long
-- keeps no customer of now waiting.
CREATE INDEX due_first_sends ON due (merchant, sends_end_at)
    WHERE send_rank = 0 AND token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_sends ON due (merchant, send_rank, send_at)
    WHERE send_rank > 0 AND token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_inquiries ON due (merchant, inquire_rank, inquire_at)
    WHERE token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_leases ON due (lease_ends_at) WHERE token IS NOT NULL;
-- Follow-up looks for stranded rows every few seconds and nearly always finds none: without this index each look
-- would read all rows.
CREATE INDEX due_stranded ON due (order_key) WHERE stranded_at IS NOT NULL;

-- An open order has something due: without it nothing would ever move the order again. Judged once for each
-- statement and all its rows. So a statement that opens an order writes its due row with it or after another
-- one wrote it, and the due row of an order that ends is deleted after the order has its final state.
CREATE FUNCTION open_order_has_due() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    idle bigint;
BEGIN
    -- OFFSET 0 makes each look one into the index: a young table's statistics would tempt to read it whole.
    IF TG_TABLE_NAME = 'orders' THEN
        SELECT w.order_key INTO idle FROM written w
        WHERE w.state IN ('submitting', 'awaiting_payment', 'refunding')
          AND NOT EXISTS (SELECT FROM due d WHERE d.order_key = w.order_key OFFSET 0)
        LIMIT 1;
    ELSE
        SELECT w.order_key INTO idle FROM written w
        WHERE EXISTS (SELECT FROM orders o
                      WHERE o.order_key = w.order_key
                        AND o.state IN ('submitting', 'awaiting_payment', 'refunding') OFFSET 0)
        LIMIT 1;
    END IF;
    IF idle IS NOT NULL THEN
        RAISE EXCEPTION 'order % is open and nothing is due for it', idle
            USING ERRCODE = 'check_violation', CONSTRAINT = 'open_order_has_due';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER open_order_has_due_when_made
    AFTER INSERT ON orders REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION open_order_has_due();

CREATE TRIGGER open_order_has_due_when_moved
    AFTER UPDATE ON orders REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION open_order_has_due();

CREATE TRIGGER open_order_has_due_when_done
    AFTER DELETE ON due REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION open_order_has_due();
