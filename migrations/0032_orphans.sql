-- These keys were compared with the table they point to for each row, five times a payment: a query, a lock and a record
-- in the log of the server each time. Each compared two results of one statement, so that only a fault in that statement could
-- break it. The statement says so by itself, and `doctor` and every story look for rows that point to nothing.
ALTER TABLE outbox DROP CONSTRAINT outbox_event_id_fkey;
ALTER TABLE due DROP CONSTRAINT due_order_key_fkey;
ALTER TABLE orders DROP CONSTRAINT orders_payment_fkey, DROP CONSTRAINT orders_refund_fkey;
ALTER TABLE attempts DROP CONSTRAINT attempts_command_key_fkey;
ALTER TABLE commands DROP CONSTRAINT commands_outcome_event_fkey;
