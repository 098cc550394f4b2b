-- Who did it is more than a name: the person, then the operating system's user, the host, and who used sudo.
ALTER TABLE operator_actions
    DROP CONSTRAINT operator_actions_name_is_bounded,
    ADD CONSTRAINT operator_actions_name_is_bounded CHECK (char_length(done_by) BETWEEN 1 AND 300);
ALTER TABLE decisions
    DROP CONSTRAINT decisions_name_is_bounded,
    ADD CONSTRAINT decisions_name_is_bounded CHECK (char_length(decided_by) BETWEEN 1 AND 300);
ALTER TABLE pauses
    DROP CONSTRAINT pauses_name_is_bounded,
    ADD CONSTRAINT pauses_name_is_bounded CHECK (char_length(paused_by) BETWEEN 1 AND 300);
