//! Group commit: many share a transaction, and none of them pays for another.

use super::*;
use crate::domain::notification::Notification;
use crate::flow::ports::{Outbox, Reconciled, RelayLeadership};
use crate::postgres::PostgresLeadership;
use futures_util::future::join_all;

const MANY: usize = 200;
/// The same, as PostgreSQL counts.
const ROWS: i64 = 200;

fn notified(invoice: &str, status: &str) -> Notification {
    Notification {
        form: Form::Jenius,
        request_id: format!("N-{invoice}"),
        invoice_number: invoice.to_owned(),
        status: Some(status.to_owned()),
        amount: Some("50000".to_owned()),
        request: None,
    }
}

fn invoice(n: usize) -> String {
    format!("INV-{n}")
}

async fn claims(db: &Db) -> Vec<Claim> {
    let claims = (0..MANY).map(|n| async move { db.claim(payment(&n.to_string(), &invoice(n))).await });
    join_all(claims).await
}

/// Committed by this database's clients so far.
async fn commits(db: &Db) -> i64 {
    db.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    db.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").await
}

#[tokio::test]
async fn many_payments_are_claimed_recorded_and_reconciled_in_few_transactions() {
    on_a_database(|db| async move {
        let before = commits(&db).await;
        let claims = claims(&db).await;
        let keys: std::collections::HashSet<_> = claims.iter().map(|c| (c.order_key, c.command_key)).collect();
        assert_eq!(keys.len(), MANY, "everybody has a claim of its own");
        for (n, claim) in claims.iter().enumerate() {
            let stored = format!(
                "SELECT count(*) FROM orders o JOIN commands c ON c.key = o.payment JOIN due d USING (order_key)
                 WHERE o.invoice_number = '{}' AND o.order_key = {} AND c.key = {} AND c.id = '{n}'
                   AND d.token = '{}'",
                invoice(n),
                claim.order_key,
                claim.command_key,
                claim.token
            );
            if n % 20 == 0 {
                assert_eq!(db.number(&stored).await, 1, "{n} has the rows of its own order");
            }
        }
        let answer = accepted("PENDING");
        join_all(claims.iter().map(|claim| db.store.record(claim, &answer, Duration::ZERO)))
            .await
            .into_iter()
            .for_each(|recorded| recorded.unwrap());
        let (merchant, said): (_, Vec<_>) = (merchant(), (0..MANY).map(|n| notified(&invoice(n), "SUCCESS")).collect());
        let reconciled = join_all(said.iter().map(|said| db.store.reconcile(&merchant, said))).await;
        assert!(reconciled.into_iter().all(|r| r.unwrap() == Reconciled::Applied));
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid' AND version = 2").await, ROWS);
        assert_eq!(db.number("SELECT count(*) FROM outbox").await, 2 * ROWS);
        assert_eq!(db.number("SELECT count(*) FROM attempts WHERE number = 1").await, ROWS);
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE applied").await, ROWS);
        let made = commits(&db).await - before;
        assert!(made < 100, "{made} transactions for {MANY} payments with all that followed");
    })
    .await;
}

#[tokio::test]
async fn an_order_that_somebody_holds_keeps_no_other_from_being_recorded() {
    on_a_database(|db| async move {
        let claims = claims(&db).await;
        let mut holder = db.sql.acquire().await.unwrap();
        execute(&mut holder, "BEGIN; SELECT FROM orders WHERE invoice_number = 'INV-7' FOR UPDATE")
            .await
            .unwrap();
        let answer = accepted("PENDING");
        let (held, others): (Vec<_>, Vec<_>) =
            claims.iter().partition(|claim| claim.request.invoice_number.as_str() == "INV-7");
        let mut waits = Box::pin(db.store.record(held[0], &answer, Duration::ZERO));
        assert!(futures_util::poll!(&mut waits).is_pending());
        // Well before anybody's wait for a lock ends.
        let recording = join_all(others.iter().map(|c| db.store.record(c, &answer, Duration::ZERO)));
        let recorded =
            tokio::time::timeout(Duration::from_secs(3), recording).await.expect("all wait for one");
        recorded.into_iter().for_each(Result::unwrap);
        assert!(futures_util::poll!(&mut waits).is_pending(), "its order is still held");
        execute(&mut holder, "COMMIT").await.unwrap();
        waits.await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'awaiting_payment'").await, ROWS);
    })
    .await;
}

/// The records of first claims and those of resends are two halves of a group. Where the second half is refused, the
/// first is committed already: its command is counted and its event wakes the relay, although nobody records it again.
#[tokio::test]
async fn a_half_that_is_committed_is_counted_and_wakes_though_the_other_half_fails() {
    on_a_database(|db| async move {
        let again = db.claim(payment("1", "INV-again")).await;
        db.store.record(&again, &not_acted(), Duration::ZERO).await.unwrap();
        db.jump(120).await;
        let again = taken(&db.store).await;
        let fresh = db.claim(payment("2", "INV-fresh")).await;
        db.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE TRIGGER refuses_resends BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.number > 1)
             EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
        crate::metric::install().unwrap();
        let woken = db.store.outbox_changed();
        while woken.notified().now_or_never().is_some() {}
        let before = settled();
        // Both are asked for before the flush begins: it runs on this thread.
        let answer = accepted("SUCCESS");
        let (refused, recorded) = tokio::join!(
            db.store.record(&again, &answer, Duration::ZERO),
            db.store.record(&fresh, &answer, Duration::ZERO)
        );
        assert!(refused.is_err(), "{refused:?}");
        recorded.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'awaiting_payment'").await, 1);
        assert!(woken.notified().now_or_never().is_some(), "nobody is woken for a committed event");
        assert!(settled() > before, "a settled command is not counted");
    })
    .await;
}

