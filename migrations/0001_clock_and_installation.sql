-- One clock judges leases, due times, budgets and the times of events: this one. Nothing else in the
-- schema or in the program's SQL may ask for the time, so that a test that replaces this function moves
-- all of them together. A condition on an indexed column wraps it, `(SELECT jenius_now())`: a volatile
-- function by itself cannot bound an index scan.
CREATE FUNCTION jenius_now() RETURNS timestamptz
    LANGUAGE sql VOLATILE
    AS 'SELECT clock_timestamp()';

-- A database belongs to one environment of DOKU from its first start: sandbox orders and real money
-- never share a table. The primary key allows one row.
CREATE TABLE installation (
    only_row    boolean     PRIMARY KEY DEFAULT true,
    environment text        NOT NULL,
    bound_at    timestamptz NOT NULL DEFAULT jenius_now(),
    CONSTRAINT installation_has_one_row CHECK (only_row),
    CONSTRAINT installation_environment_is_known CHECK (environment IN ('sandbox', 'production'))
);

-- When the database last went back in time (a restore, a standby that lost the last commits), as an operator
-- reported it. DOKU may have acted on commands and orders from before under claims that are gone.
CREATE TABLE restored (
    only_row boolean     PRIMARY KEY DEFAULT true,
    at       timestamptz NOT NULL,
    CONSTRAINT restored_has_one_row CHECK (only_row)
);

-- Rules about one value are domains: PostgreSQL prepares a domain's CHECK once a session, and a table's CHECK again
-- for each statement that writes the table, which would cost a statement of few rows half of its time. Rules about
-- several columns are CHECKs of their table.
--
-- A length by itself and the characters by themselves: a pattern with a bounded repetition costs PostgreSQL ten
-- microseconds a row, these two half of one.
CREATE DOMAIN merchant_name AS text
    CONSTRAINT merchant_is_a_name CHECK (char_length(VALUE) <= 32 AND VALUE ~ '^[a-z0-9_]+$');
-- Byte by byte, whatever the database's collation is: a person searches by the beginning of one.
CREATE DOMAIN invoice_number AS text COLLATE "C"
    CONSTRAINT invoice_is_a_number CHECK (
        char_length(VALUE) <= 64 AND VALUE ~ '^[!-~]+$' AND VALUE NOT IN ('.', '..'));
CREATE DOMAIN from_zero AS integer
    CONSTRAINT counts_from_zero CHECK (VALUE >= 0);
CREATE DOMAIN from_one AS integer
    CONSTRAINT counts_from_one CHECK (VALUE >= 1);
CREATE DOMAIN attempt_kind AS text
    CONSTRAINT attempt_kind_is_known CHECK (VALUE IN ('send', 'inquiry'));
