-- When its sender published a command, where the sender said so: a metric's, and nothing is decided by it.
ALTER TABLE commands ADD COLUMN published_at timestamptz;
