-- A pattern with a bounded repetition costs PostgreSQL ten microseconds each time it is looked at, and a row of `orders` is
-- looked at when it is made and whenever it changes. The length by itself and the characters by themselves cost half of one.

ALTER TABLE orders
    DROP CONSTRAINT orders_merchant_is_a_name,
    DROP CONSTRAINT orders_invoice_is_a_number,
    ADD CONSTRAINT orders_merchant_is_a_name CHECK (char_length(merchant) <= 32 AND merchant ~ '^[a-z0-9_]+$'),
    ADD CONSTRAINT orders_invoice_is_a_number CHECK (
        char_length(invoice_number) <= 64 AND invoice_number ~ '^[!-~]+$' AND invoice_number NOT IN ('.', '..'));

ALTER TABLE rate_schedule
    DROP CONSTRAINT rate_schedule_merchant_is_a_name,
    ADD CONSTRAINT rate_schedule_merchant_is_a_name CHECK (char_length(merchant) <= 32 AND merchant ~ '^[a-z0-9_]+$');

ALTER TABLE reported_requests
    DROP CONSTRAINT reported_requests_merchant_is_a_name,
    ADD CONSTRAINT reported_requests_merchant_is_a_name CHECK (char_length(merchant) <= 32 AND merchant ~ '^[a-z0-9_]+$');
