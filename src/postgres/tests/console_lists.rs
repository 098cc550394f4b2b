//! The console's lists by time and by decline code, its events, and the last hour.

use super::*;
use crate::{
    domain::{
        Time,
        command::Rejection,
        event::EventType,
        validate::{Code, Violation},
    },
    flow::ports::{EventFilter, IdentifiedPerson, OrderFilter},
    metric::Happened,
    postgres::{PgPool, ReportingProcess, last_hour, latest_events, processes, walk_orders},
};
use chrono::TimeDelta;
use uuid::Uuid;

/// Every query of a list, so that the server has its statement.
pub async fn ask_every_list(pool: &PgPool, store: &PostgresStore) {
    let (from, until) = (Time::UNIX_EPOCH, Time::UNIX_EPOCH + TimeDelta::days(1));
    let by_time = OrderFilter {
        created_from: Some(from),
        created_until: Some(until),
        declined: Some("code".to_owned()),
        limit: 50,
        ..OrderFilter::default()
    };
    walk_orders(pool, &by_time).await.unwrap();
    walk_orders(pool, &OrderFilter { oldest_first: true, ..by_time.clone() }).await.unwrap();
    for states in [vec!["review".to_owned()], vec!["review".to_owned(), "submitting".to_owned()]] {
        for oldest_first in [true, false] {
            let few = OrderFilter { oldest_first, states: states.clone(), ..by_time.clone() };
            walk_orders(pool, &few).await.unwrap();
        }
    }
    let events =
        EventFilter { limit: 50, younger_than: Some(Duration::from_secs(60)), ..EventFilter::default() };
    latest_events(pool, &events).await.unwrap();
    let of_one = Some((merchant(), InvoiceNumber::parse("INV-1").unwrap()));
    latest_events(pool, &EventFilter { order: of_one, ..events }).await.unwrap();
    store.report_process(&process(1), &Happened::default()).await.unwrap();
    processes(pool).await.unwrap();
    last_hour(pool).await.unwrap();
}

fn process(id: u128) -> ReportingProcess {
    ReportingProcess {
        id: Uuid::from_u128(id),
        host: format!("pay-{id}"),
        version: "0.1.0",
        revision: "abc",
        roles: vec!["worker", "relay"],
        uptime: Duration::from_secs(90),
    }
}

/// Orders that were created a minute after each other, each declined by a code of its own.
async fn declined_orders(db: &Db, count: i64) {
    db.execute(&format!(
        "INSERT INTO commands (source, id, kind, merchant, digest, received_at, outcome, settled_at, outcome_event, invoice_number,
                               request_id, client_id, base_url, request_body, claimed_at, sends_end_at)
         SELECT '/shop', 'c-' || n, 'payment', 'default', decode(repeat('00', 32), 'hex'), jenius_now(), 'declined', jenius_now(), gen_random_uuid(),
                'INV-' || n, 'INV-' || n, 'MCH', 'http://x', 'x', jenius_now(), jenius_now()
         FROM generate_series(1, {count}) AS n;
         INSERT INTO orders (merchant, invoice_number, amount, state, state_since, version, announced_failed, evidence, payment, created_at)
         SELECT 'default', invoice_number, 1000, 'failed', jenius_now(), 1, true, 'response', key,
                jenius_now() - interval '1 minute' * ({count} - key + 1)
         FROM commands ORDER BY key;
         INSERT INTO events (event_id, order_key, version, type, body, created_at)
         SELECT gen_random_uuid(), order_key, 1, 'payment.declined',
                convert_to(jsonb_build_object('data', jsonb_build_object('error', jsonb_build_object('code', 'C' || order_key)))::text,
                           'UTF8'), created_at
         FROM orders"
    ))
    .await
    .unwrap();
}

async fn keys(db: &Db, filter: OrderFilter) -> Vec<String> {
    let page = walk_orders(&db.pool, &OrderFilter { limit: 10, ..filter }).await.unwrap();
    page.orders.into_iter().map(|order| order.invoice_number).collect()
}

