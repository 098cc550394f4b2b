-- Which claim a command has: drawn once with it and never changed. A database that went back in time (a restore, a
-- standby that lost the last commits) hands out the same keys again: whoever still holds a claim compares this,
-- and so learns that its key is another command's now.
ALTER TABLE commands ADD COLUMN birth uuid NOT NULL DEFAULT gen_random_uuid();

-- When the database last went back in time, as an operator told it: commands and orders from before may have been acted
-- on by DOKU under claims that are gone.
CREATE TABLE restored (
    only_row boolean     PRIMARY KEY DEFAULT true,
    at       timestamptz NOT NULL,
    CONSTRAINT restored_has_one_row CHECK (only_row)
);
