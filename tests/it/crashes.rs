//! The crash matrix: the process is killed in every window between the steps of the stories, while every
//! fault of the sandbox strikes beside, and nothing is lost, doubled or stuck. And the message that kills
//! every process that takes it.
//!
//! Whoever reaches a window is held there until nobody else comes, and then the process dies: a kill strikes
//! every fault in that very window.

mod cell;
mod oracle;
mod plays;

use crate::harness::{World, child::Service, payment, proof};
use cell::{Before, Lane, PAST_THE_LEASE, Row, Strike};
use jenius_pay::{app::Role, failpoint::Failpoint};
use plays::Kind;
use std::{collections::BTreeSet, fmt::Write, time::Duration};

/// A consumer begins with one delivery at a time: the first is let through, all others are in the window.
const IN_COMPANY: usize = 2;
const ALONE: usize = 1;

const fn at(point: Failpoint, nth: usize) -> Strike {
    Strike { point, nth, before: Before::Nothing }
}

const fn relayed(point: Failpoint) -> Strike {
    Strike { point, nth: ALONE, before: Before::AllButTheRelay }
}

/// All of them prove that one Request-Id with the same bytes reaches DOKU, that something is due for each open
/// order, and that an order's events are contiguous and first published in order.
const COMMANDS: [Strike; 19] = [
    // Nothing is acked before it is committed.
    at(Failpoint::Received, IN_COMPANY),
    at(Failpoint::BeforeClaim, IN_COMPANY),
    at(Failpoint::AfterClaim, IN_COMPANY),
    at(Failpoint::AfterRejection, ALONE),
    // What may have been sent is in doubt, and stays so.
    at(Failpoint::AfterParked, IN_COMPANY),
    at(Failpoint::BeforeAsk, IN_COMPANY),
    at(Failpoint::AfterAnswer, IN_COMPANY),
    at(Failpoint::RecordsCommitted, IN_COMPANY),
    at(Failpoint::AfterRecord, IN_COMPANY),
    // Neither here; and a dead letter is there once or more, never not at all.
    at(Failpoint::BeforeAck, IN_COMPANY),
    at(Failpoint::AfterAck, IN_COMPANY),
    at(Failpoint::BeforeDeadLetter, ALONE),
    at(Failpoint::AfterDeadLetter, ALONE),
    // A lease that runs out is taken over.
    at(Failpoint::BeforeTake, ALONE),
    at(Failpoint::AfterTake, ALONE),
    // No event is dropped, the ids of those that come again are the same.
    relayed(Failpoint::BeforeRelay),
    relayed(Failpoint::BetweenWaves),
    relayed(Failpoint::BeforeMark),
    relayed(Failpoint::AfterMark),
];

const NOTIFICATIONS: [Strike; 17] = [
    // What DOKU got its 200 for is on the broker.
    at(Failpoint::BeforePublish, ALONE),
    at(Failpoint::AfterPublish, ALONE),
    // Reconciled before the ack; what comes again changes nothing twice.
    at(Failpoint::Received, IN_COMPANY),
    at(Failpoint::BeforeReconcile, IN_COMPANY),
    at(Failpoint::NotificationsCommitted, IN_COMPANY),
    at(Failpoint::AfterReconcile, IN_COMPANY),
    at(Failpoint::BeforeAck, IN_COMPANY),
    at(Failpoint::AfterAck, IN_COMPANY),
    at(Failpoint::BeforeDeadLetter, ALONE),
    at(Failpoint::AfterDeadLetter, ALONE),
    // What was parked is applied, and DOKU is not asked.
    at(Failpoint::AfterClaim, ALONE),
    at(Failpoint::AfterParked, ALONE),
    // The dead one left claims behind, for which something is parked.
    Strike {
        point: Failpoint::AfterTending,
        nth: ALONE,
        before: Before::KilledAt(Failpoint::AfterClaim, IN_COMPANY),
    },
    relayed(Failpoint::BeforeRelay),
    relayed(Failpoint::BetweenWaves),
    relayed(Failpoint::BeforeMark),
    relayed(Failpoint::AfterMark),
];

