-- Settlement: DOKU's book and ours, compared. What a person brings in is kept as it came, its rows beside it, and what does
-- not fit. Nothing here moves an order: the only tables of the service that are written to are `due`, for inquiries, and
-- `events` and `outbox`, for what fits.

-- A file as it came. The same bytes are one file of a merchant, however often they come. Its state says how far its import is;
-- a later import of the same bytes goes on from there. Sums are whole rupiah.
CREATE TABLE settlement_files (
    key           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant      text        NOT NULL,
    sha256        bytea,                     -- null while its bytes still come in
    name          text        NOT NULL,
    profile       text        NOT NULL,
    state         text        NOT NULL DEFAULT 'receiving',
    received_at   timestamptz NOT NULL DEFAULT jenius_now(),
    done_at       timestamptz,
    emptied_at    timestamptz,               -- `prune` took its bytes away
    pieces        integer     NOT NULL DEFAULT 0,   -- counted with each: a standby that took over may lack the last
    bytes         bigint      NOT NULL DEFAULT 0,
    form          text,
    encoding      text,
    lines_read    bigint      NOT NULL DEFAULT 0,   -- whose rows are kept
    judged_to     bigint      NOT NULL DEFAULT 0,   -- the key of the row up to which invoices are judged
    batch         text,                      -- the one that it states
    rows          bigint      NOT NULL DEFAULT 0,   -- of all channels, readable
    own_rows      bigint      NOT NULL DEFAULT 0,
    own_gross     bigint      NOT NULL DEFAULT 0,   -- of purchases
    own_refunded  bigint      NOT NULL DEFAULT 0,
    own_fee       bigint      NOT NULL DEFAULT 0,
    own_discount  bigint      NOT NULL DEFAULT 0,
    own_net       bigint      NOT NULL DEFAULT 0,
    unreadable    bigint      NOT NULL DEFAULT 0,
    without_order bigint      NOT NULL DEFAULT 0,
    net           bigint      NOT NULL DEFAULT 0,   -- of all its rows
    stated_net    bigint,
    totals_fault  text,
    first_paid_out_on    date,               -- of our payments
    first_transaction_on date,               -- of those in that pay-out
    latest_paid_out_on   date,               -- of our rows
    latest_batch_on      date,               -- of all its rows
    CONSTRAINT settlement_files_bytes_are_one_file UNIQUE (merchant, sha256),
    CONSTRAINT settlement_files_state_is_known CHECK (state IN ('receiving', 'reading', 'held', 'matching', 'done')),
    CONSTRAINT settlement_files_digest_is_sha256 CHECK (octet_length(sha256) = 32),
    CONSTRAINT settlement_files_digest_once_received CHECK ((state = 'receiving') = (sha256 IS NULL)),
    CONSTRAINT settlement_files_end_once_done CHECK ((state = 'done') = (done_at IS NOT NULL)),
    CONSTRAINT settlement_files_form_is_known CHECK (form IN ('csv', 'xlsx')),
    CONSTRAINT settlement_files_encoding_is_known CHECK (encoding IN ('utf-8', 'utf-16le', 'utf-16be', 'windows-1252')),
    CONSTRAINT settlement_files_name_is_bounded CHECK (char_length(name) <= 255),
    CONSTRAINT settlement_files_counts_from_zero CHECK (
        pieces >= 0 AND bytes >= 0 AND lines_read >= 0 AND judged_to >= 0 AND rows >= 0 AND own_rows >= 0 AND unreadable >= 0
        AND without_order >= 0)
);

