-- The console's people. A key is never kept: its SHA-256 is, so that who reads the database cannot enter.

-- Addresses that `console login` printed and that are not used up. Entering deletes the row.
CREATE TABLE console_logins (
    hash            sha256      PRIMARY KEY,
    name            text        NOT NULL,
    roles           text[]      NOT NULL,
    session_seconds integer     NOT NULL,
    ends_at         timestamptz NOT NULL,
    CONSTRAINT console_logins_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 64),
    CONSTRAINT console_logins_roles_are_known CHECK (
        cardinality(roles) > 0 AND roles <@ ARRAY['viewer', 'support', 'finance', 'operator', 'decider']),
    CONSTRAINT console_logins_last_eight_hours_at_most CHECK (session_seconds BETWEEN 1 AND 28800)
);

-- People who entered. Leaving deletes the row.
CREATE TABLE console_sessions (
    hash     sha256      PRIMARY KEY,
    name     text        NOT NULL,
    roles    text[]      NOT NULL,   -- of an address that `console login` printed; a provider's people have groups
    identified text      NOT NULL DEFAULT 'local',
    groups   text[],
    subject  text,                   -- by which the provider knows the person, whatever the name
    groups_at timestamptz,           -- when the provider last gave them
    began_at timestamptz NOT NULL DEFAULT jenius_now(),
    ends_at  timestamptz NOT NULL,
    CONSTRAINT console_sessions_name_is_bounded CHECK (char_length(name) BETWEEN 1 AND 64),
    CONSTRAINT console_sessions_roles_or_groups CHECK (
        (identified = 'local') = (groups IS NULL) AND (identified = 'local') = (groups_at IS NULL)
        AND (identified = 'local') = (cardinality(roles) > 0)),
    CONSTRAINT console_sessions_identified_is_known CHECK (identified IN ('local', 'oidc')),
    CONSTRAINT console_sessions_subject_is_the_providers CHECK ((identified = 'oidc') = (subject IS NOT NULL)),
    CONSTRAINT console_sessions_subject_is_bounded CHECK (char_length(subject) BETWEEN 1 AND 255),
    CONSTRAINT console_sessions_roles_are_known CHECK (
        roles <@ ARRAY['viewer', 'support', 'finance', 'operator', 'decider']),
    CONSTRAINT console_sessions_last_eight_hours_at_most CHECK (
        ends_at > began_at AND ends_at <= began_at + interval '8 hours')
);

-- Who is busy with an order in review, for the others to see. It forbids nothing, and ends by itself.
CREATE TABLE review_holds (
    order_key bigint      PRIMARY KEY,
    held_by   text        NOT NULL,
    ends_at   timestamptz NOT NULL,
    CONSTRAINT review_holds_name_is_bounded CHECK (char_length(held_by) BETWEEN 1 AND 300)
);

-- A decision about much money that one person made, and no second one has agreed to yet: it holds for the order as it was then,
-- and for a day.
CREATE TABLE decision_proposals (
    order_key    bigint      PRIMARY KEY,
    revision     revision    NOT NULL,
    state        order_state NOT NULL,
    checked_doku boolean     NOT NULL,
    reason       text        NOT NULL,
    proposed_by  text        NOT NULL,
    is_verified  boolean     NOT NULL,   -- a proxy or a provider gave the name: only then the proposal counts
    subject      text,                   -- by which the provider knows the person, whatever the name
    at           timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    CONSTRAINT decision_proposals_reason_is_bounded CHECK (char_length(reason) BETWEEN 1 AND 500),
    CONSTRAINT decision_proposals_name_is_bounded CHECK (char_length(proposed_by) BETWEEN 1 AND 300),
    CONSTRAINT decision_proposals_subject_is_bounded CHECK (char_length(subject) BETWEEN 1 AND 255)
);

-- `console.second_person_above` of the console that started last. The command line has no such key, and holds to it too.
CREATE TABLE second_person_rule (
    only_row boolean     PRIMARY KEY DEFAULT true,
    above    bigint,                    -- rupiah; null: one person decides
    kept_at  timestamptz NOT NULL DEFAULT jenius_now(),
    CONSTRAINT second_person_rule_has_one_row CHECK (only_row),
    CONSTRAINT second_person_rule_is_an_amount CHECK (above > 0)
);

-- What each process reports once a minute: that it runs, and what became of money through it meanwhile. A report is deleted
-- after two hours: there are 120 of a process.
CREATE TABLE process_reports (
    process    uuid        NOT NULL,
    at         timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    host       text        NOT NULL,
    version    text        NOT NULL,
    revision   text        NOT NULL,
    roles      text[]      NOT NULL,
    happened   jsonb       NOT NULL,
    PRIMARY KEY (at, process),
    CONSTRAINT process_reports_host_is_bounded CHECK (char_length(host) BETWEEN 1 AND 255)
);
