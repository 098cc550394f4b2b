-- Looking for what is parked for an order must not be answered by the index of times, which is as cheap as the
-- other one where nothing was parked when the server last counted, and is read whole. A look says
-- `order_key IS NULL`, which proves nothing about this condition.
DROP INDEX notifications_parked_since;
CREATE INDEX notifications_parked_since ON notifications (received_at) WHERE coalesce(order_key, 0) = 0;
