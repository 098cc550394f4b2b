//! What the console asks of the database: who may enter, forms that act once, and lists that read no table as a whole.

use super::{query_plans::whole_scans, *};
use crate::{
    domain::{
        console::{ConsoleRole, Identified, Person},
        order::{OrderState, Verdict},
        pause::{PauseLift, Scope},
    },
    flow::ports::{
        ActionFilter, ConsoleEntry, Decision, FormEnd, Mark, NewLogin, OrderFilter, Resolved, SentForm,
        SessionView,
    },
    postgres::{PauseChange, actions, order_view, record_form, walk_orders},
};
use uuid::Uuid;

fn login(hash: u8, seconds: u64) -> NewLogin {
    NewLogin {
        hash: [hash; 32],
        name: "budi".to_owned(),
        roles: [ConsoleRole::Support, ConsoleRole::Decider].into(),
        session: Duration::from_secs(seconds),
        made_by: "ratna (root@pay-1)".to_owned(),
    }
}

fn entry(login: u8, session: u8) -> ConsoleEntry {
    ConsoleEntry { login: [login; 32], session: [session; 32], from: "127.0.0.1".to_owned() }
}

fn mark() -> Mark {
    Mark { action_id: Uuid::new_v4(), from: "127.0.0.1".to_owned() }
}

#[tokio::test]
async fn an_address_lets_one_person_in_once_for_a_time() {
    on_a_database(|db| async move {
        db.store.make_login(login(1, 3600)).await.unwrap();
        assert_eq!(db.store.enter(entry(9, 2)).await.unwrap(), None);
        let person = db.store.enter(entry(1, 2)).await.unwrap().unwrap();
        let expected = Person {
            name: "budi".to_owned(),
            identified: Identified::Local,
            subject: None,
            roles: [ConsoleRole::Support, ConsoleRole::Decider].into(),
        };
        assert_eq!(person, expected);
        assert_eq!(db.store.enter(entry(1, 3)).await.unwrap(), None, "it is used up");
        let session = SessionView { person: person.clone(), groups: None };
        assert_eq!(db.store.session([2; 32]).await.unwrap(), Some(session));
        assert_eq!(db.store.session([1; 32]).await.unwrap(), None, "the address is no session");
        db.jump(3601).await;
        assert_eq!(db.store.session([2; 32]).await.unwrap(), None, "the time is over");
        let kept = "SELECT string_agg(action || ' ' || done_by || ' ' || coalesce(done_from, 'here'), ', ' ORDER BY key)
                    FROM operator_actions";
        assert_eq!(
            db.text(kept).await,
            "console_login ratna (root@pay-1) here, console_enter local:budi (unverified) 127.0.0.1"
        );
    })
    .await;
}

#[tokio::test]
async fn an_address_ends_after_five_minutes_and_a_session_with_leaving() {
    on_a_database(|db| async move {
        db.store.make_login(login(1, 60)).await.unwrap();
        db.store.make_login(login(2, 60)).await.unwrap();
        let person = db.store.enter(entry(1, 3)).await.unwrap().unwrap();
        db.store.leave([3; 32], &person, "127.0.0.1").await.unwrap();
        db.store.leave([3; 32], &person, "127.0.0.1").await.unwrap();
        assert_eq!(db.store.session([3; 32]).await.unwrap(), None);
        assert_eq!(
            db.number("SELECT count(*) FROM operator_actions WHERE action = 'console_leave'").await,
            1
        );
        db.jump(301).await;
        assert_eq!(db.store.enter(entry(2, 4)).await.unwrap(), None);
        db.store.make_login(login(5, 60)).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM console_logins").await, 1, "what has ended is taken away");
    })
    .await;
}

/// DOKU's evidence named another amount.
async fn in_review(db: &Db, invoice: &str) -> i64 {
    super::reviews::in_review(db, invoice).await;
    order_view(&db.pool, "default", invoice).await.unwrap().unwrap().order.revision
}

fn decision(invoice: &str, verdict: Verdict) -> Decision {
    Decision {
        merchant: merchant(),
        invoice_number: InvoiceNumber::parse(invoice).unwrap(),
        verdict,
        reason: "seen in the back office".to_owned(),
        decided_by: Some("local:budi (unverified)".to_owned()),
        checked_doku: false,
        seen: None,
        second: Default::default(),
    }
}

