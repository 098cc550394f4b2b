CREATE DOMAIN event_type AS text
    CONSTRAINT event_type_is_known CHECK (VALUE IN (
        'payment.accepted', 'payment.declined', 'payment.unresolved', 'payment.abandoned',
        'refund.accepted', 'refund.declined', 'refund.unresolved', 'refund.abandoned',
        'order.paid', 'order.failed', 'order.expired', 'order.refunded', 'order.review', 'order.resolved',
        'command.rejected', 'settlement.matched'));

-- What we tell the world. The transaction of a change inserts its events. A row never changes: every
-- publication of an event has the same bytes.
CREATE TABLE events (
    event_id       uuid        PRIMARY KEY,
    order_key      bigint,     -- null: a rejection, which is about a command
    version        from_one,
    type           event_type  NOT NULL,   -- the routing key
    correlation_id text,
    traceparent    text,
    body           bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT events_of_an_order_are_unique UNIQUE (order_key, version),
    CONSTRAINT events_version_with_order CHECK ((order_key IS NULL) = (version IS NULL)),
    CONSTRAINT events_rejections_have_no_order CHECK (
        (type IN ('command.rejected', 'settlement.matched')) = (order_key IS NULL))
);

-- Orders wait for a person after one of these events. There are few, and no column of this index ever changes:
-- an index on the orders' own state would cost every update of them its HOT path.
CREATE INDEX events_that_ask_for_a_person ON events (order_key)
    WHERE type IN ('order.review', 'payment.unresolved', 'refund.unresolved');

-- When the broker first confirmed an event. It has a narrow table of its own, because a column of `events`
-- would write the whole row again, its body and its index entries too.
CREATE TABLE publications (
    event_id     uuid        PRIMARY KEY,
    published_at timestamptz NOT NULL
);

-- Events that are to be published. A row leaves only after the broker's publish confirm. The sequence
-- follows the commits of one order, because every insert is made under that order's row lock.
--
-- `event_id` is no foreign key: the statement that inserts a row here inserts its event too, so that only a
-- fault in that statement could break the key, and PostgreSQL would pay a query, a lock and a WAL record for
-- each row to compare them. `doctor` and the tests look for rows that point to nothing. The same holds for the
-- other references without REFERENCES in this schema.
CREATE TABLE outbox (
    sequence   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid        NOT NULL,
    order_key  bigint,     -- null: holds no order back (a rejection, a re-publication)
    created_at timestamptz NOT NULL DEFAULT jenius_now()
) WITH (
    -- Rows live for milliseconds: without an eager vacuum every read walks over thousands of dead ones.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
