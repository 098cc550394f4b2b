//! Commands, attempts, evidence, operators and time, interleaved at random: what the store has at the end
//! is what the domain's decisions add up to in memory.

use super::{
    evidence::{hasty, notification},
    interleaved::{Model, Op, ops},
    *,
};
use crate::{
    domain::{notification::Notification, order::Verdict},
    flow::ports::{Decision, DueClaim, DueOrder, DueWhat, OperatorStore, Reconciled, Resolved},
    postgres::orders,
};
use proptest::test_runner::{Config, TestRunner};
use std::sync::atomic::{AtomicI64, Ordering};

const CASES: u32 = 300;

/// The database's clock stands still but where a case moves it: so all times of the model are the store's.
const CLOCK: &str = "
    CREATE UNLOGGED TABLE test_clock AS SELECT timestamptz '2026-01-01 00:00:00Z' AS at;
    CREATE OR REPLACE FUNCTION jenius_now() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT at FROM test_clock'";

/// One order at the store, with the claims that were given away for it.
struct Real {
    store: PostgresStore,
    invoice: String,
    order_key: i64,
    claims: Vec<Claim>,
    refunds: usize,
}

impl Real {
    /// `waits`: its first send is claimed by itself.
    async fn open(store: &PostgresStore, invoice: String, waits: bool) -> Self {
        let new = payment(&format!("p-{invoice}"), &invoice);
        let mut claim = if waits {
            super::records::first_send(store, new).await
        } else {
            let Claimed::Granted(claim) = store.claim(new).await.unwrap() else { panic!("not ours") };
            claim
        };
        // The database's clock stands still, and so must what is believed of it.
        let fresh = claim.fresh.as_mut().and_then(Arc::get_mut).expect("a first claim");
        fresh.asked_at += Duration::from_secs(3600);
        let order_key = claim.order_key;
        Self { store: store.clone(), invoice, order_key, claims: vec![*claim], refunds: 0 }
    }

    async fn refund(&mut self, amount: u64) {
        self.refunds += 1;
        let id = format!("r{}-{}", self.refunds, self.invoice);
        let new = new_command(CommandKind::Refund, &id, &self.invoice, amount);
        match self.store.claim(new).await.unwrap() {
            Claimed::Granted(claim) => self.claims.push(*claim),
            Claimed::Rejected => {}
            other => panic!("{other:?}"),
        }
    }

    async fn take(&mut self, wanted: DueNeed) {
        let due = DueOrder { order_key: self.order_key, merchant: merchant(), what: DueWhat::Lost };
        if let DueClaim::Attempt(claim) = self.store.claim_due(&due, wanted, LEASE).await.unwrap() {
            self.claims.push(*claim);
        }
    }

    async fn decide(&self, verdict: Verdict, checked_doku: bool) -> Resolved {
        let decision = Decision {
            merchant: merchant(),
            invoice_number: InvoiceNumber::parse(self.invoice.as_str()).unwrap(),
            verdict,
            reason: "model".to_owned(),
            decided_by: None,
            checked_doku,
            seen: None,
            second: Default::default(),
        };
        self.store.resolve(decision).await.unwrap()
    }

    /// What subscribers were told, in the order of versions.
    async fn told(&self) -> Vec<serde_json::Value> {
        let bodies: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT body FROM events WHERE order_key = $1 ORDER BY version")
                .bind(self.order_key)
                .fetch_all(&mut *self.store.context.pool.acquire().await.unwrap())
                .await
                .unwrap();
        bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
    }

    async fn stored(&self) -> orders::LoadedOrder {
        let mut connection = self.store.context.pool.acquire().await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        let order = orders::lock(&mut tx, self.order_key).await.unwrap();
        // Waited for: a row that is still locked is skipped by whoever takes it next.
        tx.rollback().await.unwrap();
        connection.release();
        order
    }
}