#[tokio::test]
async fn a_form_decides_for_the_order_that_it_showed_and_once() {
    on_a_database(|db| async move {
        let revision = in_review(&db, "INV-1").await;
        let form = SentForm { revision, mark: mark() };
        let other = SentForm { revision: revision - 1, mark: mark() };
        let paid = || decision("INV-1", Verdict::Paid);
        assert_eq!(
            db.store.resolve_by_form(paid(), other).await.unwrap(),
            FormEnd::Resolved(Resolved::Moved)
        );
        let done = db.store.resolve_by_form(paid(), form.clone()).await.unwrap();
        assert!(matches!(&done, FormEnd::Resolved(Resolved::Done(events)) if !events.is_empty()), "{done:?}");
        assert_eq!(
            db.store.resolve_by_form(paid(), form).await.unwrap(),
            FormEnd::Repeated { was_decided: true }
        );
        let late = SentForm { revision, mark: mark() };
        let slower = db.store.resolve_by_form(decision("INV-1", Verdict::Failed), late).await.unwrap();
        assert_eq!(slower, FormEnd::Resolved(Resolved::NotInReview(OrderState::Paid)));
        let kept = "SELECT string_agg(state || ' ' || decided_by || ' ' || done_from, ', ') FROM decisions";
        assert_eq!(db.text(kept).await, "paid local:budi (unverified) 127.0.0.1");
    })
    .await;
}

