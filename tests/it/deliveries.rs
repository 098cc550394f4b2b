//! Every kind of delivery: what becomes of a message that is not simply a new command.

use crate::harness::{
    World,
    commands::{Message, payment_data},
    eventually, payment, refund,
    world::{CLIENT_ID, a_while},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_dead_lettered_byte_for_byte_with_its_reason() {
    let world = World::new().await;
    let good = payment(&world.invoice());
    let huge = {
        let mut body = good.bytes();
        body.resize(256 * 1024 + 1, b' ');
        body
    };
    let with = |attribute: &str, value: Value| good.clone().with(attribute, value).bytes();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("no JSON", b"pay please".to_vec()),
        ("no UTF-8", vec![b'{', 0xff, b'}']),
        ("no object", b"[1]".to_vec()),
        ("no CloudEvent", b"{\"order\":{}}".to_vec()),
        ("the type of another queue", with("type", json!("jenius.refund.request.v1"))),
        ("no id", with("id", json!(null))),
        ("an empty id", with("id", json!(""))),
        ("a long id", with("id", json!("x".repeat(129)))),
        ("an id with a space", with("id", json!("a b"))),
        ("no source", with("source", json!(null))),
        ("a long source", with("source", json!("x".repeat(256)))),
        ("a member twice", b"{\"id\":\"1\",\"id\":\"2\"}".to_vec()),
        ("a member twice within data", {
            let text = String::from_utf8(good.bytes()).unwrap();
            text.replacen("\"amount\":", "\"amount\":\"1\",\"amount\":", 1).into_bytes()
        }),
        ("deep nesting", [vec![b'['; 5000], vec![b']'; 5000]].concat()),
        ("too large", huge),
    ];
    for (what, body) in &rows {
        world.broker.publish_bytes("payment.request", "application/cloudevents+json", body).await;
        let dead = world.broker.dead().await;
        assert_eq!(dead.body, *body, "{what}");
        assert_eq!(dead.reason.as_deref(), Some("malformed"), "{what}");
        assert!(!dead.detail.unwrap().is_empty(), "{what}");
    }
    world.broker.publish_bytes("payment.request", "text/plain", &good.bytes()).await;
    assert_eq!(world.broker.dead().await.reason.as_deref(), Some("malformed"));
    assert!(world.events(|_| true).is_empty());
    assert!(world.sandbox.ledger().requests.is_empty());
    world.end().await;
}

