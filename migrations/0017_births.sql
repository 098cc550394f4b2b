-- Which claim a command has: drawn once with it and never changed. A database that went back in time (a restore, a
-- standby that lost the last commits) hands out the same keys again: whoever still holds a claim compares this,
-- and so learns that its key is another command's now.
ALTER TABLE commands ADD COLUMN birth uuid NOT NULL DEFAULT gen_random_uuid();