#[tokio::test]
async fn two_operators_who_race_decide_once() {
    on_a_database(|db| async move {
        let revision = in_review(&db, "INV-1").await;
        let send = |verdict| {
            let form = SentForm { revision, mark: mark() };
            db.store.resolve_by_form(decision("INV-1", verdict), form)
        };
        let (one, other) = tokio::join!(send(Verdict::Paid), send(Verdict::Failed));
        let done = [one.unwrap(), other.unwrap()];
        let winners = done.iter().filter(|end| matches!(end, FormEnd::Resolved(Resolved::Done(_)))).count();
        assert_eq!(winners, 1, "{done:?}");
        assert_eq!(db.number("SELECT count(*) FROM decisions").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_form_that_is_sent_twice_pauses_or_asks_once() {
    on_a_database(|db| async move {
        let change = |mark: &Mark| PauseChange {
            scope: Scope::AllMerchants,
            reason: Some("a release".to_owned()),
            done_by: Some("local:budi (unverified)".to_owned()),
            mark: Some(mark.clone()),
        };
        let (pause, resume) = (mark(), mark());
        assert!(db.store.pause(change(&pause)).await.unwrap());
        assert_eq!(db.store.resume(change(&resume), None).await.unwrap(), PauseLift::Lifted);
        assert!(!db.store.pause(change(&pause)).await.unwrap(), "an old form does not pause again");
        assert_eq!(db.number("SELECT count(*) FROM pauses").await, 0);
        assert_eq!(db.number("SELECT count(*) FROM operator_actions").await, 2);
        let action = crate::domain::action::Action {
            kind: crate::domain::action::ActionKind::CheckOrder,
            subject: "INV-1".to_owned(),
            merchant: None,
            reason: None,
            done_by: Some("local:budi (unverified)".to_owned()),
            detail: None,
        };
        let asked = mark();
        assert!(record_form(&db.pool, &action, &asked).await.unwrap());
        assert!(!record_form(&db.pool, &action, &asked).await.unwrap());
        let by =
            |name: &str| ActionFilter { by: Some(name.to_owned()), limit: 10, ..ActionFilter::default() };
        assert_eq!(actions(&db.pool, &by("budi")).await.unwrap().actions.len(), 3);
        assert_eq!(actions(&db.pool, &by("bud")).await.unwrap().actions.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn others_see_who_is_on_it_for_a_quarter_of_an_hour() {
    on_a_database(|db| async move {
        let holder = async || {
            let holds = db.store.holds(&[7, 8]).await.unwrap();
            holds.into_iter().map(|hold| format!("{} {}", hold.order_key, hold.by)).collect::<Vec<_>>()
        };
        db.store.hold(7, "local:budi (unverified)").await.unwrap();
        db.store.hold(7, "proxy:sari").await.unwrap();
        assert_eq!(holder().await, ["7 local:budi (unverified)"], "who came first stays");
        db.jump(901).await;
        assert_eq!(holder().await, [""; 0]);
        db.store.hold(7, "proxy:sari").await.unwrap();
        assert_eq!(holder().await, ["7 proxy:sari"]);
    })
    .await;
}

async fn listed(db: &Db, filter: OrderFilter) -> Vec<String> {
    let page = walk_orders(&db.pool, &filter).await.unwrap();
    assert_eq!(page.stopped, None);
    page.orders.into_iter().map(|order| order.invoice_number).collect()
}

#[tokio::test]
async fn open_orders_and_those_in_review_are_found_by_what_they_wait_for() {
    on_a_database(|db| async move {
        db.paid_order("INV-1").await;
        in_review(&db, "INV-2").await;
        let _open = db.claim(payment("3", "INV-3")).await;
        let of = |states: &[&str]| OrderFilter {
            states: states.iter().map(|state| (*state).to_owned()).collect(),
            limit: 10,
            ..OrderFilter::default()
        };
        assert_eq!(listed(&db, of(&["submitting"])).await, ["INV-3"]);
        assert_eq!(listed(&db, of(&["review"])).await, ["INV-2"]);
        assert_eq!(listed(&db, of(&["review", "submitting"])).await, ["INV-3", "INV-2"]);
        assert_eq!(listed(&db, of(&["paid", "submitting"])).await, ["INV-3", "INV-1"]);
        assert_eq!(listed(&db, of(&[])).await, ["INV-3", "INV-2", "INV-1"]);
        let first = walk_orders(&db.pool, &OrderFilter { limit: 1, ..of(&[]) }).await.unwrap();
        let next = OrderFilter { before: Some(first.orders[0].key), ..of(&[]) };
        assert_eq!(listed(&db, next).await, ["INV-2", "INV-1"]);
        assert_eq!(listed(&db, OrderFilter { max_amount: Some(1), ..of(&[]) }).await, [""; 0]);
        db.jump(7200).await;
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(listed(&db, OrderFilter { younger_than: hour, ..of(&[]) }).await, [""; 0]);
        let found = OrderFilter { search: Some("INV-1".to_owned()), ..of(&[]) };
        assert_eq!(listed(&db, found).await, ["INV-1"]);
    })
    .await;
}

#[tokio::test]
async fn a_list_stops_after_so_many_rows_and_says_where() {
    on_a_database(|db| async move {
        db.execute(
            "INSERT INTO commands (source, id, digest, kind, merchant, invoice_number, birth, received_at, outcome,
                                   settled_at, outcome_event, request_id, client_id, base_url, request_body, claimed_at,
                                   sends_end_at)
             SELECT '/x', n::text, decode(repeat('00', 32), 'hex'), 'payment', 'default', 'X-' || n, gen_random_uuid(), jenius_now(), 'declined',
                    jenius_now(), gen_random_uuid(), 'X-' || n, 'c', 'b', '', jenius_now(), jenius_now()
             FROM generate_series(1, 10001) AS n",
        )
        .await
        .unwrap();
        db.execute(
            "INSERT INTO orders (merchant, invoice_number, amount, state, state_since, version, announced_failed, evidence,
                                 payment, created_at)
             SELECT 'default', invoice_number, 1000, 'failed', jenius_now(), 1, true, 'response', key, jenius_now()
             FROM commands ORDER BY key",
        )
        .await
        .unwrap();
        let wanted = |before| OrderFilter {
            states: vec!["paid".to_owned()],
            before,
            limit: 10,
            ..OrderFilter::default()
        };
        let page = walk_orders(&db.pool, &wanted(None)).await.unwrap();
        let key = page.stopped.expect("more than 10,000 rows were read").key;
        assert_eq!(page.orders, []);
        let rest = walk_orders(&db.pool, &wanted(Some(key))).await.unwrap();
        assert_eq!((rest.orders, rest.stopped), (vec![], None), "one was left");
    })
    .await;
}

/// Every query that a page makes, so that the server has its statement.
#[tokio::test]
async fn no_page_reads_a_table_as_a_whole() {
    on_a_database(|db| async move {
        db.execute("VACUUM (ANALYZE)").await.unwrap();
        in_review(&db, "INV-1").await;
        let one = pool(db.options.clone(), 1);
        let store = PostgresStore::with_jitter(one.clone(), schedule(), Arc::new(|| 0.5));
        let (all, few) = (OrderFilter { limit: 50, ..OrderFilter::default() }, vec!["review".to_owned()]);
        walk_orders(&one, &OrderFilter { states: few, ..all.clone() }).await.unwrap();
        walk_orders(&one, &OrderFilter { search: Some("INV-1".to_owned()), ..all.clone() }).await.unwrap();
        walk_orders(&one, &all).await.unwrap();
        super::console_lists::ask_every_list(&one, &store).await;
        order_view(&one, "default", "INV-1").await.unwrap();
        let invoice = InvoiceNumber::parse("INV-1").unwrap();
        store.customer(&merchant(), &invoice).await.unwrap();
        store.session([0; 32]).await.unwrap();
        let _foreseen = store.foresee(decision("INV-1", Verdict::Paid)).await.unwrap();
        let _done = store
            .resolve_by_form(decision("INV-1", Verdict::Paid), SentForm { revision: 0, mark: mark() })
            .await
            .unwrap();
        store.waiting_sends(&Scope::AllMerchants).await.unwrap();
        let mut whole = whole_scans(&mut one.acquire().await.unwrap()).await;
        // What holds open orders alone, of which a page stops after so many; the first of all sources; and files, which
        // are few.
        let open = [
            " due",
            "events_that_ask_for_a_person",
            "commands_identity_is_unique on commands commands_1",
            "settlement_files",
        ];
        whole.retain(|scan| {
            !open.iter().any(|open| scan.split(':').next().unwrap_or_default().contains(open))
        });
        assert!(whole.is_empty(), "{whole:#?}");
        one.close().await;
    })
    .await;
}
