//! Evidence is a set, not a sequence: for a fixed set of accepted commands, every permutation of an answer,
//! three notifications and two Check Status answers, and each of them again, ends in the same state.

use super::{
    evidence::{check, hasty, notification, notify},
    *,
};
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;

const AT_ONCE: usize = 8;

/// One piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// DOKU's answer to the send that is under way.
    Answer,
    Notification(&'static str),
    /// About another request for the invoice.
    Elsewhere(&'static str),
    Check(&'static str),
    /// Check Status, of one rupiah less.
    CheckOfOtherAmount,
}
use Piece::{Answer, Check, CheckOfOtherAmount, Elsewhere, Notification};

/// What DOKU's answer says.
#[derive(Debug, Clone, Copy)]
enum Says {
    Success,
    Failed,
    /// Nothing: the connection was lost.
    Lost,
}

impl Says {
    fn learned(self) -> Finding {
        match self {
            Self::Success => accepted("SUCCESS"),
            Self::Failed => send(SendFindingKind::Failed { status: "FAILED".to_owned() }),
            Self::Lost => in_doubt(),
        }
    }
}

/// The accepted commands, DOKU's answer to the last of them, the evidence beside it, and the end.
type Row = (CommandKind, Says, [Piece; 5], &'static str);

const PAYMENTS: [Row; 8] = [
    (
        CommandKind::Payment,
        Says::Success,
        [
            Notification("PENDING"),
            Notification("SUCCESS"),
            Notification("FAILED"),
            Check("EXPIRED"),
            Check("SUCCESS"),
        ],
        "paid",
    ),
    (
        CommandKind::Payment,
        Says::Success,
        [
            Notification("FAILED"),
            Notification("FAILED"),
            Notification("PENDING"),
            Check("EXPIRED"),
            Check("EXPIRED"),
        ],
        "failed",
    ),
    (
        CommandKind::Payment,
        Says::Success,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("REFUNDED"),
            Check("SUCCESS"),
            Check("SUCCESS"),
        ],
        "refunded",
    ),
    (
        CommandKind::Payment,
        Says::Failed,
        [
            Notification("PENDING"),
            Notification("PENDING"),
            Notification("EXPIRED"),
            Check("PENDING"),
            Check("PENDING"),
        ],
        "failed",
    ),
    (
        CommandKind::Payment,
        Says::Failed,
        [
            Notification("FAILED"),
            Notification("FAILED"),
            Notification("SUCCESS"),
            Check("PENDING"),
            Check("PENDING"),
        ],
        "paid",
    ),
    (
        CommandKind::Payment,
        Says::Lost,
        [
            Notification("PENDING"),
            Notification("PENDING"),
            Notification("SUCCESS"),
            Check("FAILED"),
            Check("FAILED"),
        ],
        "paid",
    ),
    (
        CommandKind::Payment,
        Says::Success,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("FAILED"),
            Check("SUCCESS"),
            CheckOfOtherAmount,
        ],
        "review",
    ),
    (
        CommandKind::Payment,
        Says::Success,
        [
            Notification("PENDING"),
            Notification("SUCCESS"),
            Elsewhere("FAILED"),
            Elsewhere("EXPIRED"),
            Check("SUCCESS"),
        ],
        "paid",
    ),
];

const REFUNDS: [Row; 4] = [
    (
        CommandKind::Refund,
        Says::Success,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("REFUNDED"),
            Check("SUCCESS"),
            Check("REFUNDED"),
        ],
        "refunded",
    ),
    (
        CommandKind::Refund,
        Says::Failed,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("FAILED"),
            Check("SUCCESS"),
            Check("SUCCESS"),
        ],
        "paid",
    ),
    (
        CommandKind::Refund,
        Says::Failed,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("REFUNDED"),
            Check("SUCCESS"),
            Check("SUCCESS"),
        ],
        "refunded",
    ),
    (
        CommandKind::Refund,
        Says::Lost,
        [
            Notification("SUCCESS"),
            Notification("SUCCESS"),
            Notification("EXPIRED"),
            Check("SUCCESS"),
            CheckOfOtherAmount,
        ],
        "review",
    ),
];

/// Every order of the pieces, each once.
fn permutations(pieces: &[Piece]) -> BTreeSet<Vec<Piece>> {
    if pieces.is_empty() {
        return BTreeSet::from([vec![]]);
    }
    let with_first = |first: usize| {
        let mut rest = pieces.to_vec();
        let piece = rest.remove(first);
        permutations(&rest).into_iter().map(move |mut tail| {
            tail.insert(0, piece);
            tail
        })
    };
    (0..pieces.len()).flat_map(with_first).collect()
}

