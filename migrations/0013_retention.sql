-- The stored request of a command may be emptied, but not while a send may still need it.
ALTER TABLE commands ADD CONSTRAINT commands_request_is_kept_until_settled CHECK (
    outcome IS NOT NULL OR octet_length(request_body) > 0);

-- Orders wait for a person after one of these events. There are few, and no column of this index ever changes:
-- one on the orders' own state would cost every update of them its HOT path.
CREATE INDEX events_that_ask_for_a_person ON events (order_key)
    WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved');
