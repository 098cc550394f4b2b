//! Records: one transaction with all that follows, written once, however late it comes.

use super::*;
use crate::{
    domain::schedule::SendRank,
    flow::ports::{ClaimError, StoreError},
    postgres::{claim_identity::ClaimIdentity, orders},
};
use chrono::TimeDelta;

/// Claims a payment that waits for its first send, and then that.
pub(super) async fn first_send(store: &PostgresStore, new: NewCommand) -> Box<Claim> {
    let invoice_number = new.order.invoice_number.clone();
    let deferred = store.claim(NewCommand { lease: None, ..new }).await.unwrap();
    assert!(matches!(deferred, Claimed::Deferred), "{deferred:?}");
    let order_key = sqlx::query_scalar("SELECT order_key FROM orders WHERE invoice_number = $1")
        .bind(invoice_number.as_str())
        .fetch_one(&mut *store.context.pool.acquire().await.unwrap())
        .await
        .unwrap();
    let what = DueWhat::Send { rank: SendRank::First, asks_first: false };
    let due = DueOrder { order_key, merchant: merchant(), what };
    match store.claim_due(&due, for_it(&due), LEASE).await.unwrap() {
        DueClaim::Attempt(claim) => claim,
        DueClaim::Gone => panic!("its first send is not due"),
    }
}

#[tokio::test]
async fn an_accepted_payment_waits_for_its_customer_and_is_announced() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.store.record(&claim, &accepted("SUCCESS"), Duration::from_millis(250)).await.unwrap();
        assert_eq!(db.state().await, "awaiting_payment");
        let told = db.outbox().await.pop().unwrap();
        let members: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["specversion", "id", "source", "type", "subject", "time", "sequence", "traceparent", "data"];
        assert_eq!(members, expected);
        assert_eq!(told["specversion"], "1.0");
        assert_eq!(told["source"], "/jenius-pay/default");
        assert_eq!(told["subject"], "INV-1");
        assert_eq!(told["sequence"], "1");
        assert_eq!(told["traceparent"], "00-aa-bb-01");
        let id = Uuid::parse_str(told["id"].as_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), 7);
        let time = told["time"].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000000Z".len() && time.ends_with('Z'), "{time}");
        assert_eq!(
            told["data"],
            serde_json::json!({
                "merchant": "default", "invoice_number": "INV-1", "amount": "50000", "currency": "IDR",
                "state": "awaiting_payment", "previous_state": "submitting", "evidence": "response",
                "doku_status": "SUCCESS", "command_id": "1", "command_source": "/shop", "request_id": "INV-1",
                "error": null, "late": false
            })
        );
        let attempt = "SELECT number || kind || result || http_status || ' ' ||
                       round(extract(epoch FROM finished_at - started_at) * 1000) FROM attempts";
        assert_eq!(db.text(attempt).await, "1sendaccepted200 250");
        let settled =
            "SELECT c.outcome || e.type FROM commands c JOIN events e ON e.event_id = c.outcome_event";
        assert_eq!(db.text(settled).await, "acceptedpayment.accepted");
        assert_eq!(
            db.number("SELECT inquire_rank::bigint FROM due WHERE token IS NULL AND send_at IS NULL AND inquire_at > jenius_now()").await,
            1
        );
    })
    .await;
}

/// What is believed of a first claim's order is what is stored of it: nothing else makes it right not to look.
#[tokio::test]
async fn a_first_claim_knows_its_order_as_it_is_stored() {
    on_a_database(|db| async move {
        for waits in [false, true] {
            let new =
                NewCommand { lease: Some(LEASE), ..payment(&waits.to_string(), &format!("INV-{waits}")) };
            let claim = if waits { *first_send(&db.store, new).await } else { db.claim(new).await };
            let fresh = claim.fresh.as_ref().expect("a first send");
            let now = db.number("SELECT (extract(epoch FROM jenius_now()) * 1000000)::bigint").await;
            let believed =
                orders::LoadedOrder::as_claimed(&ClaimIdentity::from_claim(&claim), claim.token, fresh);
            let order_key = claim.order_key;
            let stored = db
                .store
                .context
                .transaction(move |c| Box::pin(async move { orders::lock(c, order_key).await }))
                .await
                .unwrap();
            assert_eq!(believed.record, stored.record);
            assert_eq!((believed.revision, believed.payment_key), (stored.revision, stored.payment_key));
            assert!(believed.refund_key.is_none() && stored.is_claimed_by(claim.token));
            let ahead = TimeDelta::microseconds(believed.now.timestamp_micros() - now);
            assert!(ahead >= TimeDelta::zero() && ahead < TimeDelta::seconds(1), "{ahead}");
            assert!(fresh.nothing_parked);
        }
    })
    .await;
}

