-- What operators did, who and why: for whoever asks later. Only ever added to.
CREATE TABLE operator_actions (
    key      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT jenius_now(),
    action   text        NOT NULL,
    subject  text        NOT NULL,   -- what it was done to: an invoice number, a scope, a dead letter
    merchant text,
    reason   text,
    done_by  text,                   -- null: the operator's machine did not say
    detail   text,
    CONSTRAINT operator_actions_action_is_known CHECK (action IN (
        'pause', 'resume', 'replay_events', 'replay_dead_letter', 'drop_dead_letter', 'check_order',
        'prune')),
    CONSTRAINT operator_actions_subject_is_bounded CHECK (char_length(subject) BETWEEN 1 AND 255),
    CONSTRAINT operator_actions_merchant_is_bounded CHECK (char_length(merchant) BETWEEN 1 AND 255),
    CONSTRAINT operator_actions_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT operator_actions_name_is_bounded CHECK (char_length(done_by) BETWEEN 1 AND 64),
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

-- Whose sends are paused now, everybody's under `*`. Every worker and follow-up reads it before it sends.
CREATE TABLE pauses (
    scope     text        PRIMARY KEY,   -- `*`, or a merchant
    since     timestamptz NOT NULL DEFAULT jenius_now(),
    reason    text,
    paused_by text,
    CONSTRAINT pauses_scope_is_all_or_a_merchant CHECK (scope = '*' OR scope ~ '^[a-z0-9_]{1,32}$'),
    CONSTRAINT pauses_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT pauses_name_is_bounded CHECK (char_length(paused_by) BETWEEN 1 AND 64)
);
