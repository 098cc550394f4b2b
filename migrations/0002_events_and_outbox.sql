-- What we tell the world. A row is written in the transaction of the change it tells of, its body as the
-- bytes that are published, every time the same; afterwards only `published_at` is ever set.
CREATE TABLE events (
    event_id       uuid        PRIMARY KEY,
    order_key      bigint,     -- null: a rejection, which is about a command
    version        integer,
    type           text        NOT NULL,   -- the routing key
    correlation_id text,
    traceparent    text,
    body           bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    published_at   timestamptz,            -- the first publish confirm
    CONSTRAINT events_of_an_order_are_unique UNIQUE (order_key, version),
    CONSTRAINT events_version_with_order CHECK ((order_key IS NULL) = (version IS NULL)),
    CONSTRAINT events_version_from_one CHECK (version >= 1),
    CONSTRAINT events_rejections_have_no_order CHECK ((type = 'command.rejected') = (order_key IS NULL)),
    CONSTRAINT events_type_is_known CHECK (type IN (
        'payment.accepted', 'payment.declined', 'payment.unresolved', 'payment.abandoned',
        'refund.accepted', 'refund.declined', 'refund.unresolved', 'refund.abandoned',
        'order.paid', 'order.failed', 'order.expired', 'order.refunded', 'order.review', 'order.resolved',
        'command.rejected'))
) WITH (fillfactor = 90);

-- Events that are to be published. A row leaves only after the broker's publish confirm. The sequence
-- follows the commits of one order, because whoever inserts holds that order's row lock.
CREATE TABLE outbox (
    sequence   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid        NOT NULL REFERENCES events,
    order_key  bigint,     -- null: holds no order back (a rejection, a re-publication)
    created_at timestamptz NOT NULL DEFAULT jenius_now()
) WITH (
    -- Rows live for milliseconds: without an eager vacuum every read walks over thousands of dead ones.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
