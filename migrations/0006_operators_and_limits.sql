-- What operators did, who and why, for a later audit. Rows are only ever added.
CREATE TABLE operator_actions (
    key       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT jenius_now(),
    action    text        NOT NULL,
    subject   text        NOT NULL,   -- what it was done to: an invoice number, a scope, a dead letter
    merchant  text,
    reason    text,
    done_by   text,        -- as `decisions.decided_by`
    detail    text,
    done_from text,        -- as `decisions.done_from`, and so is the next
    action_id uuid        UNIQUE,
    CONSTRAINT operator_actions_action_is_known CHECK (action IN (
        'pause', 'resume', 'replay_events', 'replay_dead_letter', 'drop_dead_letter', 'check_order',
        'prune', 'restored', 'import_settlement', 'close_break', 'import_order', 'console_login', 'console_enter',
        'console_leave', 'show_customer', 'propose_decision')),
    CONSTRAINT operator_actions_subject_is_bounded CHECK (char_length(subject) BETWEEN 1 AND 255),
    CONSTRAINT operator_actions_merchant_is_bounded CHECK (char_length(merchant) BETWEEN 1 AND 255),
    CONSTRAINT operator_actions_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT operator_actions_name_is_bounded CHECK (char_length(done_by) BETWEEN 1 AND 300),
    CONSTRAINT operator_actions_place_is_bounded CHECK (char_length(done_from) BETWEEN 1 AND 100),
    CONSTRAINT operator_actions_detail_is_bounded CHECK (char_length(detail) BETWEEN 1 AND 1000)
);

CREATE INDEX operator_actions_about ON operator_actions (subject, merchant);

CREATE FUNCTION operator_actions_are_kept() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'what operators did is only ever added to'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'operator_actions_are_kept';
END
$$;

CREATE TRIGGER operator_actions_are_kept
    BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_actions
    FOR EACH STATEMENT
    EXECUTE FUNCTION operator_actions_are_kept();

-- Which merchants' sends are paused now; `*` pauses all of them. Workers and follow-up read it before they send.
CREATE TABLE pauses (
    scope     text        PRIMARY KEY,   -- `*`, or a merchant
    since     timestamptz NOT NULL DEFAULT jenius_now(),
    reason    text,
    paused_by text,                      -- as `decisions.decided_by`
    CONSTRAINT pauses_scope_is_all_or_a_merchant CHECK (scope = '*' OR scope ~ '^[a-z0-9_]{1,32}$'),
    CONSTRAINT pauses_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT pauses_name_is_bounded CHECK (char_length(paused_by) BETWEEN 1 AND 300)
);

-- What breakers and the rate limit stop now is known to the processes alone. Each reports it here, so that a person
-- who looks at an order sees why it waits. A process that has not reported for a while is gone, and its rows mean nothing.
CREATE TABLE send_stops (
    process     uuid        NOT NULL,
    merchant    text        NOT NULL,
    stopped_by  text        NOT NULL,
    since       timestamptz NOT NULL,
    detail      text        NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (process, merchant),
    CONSTRAINT send_stops_by_is_known CHECK (stopped_by IN ('breaker', 'rate'))
);

-- The rate limit `doku.requests_per_second`, shared by all processes: up to when a merchant's time is given away. A
-- process that takes a block of tokens moves it on, and has the time in between for itself.
--
-- Unlogged: no block of tokens waits for a disk or a standby. After a crash or a promotion the table is empty, and what
-- was given ahead, a second at most, is given once more.
CREATE UNLOGGED TABLE rate_schedule (
    merchant    merchant_name PRIMARY KEY,
    given_until timestamptz   NOT NULL
) WITH (fillfactor = 50);
