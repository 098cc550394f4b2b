-- A refund of an order from before the database went back in time: DOKU must say that the order is paid still before
-- the refund is sent for the first time.
ALTER TABLE commands ADD COLUMN ask_first boolean NOT NULL DEFAULT false;

-- Such a refund may turn out to have been made by another: then it is rejected though it was claimed, and keeps its
-- request, since whoever still holds its claim is not to take it for forgotten.
ALTER TABLE commands
    DROP CONSTRAINT commands_request_unless_rejected,
    ADD CONSTRAINT commands_request_unless_rejected CHECK (
        num_nulls(request_id, client_id, base_url, request_body, claimed_at, sends_end_at) = 0
        OR (outcome IS NOT DISTINCT FROM 'rejected'
            AND num_nulls(request_id, client_id, base_url, request_body, claimed_at, sends_end_at) = 6));
ALTER TABLE commands ADD CONSTRAINT commands_rejected_after_its_claim_was_not_sent CHECK (
    outcome IS DISTINCT FROM 'rejected' OR claimed_at IS NULL OR (ask_first AND sends = 0));

ALTER TABLE operator_actions
    DROP CONSTRAINT operator_actions_action_is_known,
    ADD CONSTRAINT operator_actions_action_is_known CHECK (action IN (
        'pause', 'resume', 'replay_events', 'replay_dead_letter', 'drop_dead_letter', 'check_order',
        'prune', 'restored'));
