-- A statement that rests on what was read before it writes everything or nothing: called with false, this
-- undoes it. JN001 is nobody else's: whoever sees it reads again, under the lock.
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
