-- The request that a report is about, where it says so, and what makes it the same report as another, in one text:
-- that request, the status by its meaning, the amount by its value. What was told before is known by it.
ALTER TABLE notifications ADD COLUMN request text;
ALTER TABLE notifications ADD COLUMN said text;
UPDATE notifications SET said = concat_ws(E'\n',
    CASE upper(coalesce(status, '')) WHEN 'REFUND' THEN 'REFUNDED' ELSE upper(coalesce(status, '')) END,
    coalesce(amount, ''), '');
ALTER TABLE notifications ALTER COLUMN said SET NOT NULL;

ALTER TABLE notifications DROP CONSTRAINT notifications_reason_is_known;
ALTER TABLE notifications ADD CONSTRAINT notifications_reason_is_known CHECK (
    reason IN ('duplicate', 'no_change', 'amount_mismatch', 'incomplete', 'other_request'));

-- The same parked report is kept once, however often it is sent. This index is also how what is parked is walked,
-- invoice by invoice.
DELETE FROM notifications n USING notifications earlier
WHERE n.order_key IS NULL AND earlier.order_key IS NULL AND earlier.key < n.key
  AND (earlier.merchant, earlier.invoice_number, earlier.said) = (n.merchant, n.invoice_number, n.said);
DROP INDEX notifications_parked;
CREATE UNIQUE INDEX notifications_parked ON notifications (merchant, invoice_number, said) WHERE order_key IS NULL;

ALTER TABLE orders DROP CONSTRAINT orders_review_cause_is_known;
ALTER TABLE orders ADD CONSTRAINT orders_review_cause_is_known CHECK (review_cause IN (
    'payment_unresolved', 'refund_unresolved', 'check_gave_up', 'amount_mismatch', 'other_request'));
ALTER TABLE decisions DROP CONSTRAINT decisions_review_cause_is_known;
ALTER TABLE decisions ADD CONSTRAINT decisions_review_cause_is_known CHECK (review_cause IN (
    'payment_unresolved', 'refund_unresolved', 'check_gave_up', 'amount_mismatch', 'other_request'));

-- All refunds of an order, the latest and those before it: each has a Request-Id that a report may name. No column of
-- this index ever changes.
CREATE INDEX commands_refunds ON commands (merchant, invoice_number) WHERE kind = 'refund';

-- Whether DOKU ever named a request of ours in a report. Where it names only others, time after time, it calls ours by
-- another name than we believe, and no report would ever decide an order.
CREATE TABLE reported_requests (
    merchant   text        PRIMARY KEY,
    others     bigint      NOT NULL,   -- reports about requests of nobody here, before the first about one of ours
    matched_at timestamptz,            -- the first about one of ours
    CONSTRAINT reported_requests_merchant_is_a_name CHECK (merchant ~ '^[a-z0-9_]{1,32}$'),
    CONSTRAINT reported_requests_count_from_zero CHECK (others >= 0)
);
