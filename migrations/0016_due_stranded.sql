-- What is stranded is looked for every few seconds and is nothing nearly always: found without a look at all that
-- is due.
CREATE INDEX due_stranded ON due (order_key) WHERE stranded_at IS NOT NULL;
