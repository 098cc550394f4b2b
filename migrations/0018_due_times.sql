-- Sends and inquiries of an order have times of their own: neither puts the other off, and while sends are stopped
-- inquiries go on. Every row has an inquiry, since nothing is concluded without one; a send only where one may start.
--
-- While an attempt is under way the row is in none of the lists of what is due, only in that of leases: a claim and
-- its record touch one of these indexes each, as before.
ALTER TABLE due
    ADD COLUMN inquire_at    timestamptz,
    ADD COLUMN inquire_rank  smallint,
    ADD COLUMN send_at       timestamptz,
    ADD COLUMN send_rank     smallint,
    ADD COLUMN attempt       text,        -- what the lease is for
    ADD COLUMN lease_ends_at timestamptz;

-- Asking too early costs an inquiry, asking too late costs time: what waited is asked about at its old time.
UPDATE due d
SET inquire_at = CASE WHEN d.kind = 'inquiry' AND d.token IS NULL THEN d.at
                      ELSE coalesce(d.sends_end_at + interval '1 minute', d.at) END,
    inquire_rank = CASE WHEN o.state IN ('submitting', 'refunding')
                        THEN CASE WHEN c.maybe_acted_at IS NULL THEN 2 ELSE 0 END
                        WHEN o.state = 'awaiting_payment' THEN 1 ELSE 3 END,
    send_at = CASE WHEN d.kind = 'send' THEN d.at END,
    send_rank = CASE WHEN d.kind = 'send'
                     THEN CASE WHEN o.state = 'refunding' THEN 2 WHEN c.sends = 0 THEN 0 ELSE 1 END END,
    attempt = CASE WHEN d.token IS NOT NULL THEN d.kind END,
    lease_ends_at = CASE WHEN d.token IS NOT NULL THEN d.at END
FROM orders o
JOIN commands c ON c.key = CASE WHEN o.state = 'refunding' THEN o.refund ELSE o.payment END
WHERE o.order_key = d.order_key;

DROP INDEX due_at;
ALTER TABLE due
    DROP CONSTRAINT due_kind_is_known,
    DROP CONSTRAINT due_sends_end,
    DROP CONSTRAINT due_token_with_claim,
    DROP CONSTRAINT due_lease_after_claim,
    DROP COLUMN kind,
    DROP COLUMN at,
    ALTER COLUMN inquire_at SET NOT NULL,
    ALTER COLUMN inquire_rank SET NOT NULL,
    ADD CONSTRAINT due_inquiry_is_ranked CHECK (inquire_rank BETWEEN 0 AND 4),
    ADD CONSTRAINT due_send_is_ranked CHECK (send_rank BETWEEN 0 AND 2),
    ADD CONSTRAINT due_send_is_whole CHECK (num_nulls(send_at, sends_end_at, send_rank) IN (0, 3)),
    ADD CONSTRAINT due_attempt_is_known CHECK (attempt IN ('send', 'inquiry')),
    ADD CONSTRAINT due_lease_is_whole CHECK (num_nulls(token, claimed_at, attempt, lease_ends_at) IN (0, 4)),
    ADD CONSTRAINT due_lease_after_claim CHECK (lease_ends_at > claimed_at);

-- Payments that were not sent yet are due at once, those with most time left first.
CREATE INDEX due_first_sends ON due (merchant, sends_end_at)
    WHERE send_rank = 0 AND token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_sends ON due (merchant, send_rank, send_at)
    WHERE send_rank > 0 AND token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_inquiries ON due (merchant, inquire_rank, inquire_at)
    WHERE token IS NULL AND stranded_at IS NULL;
CREATE INDEX due_leases ON due (lease_ends_at) WHERE token IS NOT NULL;

-- When doubt began, so that resends do not put its inquiry off; and when was last asked, in place of whether.
ALTER TABLE commands
    ADD COLUMN doubted_at  timestamptz,
    ADD COLUMN inquired_at timestamptz;
UPDATE commands SET inquired_at = last_send_at WHERE inquired;
UPDATE commands SET doubted_at = maybe_acted_at WHERE maybe_acted_at IS NOT NULL;
ALTER TABLE commands DROP COLUMN inquired;

-- What breakers and the rate keep from going now is known to the processes alone: they tell it here, so that whoever
-- looks at an order sees why it waits. A process that told nothing for a while is gone, and what it told with it.
CREATE TABLE send_stops (
    process    uuid        NOT NULL,
    merchant   text        NOT NULL,
    stopped_by text        NOT NULL,
    since      timestamptz NOT NULL,
    detail     text        NOT NULL,
    told_at    timestamptz NOT NULL,
    PRIMARY KEY (process, merchant),
    CONSTRAINT send_stops_by_is_known CHECK (stopped_by IN ('breaker', 'rate'))
);