async fn run(kind: Kind, strikes: &'static [Strike]) -> Vec<Row> {
    let (mut lane, plays) = Lane::new(kind, strikes.len()).await;
    let mut rows = Vec::new();
    for (strike, plays) in strikes.iter().zip(plays) {
        let row = lane.strike(kind, *strike, plays).await;
        let is_clean = row.is_clean();
        rows.push(row);
        if !is_clean {
            // The table and what is wrong are of more use than the invariants of a broken world.
            return rows;
        }
    }
    lane.world.end().await;
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no crash points")]
async fn killed_in_any_window_under_any_fault_nothing_is_lost_doubled_or_stuck() {
    let struck: BTreeSet<&str> = COMMANDS.iter().chain(&NOTIFICATIONS).map(|s| s.point.name()).collect();
    let all: BTreeSet<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(struck, all, "a crash point that the matrix does not strike");
    let (payments, refunds, notifications) = tokio::join!(
        run(Kind::Payment, &COMMANDS),
        run(Kind::Refund, &COMMANDS),
        run(Kind::Notification, &NOTIFICATIONS),
    );
    let rows = [payments, refunds, notifications].concat();
    proof::section("crashes", &table(&rows));
    let wrong: Vec<String> = rows.iter().flat_map(what_is_wrong).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whatever it does to the process, the broker counts; alone it is known, and its neighbours are innocent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no crash points")]
async fn a_message_that_kills_the_process_ends_in_the_dead_queue_and_its_255_neighbours_are_done() {
    const NEIGHBOURS: usize = 255;
    const DELIVERIES_MAX: u32 = 11;
    let mut world = World::with().without_service().build().await;
    let neighbours: Vec<String> = (0..NEIGHBOURS).map(|_| world.invoice()).collect();
    let deadly = payment(&world.invoice());
    let (before, after) = neighbours.split_at(NEIGHBOURS / 2);
    // Any role declares the queues.
    world.start(&[Role::Relay]).await;
    world.stop().await;
    for invoice in before {
        world.publish(&payment(invoice)).await;
    }
    world.publish(&deadly).await;
    for invoice in after {
        world.publish(&payment(invoice)).await;
    }
    let mut killed: u32 = 0;
    let mut service = Service::start_unready(&world, &[("JENIUS_CRASH_ON", deadly.id())]);
    let dead = loop {
        if let Some(dead) = world.broker.get("dead").await {
            break dead;
        }
        if !service.is_running() {
            killed += 1;
            assert!(killed <= DELIVERIES_MAX, "it kills for ever");
            world.database.jump(PAST_THE_LEASE * killed).await;
            service = Service::start_unready(&world, &[("JENIUS_CRASH_ON", deadly.id())]);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    if !service.is_running() {
        // The last death was seen by the broker first.
        killed += 1;
        service = Service::start_unready(&world, &[]);
    }
    assert_eq!((dead.body, killed), (deadly.bytes(), DELIVERIES_MAX));
    for invoice in &neighbours {
        world.event(invoice, "payment.accepted").await;
        assert_eq!(world.sandbox.ledger().charges_of(invoice).count(), 1);
    }
    assert!(service.is_running());
    assert!(world.broker.get("dead").await.is_none(), "an innocent one died");
    service.kill();
    world.end().await;
}

fn what_is_wrong(row: &Row) -> Vec<String> {
    let cell = format!("{} / {}", row.point.name(), row.kind.name());
    let findings = &row.findings;
    [
        ("lost", &findings.lost),
        ("doubled", &findings.doubled),
        ("stuck", &findings.stuck),
        ("dead", &row.dead),
    ]
    .into_iter()
    .flat_map(|(word, lines)| lines.iter().map(move |line| (word, line)))
    .map(|(word, line)| format!("{cell}: {word}: {line}"))
    .collect()
}

/// Rows are windows, columns kinds of work.
fn table(rows: &[Row]) -> String {
    let kinds = [Kind::Payment, Kind::Refund, Kind::Notification];
    let mut text = format!("All {} cells: {}.\n\n| window |", rows.len(), figures(rows));
    for kind in kinds {
        write!(text, " {} |", kind.name()).unwrap();
    }
    text.push_str("\n|---|---|---|---|\n");
    for point in Failpoint::ALL {
        write!(text, "| `{}` |", point.name()).unwrap();
        for kind in kinds {
            match rows.iter().find(|row| row.point == *point && row.kind == kind) {
                None => text.push_str(" – |"),
                Some(row) => write!(text, " {} |", figures(std::slice::from_ref(row))).unwrap(),
            }
        }
        text.push('\n');
    }
    text
}

fn figures(rows: &[Row]) -> String {
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    format!(
        "{} faults, {} held, killed {}×: {} lost, {} doubled, {} stuck, {} wrongly dead; {} events twice",
        sum(|row| row.faults),
        sum(|row| row.held),
        sum(|row| row.killed),
        sum(|row| row.findings.lost.len()),
        sum(|row| row.findings.doubled.len()),
        sum(|row| row.findings.stuck.len()),
        sum(|row| row.dead.len()),
        sum(|row| row.duplicates)
    )
}