/// Of all tests of this process.
fn settled() -> u64 {
    let page = crate::metric::render();
    let line = "jenius_commands_settled_total{kind=\"payment\",outcome=\"accepted\"} ";
    page.lines().find_map(|found| found.strip_prefix(line)?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn one_that_another_transaction_overtakes_costs_the_others_nothing() {
    on_a_database(|db| async move {
        let mut other = db.sql.acquire().await.unwrap();
        let overtaking = "BEGIN;
            WITH c AS (
                INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, received_at, request_id,
                                      client_id, base_url, request_body, claimed_at, sends_end_at)
                VALUES ('/other', '1', 'payment', 'default', decode(repeat('00', 32), 'hex'), 'INV-7', now(), 'R',
                        'BRN-1', 'https://doku.example', 'b', now(), now()) RETURNING key),
            o AS (
                INSERT INTO orders (merchant, invoice_number, amount, state, state_since, payment, created_at)
                SELECT 'default', 'INV-7', 1, 'submitting', now(), key, now() FROM c RETURNING order_key)
            INSERT INTO due (order_key, merchant, inquire_rank, inquire_at)
            SELECT order_key, 'default', 1, now() FROM o";
        execute(&mut other, overtaking).await.unwrap();
        let claiming = (0..MANY).map(|n| db.store.claim(payment(&n.to_string(), &invoice(n))));
        let committing = async {
            let waits = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while db.number(waits).await == 0 {
                tokio::task::yield_now().await;
            }
            execute(&mut other, "COMMIT").await.unwrap();
        };
        let (claimed, ()) = tokio::join!(join_all(claiming), committing);
        for (n, claimed) in claimed.into_iter().enumerate() {
            let claimed = claimed.unwrap();
            assert_eq!(matches!(claimed, Claimed::Granted(_)), n != 7, "{n}: {claimed:?}");
            assert_eq!(matches!(claimed, Claimed::Rejected), n == 7, "{n}: {claimed:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_order_asked_for_at_once_is_judged_one_after_the_other() {
    on_a_database(|db| async move {
        let same = payment("1", "INV-1");
        let claiming = (0..20).map(|n| {
            let new = if n % 2 == 0 { same.clone() } else { payment(&format!("other-{n}"), "INV-1") };
            db.store.claim(NewCommand { token: Uuid::new_v4(), ..new })
        });
        let claimed: Vec<_> = join_all(claiming).await.into_iter().map(Result::unwrap).collect();
        let count = |is: fn(&Claimed) -> bool| claimed.iter().filter(|c| is(c)).count();
        assert_eq!(count(|c| matches!(c, Claimed::Granted(_))), 1);
        assert_eq!(
            count(|c| matches!(c, Claimed::Duplicate)) + count(|c| matches!(c, Claimed::Rejected)),
            19
        );
        let merchant = merchant();
        let statuses = ["PENDING", "SUCCESS", "SUCCESS", "FAILED", "SUCCESS"];
        let said: Vec<_> = statuses.iter().map(|status| notified("INV-1", status)).collect();
        for reconciled in join_all(said.iter().map(|said| db.store.reconcile(&merchant, said))).await {
            reconciled.unwrap();
        }
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE applied").await, 2);
        assert_eq!(db.number("SELECT count(*) FROM notifications WHERE reason = 'duplicate'").await, 2);
    })
    .await;
}

/// On a database that is young, whose statistics say that reading a table whole costs nothing, and on plans
/// that are kept: what a payment needs is found by an index, and it is not more for the last than for the
/// first.
#[tokio::test]
async fn no_table_is_read_as_a_whole() {
    on_a_database(|db| async move {
        let answer = accepted("PENDING");
        let merchant = merchant();
        let mut touched = Vec::new();
        for round in 0..4 {
            let named = |n: usize| format!("INV-{round}-{n}");
            let claims = join_all((0..MANY).map(|n| {
                let (db, invoice) = (&db, named(n));
                async move { db.claim(payment(&invoice, &invoice)).await }
            }))
            .await;
            let looked = join_all(claims.iter().map(|claim| db.store.apply_parked(claim))).await;
            assert!(looked.into_iter().all(|decided| !decided.unwrap()));
            let recorded = join_all(claims.iter().map(|c| db.store.record(c, &answer, Duration::ZERO))).await;
            recorded.into_iter().for_each(Result::unwrap);
            let said: Vec<_> = (0..MANY).map(|n| notified(&named(n), "SUCCESS")).collect();
            for reconciled in join_all(said.iter().map(|said| db.store.reconcile(&merchant, said))).await {
                reconciled.unwrap();
            }
            let mut outbox = PostgresLeadership::new(db.pool.clone()).acquire().await.unwrap().unwrap();
            let sequences: Vec<_> = outbox
                .unpublished(1000, &LeftOut::default())
                .await
                .unwrap()
                .iter()
                .map(|event| event.sequence)
                .collect();
            outbox.mark_published(&sequences).await.unwrap();
            db.store.due(&filter()).await.unwrap();
            db.store.next_due_in(&filter()).await.unwrap();
            drop(outbox);
            db.count_now().await;
            touched.push(db.number("SELECT sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables").await);
        }
        let whole = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables
                     WHERE relname IN ('commands', 'orders', 'due', 'events', 'outbox', 'publications',
                                       'attempts', 'notifications')";
        assert_eq!(db.number(whole).await, 0);
        // A few more each round, for what is deleted is not vacuumed yet.
        let last = touched[3] - touched[2];
        assert!(last < 60 * ROWS, "rows fetched a round: {touched:?}");
    })
    .await;
}