/// What happens to a payment between the look for what is due and the claim of its first send.
#[tokio::test]
async fn a_first_send_is_claimed_only_while_nothing_was_written_about_its_order() {
    on_a_database(|db| async move {
        let due = |order_key, merchant| DueOrder {
            order_key,
            merchant,
            what: DueWhat::Send { rank: SendRank::First, asks_first: false },
        };
        let what = DueNeed::Send { inquiry_held_back: false };
        let claim = async |key, of| db.store.claim_due(&due(key, of), what, LEASE).await.unwrap();
        for invoice in ["INV-1", "INV-2", "INV-3"] {
            let new = NewCommand { lease: None, ..payment(invoice, invoice) };
            assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        }
        super::evidence::notify(&db.store, "INV-1", "SUCCESS", 50_000).await;
        assert!(matches!(claim(1, merchant()).await, DueClaim::Gone), "it is paid");
        let other = MerchantName::parse("other").unwrap();
        assert!(matches!(claim(2, other).await, DueClaim::Gone), "another merchant's permit");
        let (one, two) = tokio::join!(claim(2, merchant()), claim(2, merchant()));
        let granted = [one, two].into_iter().filter(|claim| matches!(claim, DueClaim::Attempt(_))).count();
        assert_eq!(granted, 1);
        db.jump(901).await;
        assert!(matches!(claim(3, merchant()).await, DueClaim::Gone), "its sends have ended");
    })
    .await;
}

/// Nothing was sent yet: no doubt follows from a look that failed.
#[tokio::test]
async fn a_first_send_stays_claimed_where_the_look_for_parked_reports_fails() {
    on_a_database(|db| async move {
        let new = NewCommand { lease: None, ..payment("1", "INV-1") };
        assert!(matches!(db.store.claim(new).await, Ok(Claimed::Deferred)));
        db.execute("ALTER TABLE notifications RENAME TO away").await.unwrap();
        let claim = taken(&db.store).await;
        assert!(!claim.fresh.as_ref().expect("a first send").nothing_parked);
        db.execute("ALTER TABLE away RENAME TO notifications").await.unwrap();
        assert!(!db.store.apply_parked(&claim).await.unwrap());
    })
    .await;
}