/// Plays a permutation on an order of its own, then each piece again, from the last to the first where
/// `again`. The state it ends in.
async fn play(store: &PostgresStore, invoice: &str, row: &Row, pieces: &[Piece], again: bool) -> String {
    let (kind, says, ..) = *row;
    let mut claim = claimed(store, payment(&format!("p-{invoice}"), invoice)).await;
    if kind == CommandKind::Refund {
        store.record(&claim, &accepted("SUCCESS"), Duration::ZERO).await.unwrap();
        notify(store, invoice, "SUCCESS", 50_000).await;
        claim = claimed(store, refund(&format!("r-{invoice}"), invoice)).await;
    }
    let mut sequence = pieces.to_vec();
    if again {
        sequence.extend(pieces.iter().rev());
    }
    let mut snap = again;
    for piece in &sequence {
        match piece {
            Answer => store.record(&claim, &says.learned(), Duration::ZERO).await.unwrap(),
            Notification(word) => {
                // In DOKU's one form or its other: the end is the same.
                let form = if snap { Form::Snap } else { Form::Jenius };
                let said =
                    crate::domain::notification::Notification { form, ..notification(invoice, word, 50_000) };
                store.reconcile(&merchant(), &said).await.map(drop).unwrap();
                snap = !snap;
            }
            Elsewhere(word) => {
                let request = Some("VA-1".to_owned());
                let said = crate::domain::notification::Notification {
                    request,
                    ..notification(invoice, word, 50_000)
                };
                store.reconcile(&merchant(), &said).await.map(drop).unwrap();
            }
            Check(word) => check(store, invoice, word, 50_000).await,
            CheckOfOtherAmount => check(store, invoice, "SUCCESS", 49_999).await,
        }
    }
    let state: String = sqlx::query_scalar("SELECT state FROM orders WHERE invoice_number = $1")
        .bind(invoice)
        .fetch_one(&mut *store.context.pool.acquire().await.unwrap())
        .await
        .unwrap();
    // DOKU's pages disagree which of the two is final.
    if state == "expired" { "failed".to_owned() } else { state }
}

async fn claimed(store: &PostgresStore, new: NewCommand) -> Claim {
    match store.claim(new).await.unwrap() {
        Claimed::Granted(claim) => *claim,
        other => panic!("not ours: {other:?}"),
    }
}

async fn every_permutation_ends_alike(rows: &[Row]) {
    on_a_database(|db| async move {
        // With waits of nothing an inquiry is due at once, and made under a claim; else beside the schedule.
        let now = Duration::ZERO;
        let asks_at_once = CheckSchedule {
            first_after: now,
            max_interval: now,
            afterwards: vec![now; 3],
            ..schedule().check
        };
        let stores =
            [hasty(&db, schedule()), hasty(&db, AttemptSchedule { check: asks_at_once, ..schedule() })];
        for (number, row) in rows.iter().enumerate() {
            let mut pieces = row.2.to_vec();
            pieces.push(Answer);
            let all = permutations(&pieces);
            let stores = &stores;
            let played = stream::iter(all.iter().enumerate()).map(|(n, pieces)| async move {
                let store = &stores[n / 2 % 2];
                let invoice = format!("INV-{number}-{n}");
                let end = play(store, &invoice, row, pieces, n % 2 == 1).await;
                assert_eq!(end, row.3, "{row:?}: {pieces:?}");
            });
            played.buffer_unordered(AT_ONCE).collect::<()>().await;
        }
        check_events(&db).await;
        for store in &stores {
            store.context.pool.close().await;
        }
    })
    .await;
}

async fn check_events(db: &Db) {
    let gaps = "SELECT count(*) FROM orders o WHERE version <> (SELECT count(*) FROM events e
                WHERE e.order_key = o.order_key AND e.version BETWEEN 1 AND o.version)";
    assert_eq!(db.number(gaps).await, 0, "versions are not contiguous");
    let twice = "SELECT count(*) FROM (SELECT order_key, type FROM events WHERE type <> 'order.resolved'
                 GROUP BY order_key, type HAVING count(*) > 1) told";
    assert_eq!(db.number(twice).await, 0, "told twice");
    let outcomes = "SELECT count(*) FROM (SELECT order_key FROM events WHERE type LIKE 'payment.%'
                    GROUP BY order_key HAVING count(*) > 1) told";
    assert_eq!(db.number(outcomes).await, 0, "a command has one outcome");
    assert_eq!(db.number("SELECT count(*) FROM events WHERE type = 'order.resolved'").await, 0);
    assert_eq!(db.store.balance().await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_permutation_of_a_payments_evidence_ends_in_the_same_state() {
    every_permutation_ends_alike(&PAYMENTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_permutation_of_a_refunds_evidence_ends_in_the_same_state() {
    every_permutation_ends_alike(&REFUNDS).await;
}