/// Plays a case on the store and on the model, and holds the two against each other.
async fn play(store: &PostgresStore, number: i64, ops: &[Op]) {
    let invoice = format!("INV-{number}");
    let mut real = Real::open(store, invoice.clone(), number % 2 == 0).await;
    let mut model = Model::open(real.stored().await.record, LEASE, store.context.schedule.clone());
    for op in ops {
        match op {
            Op::Refund { amount } => {
                real.refund(*amount).await;
                model.refund(*amount, BUDGET);
            }
            Op::Take => {
                if let Some(wanted) = model.ripe() {
                    real.take(wanted).await;
                    model.take(wanted);
                }
            }
            Op::Inquire => {
                real.claims.push(super::evidence::inquiry(store, &invoice).await);
                model.inquire();
            }
            Op::Record { claim, finding } => {
                let claim = claim.index(real.claims.len());
                let learned = super::interleaved::learned(real.claims[claim].kind, finding);
                store.record(&real.claims[claim], &learned, Duration::ZERO).await.unwrap();
                model.record(claim, &learned);
            }
            Op::GiveBack { claim } => {
                let claim = claim.index(real.claims.len());
                store.release_claim(&real.claims[claim]).await.unwrap();
                model.give_back(claim);
            }
            Op::Notify { word, amount, request } => {
                let request = request.map(str::to_owned);
                let said = Notification { request, ..notification(&invoice, word, *amount) };
                let reconciled = store.reconcile(&merchant(), &said).await.unwrap();
                assert_ne!(reconciled, Reconciled::Parked, "the order is known");
                model.notify(&said);
            }
            Op::Decide { verdict, checked_doku } => {
                let resolved = real.decide(*verdict, *checked_doku).await;
                let decided = matches!(resolved, Resolved::Done(_));
                assert_eq!(decided, model.decide(*verdict, *checked_doku), "{resolved:?}");
            }
            Op::Wait { seconds } => {
                sqlx::query("UPDATE test_clock SET at = at + $1 * interval '1 second'")
                    .bind(f64::from(*seconds))
                    .execute(&mut *store.context.pool.acquire().await.unwrap())
                    .await
                    .unwrap();
                model.now += Duration::from_secs(u64::from(*seconds));
            }
        }
    }
    compare(&real, &model).await;
}

async fn compare(real: &Real, model: &Model) {
    let stored = real.stored().await;
    assert_eq!(stored.record, model.order);
    let due = stored.due.as_ref().map(|row| (row.due, row.lease.map(|lease| (lease.token, lease.ends_at))));
    let expected = model.due.as_ref().map(|(due, lease)| {
        let lease = lease.as_ref();
        (*due, lease.map(|lease| (real.claims[lease.claim].token, lease.ends_at)))
    });
    assert_eq!(due, expected);
    assert!(due.is_some() || !stored.record.state.is_open(), "open, and nothing is due");
    let told = real.told().await;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let stored: Vec<_> = told
        .iter()
        .map(|event| {
            let data = &event["data"];
            let words =
                [&event["type"], &event["sequence"], &data["state"], &data["previous_state"]].map(text);
            (words, text(&data["evidence"]), text(&data["command_id"]), data["late"].as_bool())
        })
        .collect();
    let expected: Vec<_> = model
        .events
        .iter()
        .map(|event| {
            let words = [
                event.event_type.name(),
                event.version.to_string(),
                event.state.name().to_owned(),
                event.previous_state.name().to_owned(),
            ];
            let command = event.command.as_ref().map(|c| c.identity.id.as_str().to_owned());
            (words.map(Some), Some(event.evidence.name().to_owned()), command, Some(event.late))
        })
        .collect();
    assert_eq!(stored, expected);
    let count = |name: &str| told.iter().filter(|event| event["type"] == name).count();
    assert!(count("jenius.order.paid.v1") <= 1, "order.paid is told once");
    let versions: Vec<_> = told.iter().map(|event| text(&event["sequence"]).unwrap()).collect();
    let contiguous: Vec<_> = (1..=told.len()).map(|version| version.to_string()).collect();
    assert_eq!(versions, contiguous);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_interleaved_the_store_equals_the_model() {
    on_a_database(|db| async move {
        db.execute(CLOCK).await.unwrap();
        let store = hasty(&db, schedule());
        let number = AtomicI64::new(0);
        let runtime = tokio::runtime::Handle::current();
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        tokio::task::block_in_place(|| {
            let done = TestRunner::new(config).run(&ops(), |ops| {
                let number = number.fetch_add(1, Ordering::Relaxed);
                runtime.block_on(play(&store, number, &ops));
                Ok(())
            });
            if let Err(error) = done {
                panic!("{error}");
            }
        });
        assert_eq!(db.store.balance().await.unwrap(), Some(0));
        store.context.pool.close().await;
    })
    .await;
}
