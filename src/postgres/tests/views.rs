//! What operators read.

use super::*;
use crate::{
    flow::ports::OrderFilter,
    flow::view::{CommandView, OrderView},
    postgres::{InDoubt, list_orders, order_view},
};

async fn view(db: &Db, invoice: &str) -> Option<OrderView> {
    order_view(&db.pool, "default", invoice).await.unwrap()
}

#[tokio::test]
async fn an_orders_view_tells_its_whole_story() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        let claim = db.claim(refund("r1", "INV-1")).await;
        let view = view(&db, "INV-1").await.unwrap();
        let order = &view.order;
        assert_eq!((order.state.as_str(), order.amount.as_str(), order.version), ("refunding", "50000", 2));
        assert_eq!(
            order.command,
            Some(CommandView { id: "pay-INV-1".to_owned(), source: "/shop".to_owned() })
        );
        assert_eq!(order.request_id.as_deref(), Some("INV-1"));
        assert_eq!(order.due.as_ref().map(|due| due.kind.as_str()), Some("send"));
        let results: Vec<_> = view.attempts.iter().map(|a| (a.number, a.result.as_str())).collect();
        assert_eq!(results, [(1, "accepted"), (2, "success")]);
        let history: Vec<_> = view
            .history
            .iter()
            .map(|h| (h.version, h.state.as_str(), h.evidence.as_str(), h.event_type.as_str()))
            .collect();
        assert_eq!(
            history,
            [
                (1, "awaiting_payment", "response", "jenius.payment.accepted.v1"),
                (2, "paid", "check", "jenius.order.paid.v1")
            ]
        );
        let refund = order.refund.as_ref().unwrap();
        assert_eq!((refund.reason.as_str(), refund.state.as_str()), ("broken", "open"));
        assert_eq!(refund.request_id, claim.request.request_id.as_str());
        assert_eq!(refund.attempts.as_ref().map(Vec::len), Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_lost_attempt_has_no_end_and_an_unknown_order_no_view() {
    on_a_database(|db| async move {
        let _lost = db.claim(payment("1", "INV-1")).await;
        db.jump(46).await;
        let _taken = taken(&db.store).await;
        let attempts = view(&db, "INV-1").await.unwrap().attempts;
        assert_eq!((attempts[0].result.as_str(), attempts[0].finished_at), ("lost", None));
        assert_eq!(view(&db, "INV-2").await, None);
    })
    .await;
}

#[tokio::test]
async fn orders_are_listed_newest_first_and_by_state() {
    on_a_database(|db| async move {
        for n in 1..=3 {
            let _claim = db.claim(payment(&n.to_string(), &format!("INV-{n}"))).await;
        }
        let wanted = |state: Option<&str>, limit| OrderFilter {
            states: state.into_iter().map(str::to_owned).collect(),
            limit,
            ..OrderFilter::default()
        };
        assert_eq!(listed(&db, wanted(None, 2)).await, ["INV-3", "INV-2"]);
        assert_eq!(listed(&db, wanted(Some("submitting"), 10)).await.len(), 3);
        assert!(listed(&db, wanted(Some("paid"), 10)).await.is_empty());
    })
    .await;
}

async fn listed(db: &Db, filter: OrderFilter) -> Vec<String> {
    let orders = list_orders(&db.pool, &filter).await.unwrap().orders;
    orders.into_iter().map(|o| o.invoice_number).collect()
}

#[tokio::test]
async fn orders_are_listed_by_age_amount_and_merchant() {
    on_a_database(|db| async move {
        for (n, amount) in [(1, 1_000), (2, 50_000), (3, 999_999_999_999)] {
            db.jump(n * 600).await;
            let new = new_command(CommandKind::Payment, &n.to_string(), &format!("INV-{n}"), amount);
            let _claim = db.claim(new).await;
        }
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        let any = || OrderFilter { limit: 10, ..OrderFilter::default() };
        let other = MerchantName::parse("other").unwrap();
        for (filter, expected) in [
            (any(), &["INV-3", "INV-2", "INV-1"][..]),
            (OrderFilter { older_than: minutes(5), ..any() }, &["INV-2", "INV-1"]),
            (OrderFilter { younger_than: minutes(15), ..any() }, &["INV-3", "INV-2"]),
            (OrderFilter { older_than: minutes(5), younger_than: minutes(15), ..any() }, &["INV-2"]),
            (OrderFilter { min_amount: Some(50_000), ..any() }, &["INV-3", "INV-2"]),
            (OrderFilter { max_amount: Some(50_000), ..any() }, &["INV-2", "INV-1"]),
            (OrderFilter { merchant: Some(merchant()), limit: 1, ..any() }, &["INV-3"]),
            (OrderFilter { merchant: Some(other), ..any() }, &[]),
        ] {
            assert_eq!(listed(&db, filter.clone()).await, expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_gauges_count_what_is_open_waiting_and_parked() {
    on_a_database(|db| async move {
        db.paid_order("INV-0").await;
        for n in 1..=2 {
            let _claim = db.claim(payment(&n.to_string(), &format!("INV-{n}"))).await;
        }
        db.execute(
            "INSERT INTO notifications (merchant, invoice_number, request_id, report_key) VALUES ('default', 'X', 'n', '')",
        )
        .await
        .unwrap();
        db.jump(30).await;
        let gauges = db.store.gauges(CountingPace::AtOnce).await.unwrap();
        assert_eq!((gauges.outbox_events, gauges.parked_notifications, gauges.stranded_orders), (2, 1, 0));
        let about_30 = |seconds: f64| (30.0..90.0).contains(&seconds);
        // The paid order's events were written two minutes ahead, and a past that lies ahead is no age.
        assert!((0.0..90.0).contains(&gauges.outbox_oldest_seconds));
        let [open] = gauges.open_orders.as_slice() else { panic!("{gauges:?}") };
        assert_eq!((open.state.name(), open.count, open.rupiah), ("submitting", 2, 100_000));
        assert!(about_30(open.oldest_seconds), "{open:?}");
        assert_eq!(open.in_doubt, InDoubt::default());
        // Its send left an hour after the claim, and was sent again.
        let doubt = "UPDATE commands SET claimed_at = claimed_at - interval '1 hour', doubted_at = claimed_at,
                         maybe_acted_at = claimed_at + interval '20 seconds' WHERE invoice_number = 'INV-2'";
        db.execute(doubt).await.unwrap();
        let [open] = db.store.gauges(CountingPace::AtOnce).await.unwrap().open_orders.try_into().unwrap();
        assert_eq!((open.count, open.in_doubt.count), (2, 1));
        assert!(about_30(open.in_doubt.oldest_seconds), "{open:?}");
        assert_eq!(db.store.balance().await.unwrap(), Some(0));
    })
    .await;
}

#[tokio::test]
async fn the_balance_tells_of_a_lost_command_and_reads_no_settled_ones_twice() {
    on_a_database(|db| async move {
        db.paid_order("INV-0").await;
        db.jump(1200).await;
        let _open = db.claim(payment("1", "INV-1")).await;
        assert_eq!(db.store.balance().await.unwrap(), Some(0));
        let first = "SELECT key FROM commands WHERE invoice_number = 'INV-1'";
        let watermark = "SELECT settled_below FROM balance";
        assert_eq!(db.number(watermark).await, db.number(first).await);
        let lost = "INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, received_at,
                        request_id, client_id, base_url, request_body, claimed_at, sends_end_at)
                    SELECT source, 'lost', kind, merchant, digest, 'INV-9', jenius_now(), 'R', client_id, base_url,
                           request_body, claimed_at, sends_end_at FROM commands WHERE id = '1'";
        db.execute(lost).await.unwrap();
        db.jump(3600).await;
        for _ in 0..2 {
            assert_eq!(db.store.balance().await.unwrap(), Some(1), "it is told again until it is found");
        }
        assert_eq!(db.number(watermark).await, db.number(first).await, "nothing that is open is passed");
    })
    .await;
}
