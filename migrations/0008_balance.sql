-- All commands with a smaller key have their outcome, and an outcome stays. So whoever counts the open ones
-- does not read what was settled long ago.
CREATE TABLE balance (
    only_row      boolean PRIMARY KEY DEFAULT true,
    settled_below bigint  NOT NULL DEFAULT 0,
    CONSTRAINT balance_has_one_row CHECK (only_row)
);

INSERT INTO balance DEFAULT VALUES;