-- Its bytes, 1 MiB a piece, with the customers' names in them: read by operators alone, emptied by `prune`.
CREATE TABLE settlement_pieces (
    file   bigint  NOT NULL REFERENCES settlement_files ON DELETE CASCADE,
    number integer NOT NULL,
    bytes  bytea   NOT NULL,
    PRIMARY KEY (file, number),
    CONSTRAINT settlement_pieces_are_bounded CHECK (octet_length(bytes) BETWEEN 1 AND 1048576)
);
ALTER TABLE settlement_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Rows of our channel. Equal rows of one batch are one row, whichever of its files has them; `number` tells equal ones of one
-- file apart. The id is that of the row's event: it is made of all values of the row, with merchant and batch.
--
-- A million rows come at once, while payments go on: each index more costs every row of them as much as the row itself. The
-- keys follow the order of the files.
CREATE TABLE settlement_rows (
    key            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid        NOT NULL,
    number         integer     NOT NULL,
    merchant       text        NOT NULL,
    batch          text        NOT NULL,
    invoice_number text        NOT NULL COLLATE "C",
    kind           text        NOT NULL,
    type_word      text        NOT NULL DEFAULT '',
    sub_account    text        NOT NULL DEFAULT '',
    gross          bigint      NOT NULL,
    fee            bigint      NOT NULL,
    discount       bigint      NOT NULL,
    net            bigint      NOT NULL,
    transaction_on date        NOT NULL,
    paid_out_on    date        NOT NULL,
    files          bigint[]    NOT NULL,
    seen_at        timestamptz NOT NULL DEFAULT jenius_now(),
    CONSTRAINT settlement_rows_are_known_by_their_values UNIQUE (invoice_number, id, number),
    CONSTRAINT settlement_rows_kind_is_known CHECK (kind IN ('purchase', 'refund', 'unknown')),
    CONSTRAINT settlement_rows_number_from_one CHECK (number >= 1)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- The rows of a batch stand together, as they came: a line for each megabyte is enough to find them.
CREATE INDEX settlement_rows_of_a_batch ON settlement_rows USING brin (batch) WITH (autosummarize = on);

-- The files of each batch, in the order in which they came, each with what our rows of the batch in it come to.
CREATE TABLE settlement_forms (
    merchant    text   NOT NULL,
    batch       text   NOT NULL,
    file        bigint NOT NULL REFERENCES settlement_files ON DELETE CASCADE,
    purchases   bigint NOT NULL DEFAULT 0,
    gross       bigint NOT NULL DEFAULT 0,
    fee         bigint NOT NULL DEFAULT 0,
    discount    bigint NOT NULL DEFAULT 0,
    net         bigint NOT NULL DEFAULT 0,
    refunds     bigint NOT NULL DEFAULT 0,
    refunded    bigint NOT NULL DEFAULT 0,
    paid_out_on date,
    PRIMARY KEY (merchant, batch, file)
);

-- What is known of a merchant's account from all its files, and from which order on the next search for missing ones begins.
CREATE TABLE settlement_accounts (
    merchant             text        PRIMARY KEY,
    profile              text        NOT NULL,
    first_paid_out_on    date,
    first_transaction_on date,
    latest_paid_out_on   date,
    latest_batch_on      date,
    search_from          bigint      NOT NULL DEFAULT 0,
    search_asked_at      timestamptz          -- a person closed what hid missing orders
);

-- What does not fit, one row each however often it is found.
CREATE TABLE settlement_breaks (
    key            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant       text        NOT NULL,
    cause          text        NOT NULL,
    subject        text        NOT NULL,     -- the row, the order or the batch
    invoice_number text        COLLATE "C",
    batch          text,
    at_stake       bigint      NOT NULL,
    found          text        NOT NULL,     -- both sides, without a customer's data
    first_seen_at  timestamptz NOT NULL DEFAULT jenius_now(),   -- since it opened, or opened again
    closed_at      timestamptz,
    closed_by      text,                     -- file, check or person
    CONSTRAINT settlement_breaks_are_known_by_their_subject UNIQUE (merchant, cause, subject),
    CONSTRAINT settlement_breaks_cause_is_known CHECK (cause IN (
        'missing_at_doku', 'missing_here', 'amount_mismatch', 'status_mismatch', 'refund_missing', 'refund_unexpected',
        'fee_mismatch', 'net_arithmetic', 'batch_missing', 'unknown_channel', 'duplicate_row', 'duplicate_in_other_batch',
        'batch_changed', 'totals_mismatch', 'unreadable_row', 'unknown_type')),
    CONSTRAINT settlement_breaks_stake_from_zero CHECK (at_stake >= 0),
    CONSTRAINT settlement_breaks_closed_by_somebody CHECK ((closed_at IS NULL) = (closed_by IS NULL)),
    CONSTRAINT settlement_breaks_closed_by_is_known CHECK (closed_by IN ('file', 'check', 'person'))
);
CREATE INDEX settlement_breaks_of_an_invoice ON settlement_breaks (merchant, invoice_number);
CREATE INDEX settlement_breaks_open ON settlement_breaks (merchant, cause) WHERE closed_at IS NULL;

-- What became of each: opened, changed, closed, opened again. Only ever added to.
CREATE TABLE settlement_break_history (
    key       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    break     bigint      NOT NULL,
    at        timestamptz NOT NULL DEFAULT jenius_now(),
    what      text        NOT NULL,
    at_stake  bigint      NOT NULL,
    found     text        NOT NULL,
    done_by   text,
    reason    text,
    CONSTRAINT settlement_break_history_what_is_known CHECK (what IN ('opened', 'changed', 'reopened', 'closed')),
    CONSTRAINT settlement_break_history_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500)
);
CREATE INDEX settlement_break_history_of_a_break ON settlement_break_history (break);

-- Invoices that are judged again though no file comes: what their orders become may close a break, or a day make one.
CREATE TABLE settlement_looks (
    merchant       text        NOT NULL,
    invoice_number text        NOT NULL COLLATE "C",
    look_at        timestamptz NOT NULL,
    ask            boolean     NOT NULL DEFAULT false,   -- DOKU is still to be asked
    PRIMARY KEY (merchant, invoice_number)
);
CREATE INDEX settlement_looks_due ON settlement_looks (look_at);

-- Events of rows that fit, before they enter the outbox a few at a time.
CREATE TABLE settlement_waiting (
    row_key  bigint PRIMARY KEY,
    replaces uuid            -- the event that a changed batch made void
);

-- The shares of a split settlement, kept when `prune` empties the request that they stand in.
CREATE TABLE settlement_shares (
    merchant       text  NOT NULL,
    invoice_number text  NOT NULL COLLATE "C",
    shares         text  NOT NULL,
    PRIMARY KEY (merchant, invoice_number)
);