/// A thousand bodies, each a good one with something wrong at a random place: none blocks its neighbours,
/// none is lost, and a good command among them is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mutated_bodies_are_each_accounted_for_and_block_nobody() {
    const COUNT: usize = 1000;
    let world = World::new().await;
    let mut dice = fastrand::Rng::with_seed(20_261_122);
    for n in 0..COUNT {
        let mut body = payment(&format!("MUT-{}-{n}", world.unique())).bytes();
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(..body.len());
            match dice.u8(..5) {
                0 => body[at] = dice.u8(..),
                1 => body.truncate(at.max(1)),
                2 => body.insert(at, dice.u8(..)),
                3 => drop(body.drain(at..(at + dice.usize(1..20)).min(body.len()))),
                _ => body.splice(at..at, *b"99999999999999999999999").for_each(drop),
            }
            if body.is_empty() {
                body.push(b' ');
            }
        }
        world.broker.publish_bytes("payment.request", "application/cloudevents+json", &body).await;
    }
    let good = world.invoice();
    world.publish(&payment(&good)).await;
    world.event(&good, "payment.accepted").await;
    let known = "SELECT count(*) FROM commands";
    let accounted = || async {
        let dead = i64::from(world.broker.depth("dead").await);
        (world.database.count(known).await + dead == 1 + i64::try_from(COUNT).unwrap()).then_some(())
    };
    eventually("every body to be a command or a dead letter", accounted).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_command_again_is_not_sent_again_and_its_event_is_published_again_with_its_id() {
    let world = World::new().await;
    let invoice = world.invoice();
    let command = payment(&invoice);
    world.publish(&command).await;
    let first = world.event(&invoice, "payment.accepted").await;
    // Another order of members, other white space: the same data.
    let mut again = command.clone();
    let data: BTreeMap<String, Value> = serde_json::from_value(command.body["data"].clone()).unwrap();
    again.body["data"] = data.into_iter().rev().collect::<serde_json::Map<_, _>>().into();
    let pretty = serde_json::to_vec_pretty(&again.body).unwrap();
    world.broker.publish_bytes("payment.request", "application/json", &pretty).await;
    let twice = || async {
        let all = world.events(|e| e.invoice() == Some(&invoice) && e.routing_key == "payment.accepted");
        (all.len() == 2).then_some(all)
    };
    let all = eventually("the event again", twice).await;
    assert!(all.iter().all(|e| e.message_id == first.message_id && e.body == first.body));
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_is_stored_and_published_again_for_its_duplicate() {
    let world = World::new().await;
    let command = Message::payment(json!({}));
    world.publish(&command).await;
    let first = world.rejected(command.id()).await;
    world.publish(&command).await;
    let twice = || async {
        let all = world.events(|e| e.data("command_id").as_str() == Some(command.id()));
        (all.len() == 2).then_some(all)
    };
    let all = eventually("the rejection again", twice).await;
    assert_eq!(all[1].message_id, first.message_id);
    assert_eq!(first.invoice(), None);
    assert_eq!(first.data("merchant"), "default");
    assert_eq!(first.body["source"], "/jenius-pay/default");
    assert_eq!(first.sequence(), None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_identity_with_other_data_is_a_conflict_and_the_first_is_untouched() {
    let world = World::new().await;
    let invoice = world.invoice();
    let command = payment(&invoice);
    world.publish(&command).await;
    world.event(&invoice, "order.paid").await;
    let mut other = command.clone();
    other.body["data"]["customer"]["name"] = json!("Somebody Else");
    world.publish(&other).await;
    assert_eq!(world.errors(command.id()).await, [("identity_conflict".to_owned(), "id".to_owned())]);
    // The same data under another merchant is another command too.
    world.publish(&command.clone().with("merchant", "other")).await;
    let conflicts = || async {
        let all = world.events(|e| e.routing_key == "command.rejected");
        (all.len() == 2).then_some(())
    };
    eventually("the second conflict", conflicts).await;
    assert_eq!(world.order(&invoice).await["state"], "paid");
    assert_eq!(world.told(&invoice), ["payment.accepted", "order.paid"]);
    assert_eq!(world.sandbox.ledger().sends_of(&invoice).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_command_for_a_used_invoice_is_rejected_and_another_merchants_is_not() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.paid(&invoice).await;
    let second = payment(&invoice);
    world.publish(&second).await;
    let expected = [("invoice_exists".to_owned(), "order.invoice_number".to_owned())];
    assert_eq!(world.errors(second.id()).await, expected);
    assert_eq!(world.rejected(second.id()).await.invoice(), Some(invoice.as_str()));
    let elsewhere = payment(&invoice).with("merchant", "other");
    world.publish(&elsewhere).await;
    let taken = || async {
        let of_other = |e: &crate::harness::broker::Event| {
            e.body["source"] == "/jenius-pay/other" && e.routing_key == "payment.accepted"
        };
        world.events(of_other).pop()
    };
    eventually("the other merchant's payment", taken).await;
    let clients: Vec<String> =
        world.sandbox.ledger().charges_of(&invoice).map(|c| c.client_id.clone()).collect();
    assert_eq!(clients.len(), 2);
    assert!(clients.contains(&CLIENT_ID.to_owned()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_that_cannot_be_are_rejected_for_the_first_fault() {
    let world = World::new().await;
    let refused = async |message: Message, code: &str| {
        world.publish(&message).await;
        let errors = world.errors(message.id()).await;
        let field = if code == "amount_mismatch" { "order.amount" } else { "order.invoice_number" };
        assert_eq!(errors, [(code.to_owned(), field.to_owned())], "{}", message.body);
        let event = world.rejected(message.id()).await;
        event.data("errors")[0]["message"].as_str().unwrap().to_owned()
    };
    refused(refund(&world.invoice()), "order_unknown").await;

    let waiting = world.invoice();
    world.publish(&Message::payment(payment_data(&waiting, "never_pays"))).await;
    world.event(&waiting, "payment.accepted").await;
    let message = refused(refund(&waiting), "order_not_paid").await;
    assert!(message.ends_with("; it is awaiting_payment"), "{message}");

    let invoice = world.invoice();
    world.paid(&invoice).await;
    let mut other_amount = refund(&invoice);
    other_amount.body["data"]["order"]["amount"] = json!("49999");
    let message = refused(other_amount, "amount_mismatch").await;
    assert!(message.contains("50000") && message.ends_with("; it is 49999"), "{message}");

    let slow = crate::harness::commands::refund_with(&invoice, "500*3");
    world.publish(&slow).await;
    eventually("the refund to be open", async || {
        (world.order(&invoice).await["state"] == "refunding").then_some(())
    })
    .await;
    refused(refund(&invoice), "refund_in_progress").await;
    world.event(&invoice, "order.refunded").await;
    refused(refund(&invoice), "already_refunded").await;
    assert_eq!(world.sandbox.ledger().refunds_of(&invoice).count(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_merchants_and_expired_commands_are_rejected_in_the_order_of_judgement() {
    let world = World::new().await;
    let expect = async |message: Message, code: &str, field: &str| {
        world.publish(&message).await;
        assert_eq!(world.errors(message.id()).await, [(code.to_owned(), field.to_owned())]);
    };
    let past = "2020-01-01T00:00:00Z";
    let unknown = payment(&world.invoice()).with("merchant", "nobody").with("expirytime", past);
    let id = unknown.id().to_owned();
    expect(unknown, "merchant_unknown", "merchant").await;
    assert_eq!(world.rejected(&id).await.body["source"], "/jenius-pay");
    // What can be no name is told by its own code, and is nobody's either.
    for (written, code) in
        [(json!(5), "wrong_type"), (json!(""), "too_short"), (json!("a\0"), "merchant_unknown")]
    {
        let malformed = payment(&world.invoice()).with("merchant", written).with("expirytime", past);
        let id = malformed.id().to_owned();
        expect(malformed, code, "merchant").await;
        assert_eq!(world.rejected(&id).await.body["source"], "/jenius-pay");
    }
    // Expired is judged before the fields.
    let expired = Message::payment(json!({"order": {}})).with("expirytime", past);
    expect(expired, "command_expired", "expirytime").await;
    // A duplicate never expires.
    let invoice = world.invoice();
    let soon = chrono_in(2);
    let command = payment(&invoice).with("expirytime", soon);
    world.publish(&command).await;
    world.event(&invoice, "payment.accepted").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    world.publish(&command).await;
    let twice = || async {
        let all = world.events(|e| e.invoice() == Some(&invoice) && e.routing_key == "payment.accepted");
        (all.len() == 2).then_some(())
    };
    eventually("the duplicate's event", twice).await;
    world.end().await;
}

fn chrono_in(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH.elapsed().unwrap() + std::time::Duration::from_secs(seconds);
    chrono::DateTime::from_timestamp(i64::try_from(at.as_secs()).unwrap(), 0).unwrap().to_rfc3339()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_nobody_is_bound_for_ends_in_unrouted() {
    let world = World::new().await;
    let message = payment(&world.invoice());
    world.broker.publish_bytes("payment.requst", "application/cloudevents+json", &message.bytes()).await;
    let lost = eventually("the unrouted message", async || world.broker.get("unrouted").await).await;
    assert_eq!(lost.body, message.bytes());
    a_while().await;
    assert!(world.events(|_| true).is_empty());
    world.end().await;
}
