-- doku.requests_per_second, kept over all processes: up to when a merchant's time is given away. Whoever takes a
-- block of tokens moves it on, and has the time in between for itself.
CREATE TABLE rate_schedule (
    merchant    text        PRIMARY KEY,
    given_until timestamptz NOT NULL,
    CONSTRAINT rate_schedule_merchant_is_a_name CHECK (merchant ~ '^[a-z0-9_]{1,32}$')
) WITH (fillfactor = 50);
