//! Events that operators publish again.

use crate::harness::{World, broker::Event, child::run, commands::Message, eventually, payment};
use serde_json::json;
use sqlx::Executor;
use std::collections::BTreeSet;

async fn replay(world: &World, arguments: &[&str]) -> String {
    let output = run(world, &[&["events", "replay"], arguments].concat(), "").await;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{text}");
    text
}

fn of(world: &World, invoice: &str) -> Vec<Event> {
    world.events(|e| e.invoice() == Some(invoice))
}

async fn came(world: &World, invoice: &str, count: usize) {
    let what = format!("{count} events of {invoice}");
    eventually(&what, async || (of(world, invoice).len() == count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orders_events_come_again_with_the_same_ids_and_who_asked_is_kept() {
    let mut world = World::new().await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    let [invoice, other] = [world.invoice(), world.invoice()];
    for invoice in [&invoice, &other] {
        world.paid(invoice).await;
    }
    let published = "SELECT count(*) FROM publications";
    eventually("them out of the outbox", async || (world.database.count(published).await == 4).then_some(()))
        .await;
    let said = replay(&world, &["--invoice", &invoice, "--dry-run"]).await;
    assert_eq!(said.trim(), format!("2 published events of {invoice}"));
    let said = replay(&world, &["--invoice", &invoice, "--reason", "its queue was lost"]).await;
    assert!(said.contains("2 events are in the outbox again"), "{said}");
    came(&world, &invoice, 4).await;
    replay(&world, &["--invoice", &invoice, "--type", "order.paid"]).await;
    came(&world, &invoice, 5).await;
    let events = of(&world, &invoice);
    let ids: BTreeSet<_> = events.iter().map(|e| e.message_id.clone().unwrap()).collect();
    assert_eq!(ids.len(), 2, "the same events");
    assert_eq!(events[4].routing_key, "order.paid");
    assert_eq!(events[2].body, events[0].body);
    assert_eq!(of(&world, &other).len(), 2);

    let shown = run(&world, &["orders", "show", &invoice, "--wide"], "").await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("operator: replay events"), "{shown}");
    assert!(
        shown.contains("by ratna (") && shown.contains("): its queue was lost (2 published events)"),
        "{shown}"
    );
    let kept =
        "SELECT count(*) FROM operator_actions WHERE action = 'replay_events' AND done_by LIKE 'ratna (%'";
    assert_eq!(world.database.count(kept).await, 2, "a dry run does nothing");
    let unknown = run(&world, &["events", "replay", "--invoice", "NO-SUCH"], "").await;
    assert_eq!(unknown.status.code(), Some(1));
    world.end().await;
}

/// Thousands of old events: never more of them in the outbox than the relay takes at once, so that what
/// happens now waits for no more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_time_is_published_again_in_slices_and_new_events_do_not_wait_behind_it() {
    let world = World::new().await;
    let refused = Message::payment(json!({}));
    world.publish(&refused).await;
    world.rejected(refused.id()).await;
    let old = "WITH sample AS (SELECT event_id, convert_from(body, 'utf8') AS body FROM events),
               old AS (
                   INSERT INTO events (event_id, type, body, created_at)
                   SELECT id, 'command.rejected', convert_to(replace(body, event_id::text, id::text), 'utf8'),
                          to_timestamp(1767225600) + n * interval '1 millisecond'
                   FROM sample, generate_series(1, 3000) n,
                        concat(lpad(to_hex(1767225600000 + n), 12, '0'), '70008000000000000000') hex,
                        CAST(hex AS uuid) id
                   RETURNING event_id)
               INSERT INTO publications SELECT event_id, now() FROM old";
    world.database.pool.execute(sqlx::raw_sql(old)).await.unwrap();
    let day = ["--since", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00Z"];
    let wanted = [&day[..], &["--type", "command.rejected"]].concat();
    let replaying = replay(&world, &wanted);
    let again = || world.events(|e| e.routing_key == "command.rejected").split_off(1);
    let fresh = async {
        let invoice = world.invoice();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "order.paid").await;
    };
    let watching = async {
        let mut most = 0;
        loop {
            most =
                most.max(world.database.count("SELECT count(*) FROM outbox WHERE order_key IS NULL").await);
            if again().len() >= 3000 {
                return most;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let (said, (), most) = tokio::join!(replaying, fresh, watching);
    assert!(
        said.contains("3000 published events of type command.rejected of 2026-01-01T00:00:00.000Z"),
        "{said}"
    );
    assert!((1..=500).contains(&most), "{most} at once");
    let order: Vec<_> = again().into_iter().map(|e| e.message_id.unwrap()).collect();
    assert!(order.is_sorted(), "they come in the order of their time");
    world.end().await;
}
