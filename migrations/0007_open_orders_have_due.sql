-- An order that somebody still waits for has something due: judged once for each statement and all its
-- rows, where it was judged for each row at the commit. So whoever opens an order writes what it waits for
-- before, or in the same statement; and whoever ends it deletes that afterwards.
DROP TRIGGER open_order_has_due_when_opened ON orders;
DROP TRIGGER open_order_has_due_when_done ON due;
DROP FUNCTION open_order_has_due();

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
