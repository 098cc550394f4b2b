-- What each role of the service may do in the database, and no more. `jenius-pay migrate --grant` grants the same; this is for
-- psql. Run it as the owner of the tables, after each migration; it can be run again:
--
--     psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f deploy/postgres/grants.sql
--
-- The roles below cannot log in. A process logs in as a user of its own that is a member of what it runs:
--
--     CREATE ROLE pay_worker LOGIN PASSWORD '…' IN ROLE jenius_worker;
--     CREATE ROLE pay_all    LOGIN PASSWORD '…' IN ROLE jenius_worker, jenius_follow_up, jenius_reconciler, jenius_relay;
--
-- The owner is a member of none. Nobody else can change the schema or switch off a trigger: what operators did is kept.
-- The ingress needs no database.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['jenius_worker', 'jenius_follow_up', 'jenius_reconciler', 'jenius_relay', 'jenius_operator'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

GRANT SELECT ON _sqlx_migrations, publications, pauses, restored, settlement_breaks TO jenius_worker;
GRANT SELECT, INSERT, DELETE ON process_reports TO jenius_worker;
GRANT SELECT, INSERT ON installation, attempts, events, outbox TO jenius_worker;
GRANT SELECT, UPDATE ON notifications, balance TO jenius_worker;
GRANT SELECT, INSERT, UPDATE ON commands, orders, rate_schedule, reported_requests TO jenius_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON due, send_stops TO jenius_worker;
-- A claim draws its keys itself.
GRANT USAGE ON SEQUENCE commands_key_seq, orders_order_key_seq TO jenius_worker;

GRANT SELECT ON _sqlx_migrations, publications, pauses, settlement_shares TO jenius_follow_up;
GRANT SELECT, INSERT, DELETE ON process_reports TO jenius_follow_up;
GRANT SELECT, INSERT ON installation, attempts, events, outbox, settlement_break_history TO jenius_follow_up;
GRANT SELECT, UPDATE ON commands, orders, balance TO jenius_follow_up;
GRANT SELECT, INSERT, UPDATE ON rate_schedule, reported_requests, settlement_forms, settlement_accounts, settlement_breaks TO jenius_follow_up;
GRANT SELECT, UPDATE, DELETE ON notifications TO jenius_follow_up;
GRANT SELECT, INSERT, UPDATE, DELETE ON due, send_stops, settlement_files, settlement_rows, settlement_looks, settlement_waiting TO jenius_follow_up;
GRANT INSERT ON settlement_pieces TO jenius_follow_up;

GRANT SELECT ON _sqlx_migrations, publications, pauses, settlement_breaks TO jenius_reconciler;
GRANT SELECT, INSERT, DELETE ON process_reports TO jenius_reconciler;
GRANT SELECT, INSERT ON installation, attempts, events, outbox TO jenius_reconciler;
GRANT SELECT, UPDATE ON commands, orders, balance TO jenius_reconciler;
GRANT SELECT, INSERT, UPDATE ON reported_requests TO jenius_reconciler;
GRANT SELECT, INSERT, UPDATE, DELETE ON due, notifications TO jenius_reconciler;

GRANT SELECT ON _sqlx_migrations, commands, orders, due, notifications, events, pauses, reported_requests, settlement_breaks TO jenius_relay;
GRANT SELECT, INSERT, DELETE ON process_reports TO jenius_relay;
GRANT SELECT, DELETE ON outbox TO jenius_relay;
GRANT SELECT, INSERT ON installation, publications TO jenius_relay;
GRANT SELECT, UPDATE ON balance TO jenius_relay;

GRANT SELECT ON _sqlx_migrations, publications, send_stops, reported_requests TO jenius_operator;
GRANT SELECT, INSERT ON installation, decisions, events, outbox, operator_actions, settlement_break_history, settlement_shares TO jenius_operator;
GRANT SELECT, INSERT, DELETE ON attempts, pauses, settlement_pieces, console_logins, console_sessions, process_reports TO jenius_operator;
GRANT SELECT, INSERT, UPDATE ON commands, orders, restored, settlement_forms, settlement_accounts, settlement_breaks, second_person_rule TO jenius_operator;
GRANT SELECT, UPDATE ON balance TO jenius_operator;
GRANT SELECT, UPDATE, DELETE ON notifications TO jenius_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON due, settlement_files, settlement_rows, settlement_looks, settlement_waiting, review_holds, decision_proposals TO jenius_operator;
