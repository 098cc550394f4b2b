//! Operators look at dead letters, have them worked on again, or take them off for good.

use crate::harness::{
    World,
    child::run,
    commands::{Message, payment_data},
    eventually, payment, refund,
    visitor::Visitor,
    world::assert_no_canary,
};
use jenius_pay::app::Role;
use serde_json::{Value, json};

const CLOUD_EVENT: &str = "application/cloudevents+json";

/// What `dead …` says on standard output, after the exit code that is expected. Never the customer's data.
async fn dead(world: &World, arguments: &[&str], code: i32) -> String {
    let output = run(world, &[&["dead"], arguments].concat(), "").await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    assert_no_canary("standard output", &stdout);
    assert_no_canary("standard error", &stderr);
    if code == 0 { stdout.into_owned() } else { format!("{stdout}{stderr}") }
}

async fn rows(world: &World, arguments: &[&str]) -> Vec<Value> {
    let text = dead(world, &[arguments, &["--json"]].concat(), 0).await;
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

async fn list(world: &World) -> Vec<Value> {
    rows(world, &["list"]).await
}

/// The letters, once there are so many.
async fn letters(world: &World, count: usize) -> Vec<Value> {
    let depth = async || {
        let there = world.broker.depth("dead").await + world.broker.depth("unrouted").await;
        (there as usize == count).then_some(())
    };
    eventually("the dead letters", depth).await;
    list(world).await
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().unwrap()
}

async fn publish_unrouted(world: &World, message: &Message) {
    world.broker.publish_bytes("payments.please", CLOUD_EVENT, &message.bytes()).await;
}

async fn actions(world: &World) -> i64 {
    world.database.count("SELECT count(*) FROM operator_actions WHERE action LIKE '%dead_letter'").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_letter_is_shown_masked_and_replaying_it_is_refused_as_no_use() {
    let world = World::new().await;
    let mut body = payment(&world.invoice()).bytes();
    body.truncate(body.len() - 3);
    world.broker.publish_bytes("payment.request", CLOUD_EVENT, &body).await;
    let letter = letters(&world, 1).await.remove(0);
    let expected = json!({"id": letter["id"], "queue": "dead", "reason": "malformed", "detail": letter["detail"],
        "at": letter["at"], "type": null, "command_id": null, "bytes": body.len()});
    assert_eq!(letter, expected);
    assert!(letter["detail"].as_str().unwrap().contains("not JSON") && letter["at"].is_string(), "{letter}");
    let listed = dead(&world, &["list"], 0).await;
    assert!(
        listed.starts_with("1 dead letters in 1 groups") && listed.contains("\n1 malformed\n"),
        "{listed}"
    );
    assert!(dead(&world, &["list", "--each"], 0).await.contains("malformed"));
    let shown = dead(&world, &["show", id(&letter)], 0).await;
    assert!(shown.contains("not JSON") && shown.contains("\"customer\""), "{shown}");
    let raw = run(&world, &["dead", "show", id(&letter), "--raw"], "").await;
    assert_eq!(raw.stdout, body, "byte for byte, to whoever asks for it");
    let foretold = rows(&world, &["replay", id(&letter), "--dry-run"]).await;
    assert_eq!((&foretold[0]["would"], &foretold[0]["done"]), (&json!("malformed"), &json!("left")));
    let said = dead(&world, &["replay", id(&letter), "--yes"], 1).await;
    assert!(said.contains("malformed still") && said.contains("0 of 1"), "{said}");
    assert_eq!(list(&world).await, [letter], "it lies where it lay, and is the same");
    assert_eq!(actions(&world).await, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unrouted_payment_is_replayed_to_one_charge_and_a_duplicate_is_told_as_known() {
    let mut world = World::new().await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    let invoice = world.invoice();
    let command = payment(&invoice);
    publish_unrouted(&world, &command).await;
    let letter = letters(&world, 1).await.remove(0);
    assert_eq!((&letter["reason"], &letter["queue"]), (&json!("unrouted"), &json!("unrouted")));
    assert_eq!(letter["command_id"], command.id());
    let shown = dead(&world, &["show", id(&letter)], 0).await;
    assert!(shown.contains(&invoice) && shown.contains("payments.please"), "{shown}");
    // Looking ahead changes nothing, and nobody is asked where nobody is.
    let foretold = rows(&world, &["replay", "--cause", "unrouted", "--dry-run"]).await;
    assert_eq!((&foretold[0]["would"], &foretold[0]["done"]), (&json!("send"), &json!("planned")));
    let said = dead(&world, &["replay", "--all"], 2).await;
    assert!(said.contains("Rp50.000") && said.contains("--yes"), "{said}");
    assert_eq!((list(&world).await, actions(&world).await), (vec![letter.clone()], 0));
    assert!(world.find_order(&invoice).await.is_none());
    dead(&world, &["replay", id(&letter), "--yes", "--reason", "wrong key in release 7"], 0).await;
    world.event(&invoice, "payment.accepted").await;
    let kept = "SELECT count(*) FROM operator_actions WHERE action = 'replay_dead_letter' AND done_by LIKE 'ratna (%' \
                AND reason = 'wrong key in release 7' AND merchant = 'default'";
    assert_eq!(world.database.count(kept).await, 1);
    // The same once more.
    publish_unrouted(&world, &command).await;
    letters(&world, 1).await;
    assert_eq!(rows(&world, &["replay", "--all", "--dry-run"]).await[0]["would"], "known");
    dead(&world, &["replay", "--all", "--yes"], 0).await;
    let told_twice = async || {
        let told = world.events(|e| e.invoice() == Some(&invoice) && e.routing_key == "payment.accepted");
        (told.len() == 2).then_some(())
    };
    eventually("the event again", told_twice).await;
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    assert!(list(&world).await.is_empty());
    world.end().await;
}

/// Two letters of one command, a refund that nobody can have, data without a rule kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_rejected_is_told_beforehand_and_the_events_say_the_same() {
    let world = World::new().await;
    let used = world.invoice();
    world.paid(&used).await;
    let (early, again, empty) = (refund("NO-SUCH"), payment(&used), Message::payment(json!({})));
    let fresh = payment(&world.invoice());
    for message in [&early, &again, &empty, &fresh, &fresh] {
        publish_unrouted(&world, message).await;
    }
    letters(&world, 5).await;
    let foretold = rows(&world, &["replay", "--queue", "unrouted", "--dry-run"]).await;
    let would: Vec<_> = foretold.iter().map(|row| row["would"].as_str().unwrap()).collect();
    assert_eq!(would, ["reject", "reject", "reject", "send", "known"]);
    assert_eq!(foretold[4]["id"], format!("{}-2", foretold[3]["id"].as_str().unwrap()));
    dead(&world, &["replay", "--queue", "unrouted", "--yes", "--per-second", "100"], 0).await;
    for (message, row) in [&early, &again, &empty].into_iter().zip(&foretold) {
        for (code, field) in world.errors(message.id()).await.iter().take(5) {
            let told = row["detail"].as_str().unwrap();
            assert!(told.contains(&format!("{code} ({field})")), "{code} of {field} is not in {told}");
        }
    }
    let invoice = fresh.body["data"]["order"]["invoice_number"].as_str().unwrap();
    world.event(invoice, "payment.accepted").await;
    assert_eq!(actions(&world).await, 5);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_death_is_marked_and_is_not_looped() {
    let mut world = World::with().without_service().build().await;
    assert!(dead(&world, &["list"], 0).await.contains("no dead letters"));
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.broker.exhaust("payments").await;
    let letter = letters(&world, 1).await.remove(0);
    assert_eq!((&letter["reason"], letter["at"].is_string()), (&json!("delivery_limit"), true));
    dead(&world, &["replay", "--cause", "delivery_limit", "--yes"], 0).await;
    world.broker.exhaust("payments").await;
    letters(&world, 1).await;
    assert!(dead(&world, &["list", "--each", "--wide"], 0).await.contains("replayed once, died again"));
    let said = dead(&world, &["replay", "--all", "--yes"], 1).await;
    assert!(said.contains("--again") && said.contains("0 of 1"), "{said}");
    assert_eq!(world.broker.depth("payments").await, 0);
    dead(&world, &["replay", "--all", "--yes", "--again"], 0).await;
    world.start(&Role::UNNAMED).await;
    world.event(&invoice, "payment.accepted").await;
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    assert!(list(&world).await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_dropped_by_its_reason_with_why_and_never_unaudited() {
    let world = World::new().await;
    let keep = payment(&world.invoice());
    publish_unrouted(&world, &keep).await;
    world.broker.publish_bytes("payment.request", CLOUD_EVENT, b"Astari").await;
    let signed_by_nobody = json!({"specversion": "1.0", "id": "n-1", "source": "/x",
        "type": "jenius.notification.received.v1", "data": {"request_target": "/", "body": "{\"name\":\"Astari\"}",
        "headers": {"Client-Id": "MCH-9", "Request-Id": "1", "Request-Timestamp": "x", "Signature": "y"}}});
    world.broker.publish_to("notifications", "x", CLOUD_EVENT, signed_by_nobody.to_string().as_bytes()).await;
    let all = letters(&world, 3).await;
    let of = |reason: &str| all.iter().find(|letter| letter["reason"] == reason).unwrap().clone();
    dead(&world, &["drop", id(&of("malformed")), "--yes"], 2).await;
    dead(&world, &["drop", "--yes", "--reason", "x"], 2).await;
    assert!(
        dead(&world, &["drop", "000000000000", "--yes", "--reason", "x"], 1).await.contains("no dead letter")
    );
    let mut away = world;
    let database = away.settings.insert("DATABASE_URL".to_owned(), "postgres://u:p@127.0.0.1:9/x".to_owned());
    for action in ["drop", "replay"] {
        let said = dead(&away, &[action, "--all", "--yes", "--reason", "x"], 1).await;
        assert!(said.contains("nothing was done"), "{said}");
    }
    away.settings.insert("DATABASE_URL".to_owned(), database.unwrap());
    let world = away;
    assert_eq!(list(&world).await, all, "nothing was done to any");
    let forged = of("not_authentic");
    assert_eq!(rows(&world, &["replay", id(&forged), "--dry-run"]).await[0]["would"], "not_authentic");
    assert!(dead(&world, &["show", id(&forged), "--json"], 0).await.contains("MCH-9"));
    dead(&world, &["drop", "--type", "notification.received", "--dry-run", "--reason", "forged"], 0).await;
    assert_eq!(actions(&world).await, 0);
    dead(&world, &["drop", "--type", "notification.received", "--yes", "--reason", "forged"], 0).await;
    dead(&world, &["drop", "--cause", "malformed", "--yes", "--reason", "noise"], 0).await;
    assert_eq!(list(&world).await, [of("unrouted")]);
    let kept = "SELECT count(*) FROM operator_actions WHERE action = 'drop_dead_letter' \
                AND reason IN ('forged', 'noise')";
    assert_eq!(world.database.count(kept).await, 2);
    world.end().await;
}

/// Another look saw all of them before: then one that is cut puts what it saw behind the rest, and what a person chooses of it
/// lies far back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_a_cut_look_saw_is_dropped_and_not_called_gone() {
    let mut world = World::with().set("CONSOLE__LISTEN", "127.0.0.1:0").without_service().build().await;
    world.start(&Role::ALL).await;
    // A look takes a thousand, about in their order: those at its end are of a group of their own.
    for n in 0..1200 {
        let data = payment_data(&format!("INV-{n}"), "$admin");
        let message = if (950..1000).contains(&n) { Message::refund(data) } else { Message::payment(data) };
        publish_unrouted(&world, &message).await;
    }
    let left = async |count| {
        let there = async || (world.broker.depth("unrouted").await == count).then_some(());
        eventually("so many letters", there).await;
    };
    left(1200).await;
    assert_eq!(rows(&world, &["list", "--limit", "2000"]).await.len(), 1200);
    left(1200).await;
    let visitor = Visitor::enter(&world, &["operator", "decider"]).await;
    assert_eq!(visitor.send("/dead/look", String::new()).await.as_deref(), Ok("/dead"));
    left(1200).await;
    let page = visitor.get("/dead").await;
    assert!(page.contains("These are the first 1000; 200 or more are behind them"), "{page}");
    let group = page.split("href=\"").find(|link| link.contains("group=1\"")).unwrap();
    let group = visitor.get(&group[..group.find('"').unwrap()].replace("&amp;", "&")).await;
    let ids: Vec<&str> = group.split("name=\"id\" value=\"").skip(1).map(|id| &id[..12]).collect();
    assert!(ids.len() > 10, "{group}");
    let form = format!("id={}&reason=noise&action={}", ids.join("&id="), uuid::Uuid::new_v4());
    let work = visitor.send("/dead/drop", form).await.unwrap();
    let done = eventually("the work to end", async || {
        let page = visitor.get(&work).await;
        page.contains("Finished").then_some(page)
    });
    let done = done.await;
    assert!(!done.contains("in no queue any more"), "{done}");
    left(1200 - u32::try_from(ids.len()).unwrap()).await;
    world.end().await;
}

/// Filters and the limit, and a look that is cut short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_is_as_narrow_as_it_is_asked_to_be() {
    let world = World::with().without_service().build().await;
    list(&world).await;
    for n in 0..4 {
        let data = payment_data(&format!("INV-{n}"), "$admin");
        let message = if n % 2 == 0 { Message::payment(data) } else { Message::refund(data) };
        publish_unrouted(&world, &message).await;
    }
    let all = letters(&world, 4).await;
    let none: [Value; 0] = [];
    assert_eq!(rows(&world, &["list", "--type", "payment.request"]).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(rows(&world, &["list", "--queue", "dead"]).await, none);
    assert_eq!(rows(&world, &["list", "--cause", "malformed"]).await, none);
    assert_eq!(
        rows(&world, &["list", "--type", "jenius.refund.request.v1", "--limit", "2"]).await,
        all[1..2]
    );
    // What a look saw goes behind what it did not come to.
    assert_eq!(list(&world).await, [&all[2..], &all[..2]].concat());
    let said = dead(&world, &["show", id(&all[1]), "--limit", "3"], 1).await;
    assert!(said.contains("no dead letter"), "{said}");
    let cut = run(&world, &["dead", "list", "--limit", "3"], "").await;
    assert!(String::from_utf8_lossy(&cut.stderr).contains("only the first 3 letters"), "{cut:?}");
    let mut rest = list(&world).await;
    rest.sort_by_key(|letter| all.iter().position(|known| known == letter));
    assert_eq!(rest, all, "every look gave all back");
    world.end().await;
}