/// Each of these happens between the claim and its answer, and none of it is written over.
#[tokio::test]
async fn a_first_answer_that_finds_its_order_changed_is_recorded_by_what_it_finds() {
    on_a_database(|db| async move {
        let [reported_paid, other_clock, given_back] = ["INV-1", "INV-2", "INV-3"];
        let mut claims = Vec::new();
        for invoice in [reported_paid, other_clock, given_back] {
            claims.push(db.claim(payment(invoice, invoice)).await);
        }
        super::evidence::notify(&db.store, reported_paid, "SUCCESS", 50_000).await;
        db.store.record(&claims[0], &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1", "jenius.order.paid.v1"]);
        db.store.release_claim(&claims[2]).await.unwrap();
        db.store.record(&claims[2], &not_acted(), Duration::ZERO).await.unwrap();
        assert_eq!(
            db.number("SELECT count(*) FROM due WHERE order_key = 3 AND send_at <= jenius_now()").await,
            1
        );
        db.jump(7).await;
        db.store.record(&claims[1], &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        let settled = "SELECT count(*) FROM commands WHERE settled_at > clock_timestamp() + interval '6 s'";
        assert_eq!(db.number(settled).await, 1);
    })
    .await;
}

/// Nearly every first answer is recorded by a statement of its own, which must write what the general one does: a clock
/// that jumps sends the second answer there.
#[tokio::test]
async fn an_accepted_payment_is_recorded_the_same_by_either_statement() {
    on_a_database(|db| async move {
        let short = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE '%WITH n AS MATERIALIZED%' AND pid <> pg_backend_pid()";
        let first = db.claim(payment("1", "INV-1")).await;
        assert_eq!(db.number(short).await, 0);
        db.store.record(&first, &accepted("PENDING"), Duration::from_millis(250)).await.unwrap();
        assert_eq!(db.number(short).await, 1, "the short statement was not used");
        let second = db.claim(payment("2", "INV-2")).await;
        db.jump(7).await;
        db.store.record(&second, &accepted("PENDING"), Duration::from_millis(250)).await.unwrap();
        let third = first_send(&db.store, payment("3", "INV-3")).await;
        db.store.record(&third, &accepted("PENDING"), Duration::from_millis(250)).await.unwrap();
        for (table, order) in [
            ("orders", "order_key"),
            ("commands", "key"),
            ("due", "order_key"),
            ("events", "order_key"),
            ("outbox", "order_key"),
            ("attempts", "command_key"),
        ] {
            // Of what is drawn or measured, only whether it is there.
            let rows = format!(
                "SELECT coalesce(string_agg(row, E'\\n' ORDER BY k), '') FROM (
                     SELECT t.{order} AS k, (
                         SELECT string_agg(key || '=' || CASE
                             WHEN value = 'null' THEN 'null'
                             WHEN key ~ '_at$|_since$|key$|token|birth|_id$|^id$|event$|digest|invoice|body|sequence|payment'
                             THEN 'there' ELSE value::text END, ' ' ORDER BY key)
                         FROM jsonb_each(to_jsonb(t))) AS row
                     FROM {table} t) AS r"
            );
            let rows = db.text(&rows).await;
            let [first, second, third] = rows.lines().collect::<Vec<_>>()[..] else { panic!("{table}: {rows}") };
            assert_eq!((first, first), (second, third), "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_record_asked_for_twice_is_written_once() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        for learned in [not_acted(), not_acted()] {
            db.store.record(&claim, &learned, Duration::ZERO).await.unwrap();
        }
        assert_eq!(db.number("SELECT sends::bigint FROM commands").await, 1);
        assert_eq!(db.number("SELECT count(*) FROM attempts").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_counts_but_a_late_failure_schedules_nothing() {
    on_a_database(|db| async move {
        let first = db.claim(payment("1", "INV-1")).await;
        db.jump(50).await;
        let second = taken(&db.store).await;
        let scheduled = db.text("SELECT lease_ends_at::text || token FROM due").await;
        db.store.record(&first, &not_acted(), Duration::from_secs(50)).await.unwrap();
        assert_eq!(db.text("SELECT lease_ends_at::text || token FROM due").await, scheduled);
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE maybe_acted_at IS NULL").await, 0);
        db.store.record(&second, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert_eq!(db.state().await, "awaiting_payment");
        let results = "SELECT string_agg(result, ' ' ORDER BY number) FROM attempts";
        assert_eq!(db.text(results).await, "lost not_acted accepted");
    })
    .await;
}

#[tokio::test]
async fn the_signed_answer_of_a_late_worker_settles_the_command() {
    on_a_database(|db| async move {
        let first = db.claim(payment("1", "INV-1")).await;
        db.jump(50).await;
        let second = taken(&db.store).await;
        db.store.record(&first, &accepted("PENDING"), Duration::from_secs(50)).await.unwrap();
        assert_eq!(db.state().await, "awaiting_payment");
        db.store.record(&second, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1"]);
    })
    .await;
}

#[tokio::test]
async fn no_change_without_its_event() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        db.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN RAISE EXCEPTION ''no events today''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON events EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
        let refused = db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await;
        assert!(matches!(refused, Err(ClaimError::Store(StoreError::Refused(_)))), "{refused:?}");
        assert_eq!(db.state().await, "submitting");
        assert_eq!(db.number("SELECT count(*) FROM commands WHERE outcome IS NULL").await, 1);
        assert_eq!(db.number("SELECT count(*) FROM attempts").await, 0);
        let token = "SELECT count(*) FROM due WHERE token IS NOT NULL";
        assert_eq!(db.number(token).await, 1);
        db.execute("DROP TRIGGER refuse ON events").await.unwrap();
        db.store.record(&claim, &accepted("PENDING"), Duration::ZERO).await.unwrap();
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1"]);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_is_dropped_changes_nothing_about_its_record() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        let learned = accepted("PENDING");
        let dropped =
            tokio::time::timeout(Duration::from_micros(1), db.store.record(&claim, &learned, Duration::ZERO));
        let _ = dropped.await;
        for _ in 0..200 {
            if db.state().await == "awaiting_payment" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the record was dropped with its caller");
    })
    .await;
}

async fn park(db: &Db, status: &str, amount: &str) {
    db.execute(&format!(
        "INSERT INTO notifications (merchant, invoice_number, request_id, status, amount, report_key)
         VALUES ('default', 'INV-1', 'n', {status}, {amount}, concat_ws(' ', {status}, {amount}))"
    ))
    .await
    .unwrap();
}

#[tokio::test]
async fn what_was_parked_decides_an_order_before_its_first_send() {
    on_a_database(|db| async move {
        park(&db, "'PENDING'", "NULL").await;
        park(&db, "'SUCCESS'", "'50000.00'").await;
        park(&db, "'SUCCESS'", "'50000'").await;
        let claim = db.claim(payment("1", "INV-1")).await;
        assert!(db.store.apply_parked(&claim).await.unwrap());
        assert_eq!(db.state().await, "paid");
        assert_eq!(db.types().await, ["jenius.payment.accepted.v1", "jenius.order.paid.v1"]);
        let reasons = "SELECT string_agg(coalesce(reason, 'applied'), ' ' ORDER BY key) FROM notifications
             WHERE order_key IS NOT NULL";
        assert_eq!(db.text(reasons).await, "incomplete applied no_change");
    })
    .await;
}

#[tokio::test]
async fn without_parked_evidence_the_first_send_goes_on() {
    on_a_database(|db| async move {
        let claim = db.claim(payment("1", "INV-1")).await;
        assert!(!db.store.apply_parked(&claim).await.unwrap());
        park(&db, "'SUCCESS'", "NULL").await;
        assert!(!db.store.apply_parked(&claim).await.unwrap(), "what says nothing decides nothing");
        assert_eq!(db.state().await, "submitting");
    })
    .await;
}

#[tokio::test]
async fn parked_evidence_of_another_amount_sends_the_order_to_review() {
    on_a_database(|db| async move {
        park(&db, "'SUCCESS'", "'49999'").await;
        let claim = db.claim(payment("1", "INV-1")).await;
        assert!(db.store.apply_parked(&claim).await.unwrap());
        assert_eq!(db.text("SELECT state || review_cause FROM orders").await, "reviewamount_mismatch");
        assert_eq!(db.types().await, ["jenius.payment.unresolved.v1", "jenius.order.review.v1"]);
    })
    .await;
}

/// Beside another's answer: that one is recorded in the same statement.
#[tokio::test]
async fn an_order_that_was_asked_about_during_its_first_send_has_its_attempts_in_order() {
    on_a_database(|db| async move {
        let (checked, other) = (db.claim(payment("1", "INV-1")).await, db.claim(payment("2", "INV-2")).await);
        let asked = evidence::inquiry(&db.store, "INV-1").await;
        let finding = InquiryFindingKind::NotFound { proves: false };
        let nothing = InquiryFinding { kind: finding, http_status: Some(404), retry_after: None };
        db.store.record(&asked, &Finding::Inquiry(nothing), Duration::ZERO).await.unwrap();
        db.execute(
            "CREATE FUNCTION several() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT count(*) FROM written) <> 2 THEN RAISE EXCEPTION 'not together'; END IF;
                 RETURN NULL; END $$;
             CREATE TRIGGER several AFTER INSERT ON attempts REFERENCING NEW TABLE AS written
             FOR EACH STATEMENT EXECUTE FUNCTION several()",
        )
        .await
        .unwrap();
        let answer = accepted("PENDING");
        let (first, second) = tokio::join!(
            db.store.record(&checked, &answer, Duration::ZERO),
            db.store.record(&other, &answer, Duration::ZERO)
        );
        first.and(second).unwrap();
        let made = "SELECT string_agg(number || kind || ' ' || result, ', ' ORDER BY command_key, number) FROM attempts";
        assert_eq!(db.text(made).await, "1inquiry not_found, 2send accepted, 1send accepted");
    })
    .await;
}
