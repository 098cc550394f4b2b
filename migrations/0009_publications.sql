-- When an event was first confirmed by the broker, in a narrow table of its own: an update of the event
-- wrote its whole row again, body and index entries too. Now events are only ever added to.
CREATE TABLE publications (
    event_id     uuid        PRIMARY KEY,
    published_at timestamptz NOT NULL
);

INSERT INTO publications (event_id, published_at)
SELECT event_id, published_at FROM events WHERE published_at IS NOT NULL;

ALTER TABLE events DROP COLUMN published_at;
ALTER TABLE events RESET (fillfactor);
