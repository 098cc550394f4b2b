-- In which of its two forms DOKU sent a notification.
ALTER TABLE notifications ADD COLUMN form text NOT NULL DEFAULT 'jenius';
ALTER TABLE notifications ADD CONSTRAINT notifications_form_is_known CHECK (form IN ('jenius', 'snap'));

-- One that DOKU's own key signed names no account: it is recorded, decides nothing, and DOKU is asked.
ALTER TABLE notifications DROP CONSTRAINT notifications_reason_is_known;
ALTER TABLE notifications ADD CONSTRAINT notifications_reason_is_known CHECK (reason IN (
    'duplicate', 'no_change', 'amount_mismatch', 'incomplete', 'other_request', 'not_bound'));

-- When such a notification last made an inquiry due: at most once a minute for an order.
ALTER TABLE orders ADD COLUMN prompted_at timestamptz;
-- While an attempt is under way that inquiry waits for its record, which would write over it.
ALTER TABLE due ADD COLUMN prompted_at timestamptz;
