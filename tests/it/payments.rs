//! The usual way of a payment and its refund, and everything an outsider sees of it.

use crate::harness::{
    World,
    broker::Event,
    commands::{Message, payment_data},
    eventually, payment, refund,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_specifications_payment_and_refund_go_all_the_way() {
    let world = World::new().await;
    let invoice = world.invoice();
    let mut command = payment(&invoice);
    command.body["data"]["additional_info"] =
        json!({"override_notification_url": format!("{}/payments/notifications", world.ingress())});
    world.publish(&command).await;
    world.event(&invoice, "order.paid").await;
    world.publish(&refund(&invoice)).await;
    world.event(&invoice, "order.refunded").await;
    let told = world.told(&invoice);
    assert_eq!(told, ["payment.accepted", "order.paid", "refund.accepted", "order.refunded"]);
    let ledger = world.sandbox.ledger();
    assert_eq!((ledger.charges_of(&invoice).count(), ledger.refunds_of(&invoice).count()), (1, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_every_documented_member() {
    let world = World::new().await;
    let invoice = world.invoice();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let command = payment(&invoice).with("traceparent", traceparent).with("tracestate", "shop=1");
    world.publish(&command).await;
    let event = world.event(&invoice, "payment.accepted").await;
    check_properties(&event, "jenius.payment.accepted.v1", Some(command.id()));
    assert_eq!(event.traceparent.as_deref(), Some(traceparent));
    assert_eq!(event.body["traceparent"], traceparent);
    assert_eq!(event.body["source"], "/jenius-pay/default");
    assert_eq!(event.body["sequence"], "1");
    let expected = json!({
        "merchant": "default", "invoice_number": invoice, "amount": "50000", "currency": "IDR",
        "state": "awaiting_payment", "previous_state": "submitting", "evidence": "response",
        "doku_status": "SUCCESS", "command_id": command.id(), "command_source": "/checkout",
        "request_id": invoice, "error": null, "late": false
    });
    assert_eq!(event.body["data"], expected);
    world.event(&invoice, "order.paid").await;

    let asked = refund(&invoice);
    world.publish(&asked).await;
    let accepted = world.event(&invoice, "refund.accepted").await;
    assert_eq!(
        (accepted.data("state"), accepted.data("previous_state")),
        (&json!("refunding"), &json!("refunding"))
    );
    let refunded = world.event(&invoice, "order.refunded").await;
    check_properties(&refunded, "jenius.order.refunded.v1", Some(asked.id()));
    let (id, request_id) = (refunded.data("command_id"), refunded.data("request_id"));
    assert_eq!(id, asked.id());
    assert_eq!(world.order(&invoice).await["refund"]["request_id"], *request_id);
    world.end().await;
}

fn check_properties(event: &Event, event_type: &str, command_id: Option<&str>) {
    assert_eq!(event.content_type.as_deref(), Some("application/cloudevents+json"));
    assert_eq!(event.message_type.as_deref(), Some(event_type));
    assert_eq!(event.body["type"], event_type);
    assert_eq!(event.body["specversion"], "1.0");
    assert_eq!(event.message_id.as_deref(), event.body["id"].as_str());
    assert_eq!(event.correlation_id.as_deref(), command_id);
    assert_eq!(event.routing_key, event_type.trim_start_matches("jenius.").trim_end_matches(".v1"));
    let time = event.body["time"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    let id = uuid::Uuid::parse_str(event.message_id.as_deref().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_show_has_the_documented_shape() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.publish(&Message::payment(payment_data(&invoice, "drop,pending"))).await;
    world.event(&invoice, "order.paid").await;
    eventually("its events to be published", async || {
        let order = world.order(&invoice).await;
        order["history"][1]["published_at"].is_string().then_some(())
    })
    .await;
    let order = world.order(&invoice).await;
    let members = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let expected = "merchant invoice_number amount state version command request_id doku_status evidence due blocked refund \
                    attempts history notifications created_at state_since settlement";
    let expected = sorted(expected.split_whitespace().map(str::to_owned).collect());
    assert_eq!(sorted(members(&order)), expected);
    let attempt = &order["attempts"][0];
    assert_eq!(
        (&attempt["number"], &attempt["kind"], &attempt["result"]),
        (&json!(1), &json!("send"), &json!("in_doubt"))
    );
    // On a slow machine an inquiry may come before the resend.
    let accepted = order["attempts"].as_array().unwrap().iter().find(|a| a["result"] == "accepted").unwrap();
    assert_eq!((&accepted["kind"], &accepted["http_status"]), (&json!("send"), &json!(200)));
    assert_eq!(order["history"][0]["event_type"], "jenius.payment.accepted.v1");
    assert_eq!((&order["version"], &order["refund"]), (&json!(2), &json!(null)));
    assert_eq!(order["amount"], "50000");
    assert_eq!(order["due"], json!(null));
    world.end().await;
}

/// The bytes that were written upstream are the bytes DOKU gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doku_gets_the_data_byte_for_byte() {
    use base64::Engine;
    use sha2::Digest;
    let world = World::new().await;
    let invoice = world.invoice();
    let data = payment_data(&invoice, "$admin");
    let text = serde_json::to_string_pretty(&data).unwrap().replace("\"quantity\": 1", "\"quantity\"  :  1");
    let text =
        text.replacen('{', "{ \"additional_info\": {\"exact\": 1.10, \"big\": 12345678901234567890123}, ", 1);
    let body = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"exact\",\"source\":\"/checkout\",\
         \"type\":\"jenius.payment.request.v1\",\"data\":{text}}}"
    );
    world.broker.publish_bytes("payment.request", "application/cloudevents+json", body.as_bytes()).await;
    world.event(&invoice, "payment.accepted").await;
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()));
    let ledger = world.sandbox.ledger();
    let sent = ledger.sends_of(&invoice).next().unwrap();
    assert_eq!(sent.body_digest.as_deref(), Some(digest.as_str()));
    world.end().await;
}

/// A poll anywhere on its way would make each wait for the next tick, since it starts when the one before
/// has just had its own. So the fastest says enough, whatever else the machine does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_command_waits_for_no_timer() {
    const SHORTEST_POLL: Duration = Duration::from_secs(1);
    // Nothing else happens meanwhile that could wake whoever polls.
    let world = World::with().set("CHECK__FIRST_AFTER_MS", 3_600_000).build().await;
    let mut took = Vec::new();
    for _ in 0..15 {
        let invoice = world.invoice();
        let start = Instant::now();
        world.publish(&payment(&invoice)).await;
        world.event(&invoice, "payment.accepted").await;
        took.push(start.elapsed());
    }
    assert!(took.iter().min().unwrap() < &(SHORTEST_POLL / 2), "{took:?}");
    world.end().await;
}

/// A list of errors is bounded, whatever was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_wrong_items_make_a_bounded_rejection() {
    let world = World::new().await;
    let mut data = payment_data(&world.invoice(), "$admin");
    data["order"]["line_items"] = (0..10_000).map(|_| json!({"x": 1})).collect();
    let message = Message::payment(data);
    world.publish(&message).await;
    let errors = world.errors(message.id()).await;
    assert!((2..=100).contains(&errors.len()), "{} errors", errors.len());
    world.end().await;
}