#[tokio::test]
async fn orders_are_found_by_when_they_were_created_and_by_the_code_that_declined_them() {
    on_a_database(|db| async move {
        declined_orders(&db, 60).await;
        let now = db.store.now().await.unwrap();
        let minutes_ago = |minutes: i64| Some(now - TimeDelta::seconds(minutes * 60 + 30));
        let any = OrderFilter::default;
        let range = OrderFilter { created_from: minutes_ago(22), created_until: minutes_ago(19), ..any() };
        assert_eq!(keys(&db, range.clone()).await, ["INV-41", "INV-40", "INV-39"]);
        let oldest = OrderFilter { oldest_first: true, ..range.clone() };
        assert_eq!(keys(&db, oldest).await, ["INV-39", "INV-40", "INV-41"]);
        assert_eq!(keys(&db, OrderFilter { oldest_first: true, ..any() }).await[..2], ["INV-1", "INV-2"]);
        let next = OrderFilter { oldest_first: true, before: Some(2), ..any() };
        assert_eq!(keys(&db, next).await[0], "INV-3");
        let by_code = OrderFilter { declined: Some("C7".to_owned()), ..any() };
        assert_eq!(keys(&db, by_code.clone()).await, ["INV-7"]);
        assert_eq!(keys(&db, OrderFilter { declined: Some("C".to_owned()), ..any() }).await, [""; 0]);
        assert_eq!(keys(&db, OrderFilter { created_from: range.created_from, ..by_code }).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_search_by_what_too_many_share_says_that_not_all_were_looked_at() {
    on_a_database(|db| async move {
        declined_orders(&db, 5_001).await;
        let search = async |text: &str| {
            let filter = OrderFilter { search: Some(text.to_owned()), limit: 10, ..OrderFilter::default() };
            let page = walk_orders(&db.pool, &filter).await.unwrap();
            (page.orders.len(), page.is_search_cut)
        };
        assert_eq!(search("INV-").await, (10, true));
        assert_eq!(search("INV-1").await, (10, false));
        assert_eq!(search("INV-5001").await, (1, false));
    })
    .await;
}

/// More orders are due than a page reads.
#[tokio::test]
async fn who_waits_for_a_person_is_found_however_many_others_are_due_since() {
    on_a_database(|db| async move {
        super::reviews::in_review(&db, "INV-1").await;
        db.execute(
            "INSERT INTO due (order_key, merchant, inquire_at, inquire_rank)
             SELECT n, 'default', jenius_now(), 1 FROM generate_series(100, 10100) AS n",
        )
        .await
        .unwrap();
        let review = OrderFilter { states: vec!["review".to_owned()], ..OrderFilter::default() };
        for oldest_first in [false, true] {
            assert_eq!(keys(&db, OrderFilter { oldest_first, ..review.clone() }).await, ["INV-1"]);
        }
    })
    .await;
}

#[tokio::test]
async fn events_are_listed_by_type_and_order_with_whether_the_broker_has_them() {
    on_a_database(|db| async move {
        for invoice in ["INV-1", "INV-2"] {
            db.paid_order(invoice).await;
        }
        db.execute(
            "INSERT INTO publications (event_id, published_at)
             SELECT event_id, jenius_now() FROM events WHERE type = 'payment.accepted'",
        )
        .await
        .unwrap();
        let any = EventFilter { limit: 10, ..EventFilter::default() };
        let listed = async |filter: EventFilter| {
            let events = latest_events(&db.pool, &filter).await.unwrap().events;
            events
                .into_iter()
                .map(|e| {
                    format!("{} {} {}", e.invoice_number.unwrap(), e.event_type, e.published_at.is_some())
                })
                .collect::<Vec<_>>()
        };
        let of_one = Some((merchant(), InvoiceNumber::parse("INV-1").unwrap()));
        let of_one = listed(EventFilter { order: of_one, ..any.clone() }).await;
        assert_eq!(of_one, ["INV-1 order.paid false", "INV-1 payment.accepted true"]);
        let paid = EventFilter { event_type: Some(EventType::OrderPaid), ..any.clone() };
        assert_eq!(listed(paid).await.len(), 2);
        let first = latest_events(&db.pool, &EventFilter { limit: 1, ..any.clone() }).await.unwrap().events;
        assert_eq!(listed(EventFilter { before: Some(first[0].event_id), ..any.clone() }).await.len(), 3);
        let other = crate::domain::ids::MerchantName::parse("shop").unwrap();
        assert_eq!(listed(EventFilter { merchant: Some(other.clone()), ..any.clone() }).await, [""; 0]);
        // A rejected command has no order; what its sender wrote is in the event as it was.
        for (id, merchant, invoice) in
            [("1", "shop", "INV-\u{0}\"data\":{\"merchant\":\"default\""), ("2", "shop_2", "INV-8")]
        {
            let mut command = payment(id, "INV-9").command;
            (command.merchant, command.invoice_number) = (merchant.to_owned(), Some(invoice.to_owned()));
            let field = "order.invoice_number".to_owned();
            let violation = Violation { code: Code::Missing, field, message: String::new() };
            let rejected = db.store.reject(Rejection { command, violations: vec![violation] }).await;
            assert!(matches!(rejected, Ok(Claimed::Rejected)));
        }
        let of = async |merchant| {
            let filter = EventFilter { merchant: Some(merchant), ..any.clone() };
            let events = latest_events(&db.pool, &filter).await.unwrap().events;
            events.into_iter().filter(|e| e.event_type == "command.rejected").count()
        };
        assert_eq!((of(other).await, of(merchant()).await), (1, 0));
        db.jump(3600).await;
        let hour = Some(Duration::from_secs(1800));
        assert_eq!(listed(EventFilter { younger_than: hour, ..any }).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn the_last_hour_is_the_sum_of_what_processes_report_and_who_is_silent_is_gone() {
    on_a_database(|db| async move {
        let happened = |count| Happened {
            events: [("order.paid".to_owned(), (count, count * 50_000))].into(),
            declines: [("C1".to_owned(), count)].into(),
        };
        db.store.report_process(&process(1), &happened(1)).await.unwrap();
        db.jump(1800).await;
        db.store.report_process(&process(2), &happened(2)).await.unwrap();
        let hour = last_hour(&db.pool).await.unwrap();
        assert_eq!(hour.happened["order.paid"], (3, 150_000));
        assert_eq!(hour.declines, [("C1".to_owned(), 3)]);
        let seen = processes(&db.pool).await.unwrap();
        assert_eq!(seen.iter().map(|process| process.host.as_str()).collect::<Vec<_>>(), ["pay-2"]);
        assert_eq!((seen[0].seen_at - seen[0].started_at).num_seconds(), 90);
        db.jump(4000).await;
        assert_eq!(last_hour(&db.pool).await.unwrap().happened["order.paid"], (2, 100_000));
        db.jump(12_000).await;
        db.store.report_process(&process(3), &happened(0)).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM process_reports").await, 1, "old reports go");
    })
    .await;
}

#[tokio::test]
async fn a_provider_s_person_has_groups_and_a_session_of_eight_hours() {
    on_a_database(|db| async move {
        let groups = vec!["pay-viewer".to_owned()];
        let sari =
            IdentifiedPerson { subject: "7".to_owned(), name: "sari".to_owned(), groups: groups.clone() };
        db.store.log_in(sari, [7; 32], "203.0.113.7".to_owned()).await.unwrap();
        db.jump(600).await;
        let session = db.store.session([7; 32]).await.unwrap().unwrap();
        assert_eq!(session.person.subject.as_deref(), Some("7"));
        assert_eq!((session.person.audited().as_str(), session.person.roles.len()), ("oidc:sari", 0));
        let (kept, age) = session.groups.unwrap();
        assert_eq!((kept, age.as_secs()), (groups, 600));
        db.jump(8 * 3600).await;
        assert_eq!(db.store.session([7; 32]).await.unwrap(), None);
        let told = "SELECT done_by || ' ' || detail || ' ' || done_from FROM operator_actions";
        assert_eq!(db.text(told).await, "oidc:sari pay-viewer 203.0.113.7");
    })
    .await;
}
