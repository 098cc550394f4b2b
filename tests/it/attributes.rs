//! A fault of an attribute is told to whoever sent the command; `validate` finds it before.

use crate::harness::{
    World,
    child::{BINARY, run},
    commands::{Message, payment_data},
    eventually,
};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_an_attribute_is_told_with_those_of_the_data_and_dead_letters_nothing() {
    let world = World::new().await;
    let mut data = payment_data(&world.invoice(), "$admin");
    data["order"]["amount"] = json!("0");
    let message = Message::payment(data)
        .with("specversion", "0.3")
        .with("time", "yesterday")
        .with("subject", "")
        .with("datacontenttype", "text/xml")
        .with("dataschema", 7)
        .with("expirytime", "tomorrow");
    world.publish(&message).await;
    let told = world.errors(message.id()).await;
    let expected = [
        ("not_allowed", "specversion"),
        ("invalid_format", "time"),
        ("too_short", "subject"),
        ("not_allowed", "datacontenttype"),
        ("wrong_type", "dataschema"),
        ("invalid_format", "expirytime"),
        ("out_of_range", "order.amount"),
    ];
    assert_eq!(told, expected.map(|(code, field)| (code.to_owned(), field.to_owned())));
    let event = world.rejected(message.id()).await;
    let errors = event.data("errors").as_array().unwrap().clone();
    assert!(errors.iter().all(|e| e["message"].as_str().unwrap().starts_with("must be ")), "{errors:?}");
    assert_eq!(errors[0]["message"], "must be the string 1.0; it is \"0.3\"");
    assert!(world.sandbox.ledger().requests.is_empty());

    // Without a source nobody can be told.
    let nobodys = Message::payment(payment_data(&world.invoice(), "$admin")).with("source", Value::Null);
    world.publish(&nobodys).await;
    eventually("a dead letter", async || (world.broker.depth("dead").await == 1).then_some(())).await;
    world.end().await;
}

/// What `validate` prints, and its exit code.
fn validated(body: &str) -> (String, Option<i32>) {
    let mut child = Command::new(BINARY)
        .args(["validate", "payment", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn validate_finds_every_fault_of_a_command_or_of_its_data_offline() {
    let good = Message::payment(payment_data("INV-1", "$admin"));
    assert_eq!(validated(&good.body["data"].to_string()), ("valid\n".to_owned(), Some(0)));
    assert_eq!(validated(&good.body.to_string()), ("valid\n".to_owned(), Some(0)));

    let mut data = payment_data("INV 1", "$admin");
    data["order"]["line_items"][0]["price"] = json!(39_999);
    let command = Message::payment(data.clone())
        .with("specversion", "0.3")
        .with("id", "a b")
        .with("expirytime", "2020-01-31T17:00:00Z")
        .with("merchant", "No Such");
    let (said, exit) = validated(&command.body.to_string());
    assert_eq!(exit, Some(1), "{said}");
    for fault in [
        "id: must be 1–128 visible ASCII characters (not_allowed)",
        "specversion: must be the string 1.0; it is \"0.3\" (not_allowed)",
        "merchant: must be the name of a configured merchant; it is \"No Such\" (merchant_unknown)",
        "expirytime: must be a time to come; it has passed (command_expired)",
        "order.invoice_number: must be 1–64 visible ASCII characters without a space, not `.` or `..`; it is \"INV 1\" \
         (invalid_characters)",
        "order.line_items: must be items with a sum of price × quantity that is order.amount, 50000; it adds up to 49999 \
         (sum_mismatch)",
        "would be dead-lettered",
    ] {
        assert!(said.contains(fault), "{fault}\n---\n{said}");
    }
    let old = good.clone().with("time", "2020-01-31T17:00:00Z");
    let (said, exit) = validated(&old.body.to_string());
    let fault = "expirytime: must be a time to come; it has passed: its time is 2020-01-31T17:00:00+00:00, and its \
                 budget 900 s (retry.payment_max_elapsed_ms) (command_expired)";
    assert_eq!((said.trim_end(), exit), (fault, Some(1)));
    let number = Message::payment(payment_data("INV-1", "$admin")).with("merchant", 5);
    let (said, exit) = validated(&number.body.to_string());
    assert_eq!((said.lines().count(), exit), (1, Some(1)), "{said}");
    assert!(
        said.contains("must be the name of a configured merchant; it is a number (wrong_type)"),
        "{said}"
    );
    // JSON Schema calls it a whole number, and says so of ours.
    let point = payment_data("INV-1", "$admin").to_string().replace("40000", "40000.0");
    let (said, exit) = validated(&point);
    assert!(exit == Some(1) && said.contains("written without point or exponent"), "{said}");
    let (said, exit) = validated(&data.to_string());
    assert_eq!((said.lines().count(), exit), (2, Some(1)), "{said}");
    let (said, exit) = validated(r#"{"order":{"amount":"1","amount":"2"}}"#);
    assert!(exit == Some(1) && said.contains("a member twice") && said.contains("dead-lettered"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_passed_on_stays_byte_for_byte_where_a_null_is_taken_out() {
    let world = World::new().await;
    let invoice = world.invoice();
    let odd = r#""additional_info":{"n":12345678901234567890123,  "e":1.50E+02,"s":"\u0041\/é"}"#;
    let message = Message::payment(payment_data(&invoice, "$admin"));
    let mut command = message.body.clone();
    command["data"].take();
    let data = message.body["data"].to_string();
    let data = data.replacen('{', &format!("{{{odd} ,"), 1).replace("\"Astari@doku.com\"", "null");
    let body = command.to_string().replace("\"data\":null", &format!("\"data\":{data}"));
    world.broker.publish_bytes("payment.request", "application/json", body.as_bytes()).await;
    world.event(&invoice, "payment.accepted").await;
    let sent: String = sqlx::query_scalar("SELECT convert_from(request_body, 'UTF8') FROM commands")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(sent, data.replace(",\"email\":null", "").replace("\"email\":null,", ""));
    assert!(sent.contains(odd), "{sent}");
    let output = run(&world, &["send", "payment", "-"], &data.replace(&invoice, &world.invoice())).await;
    assert!(output.status.success());
    world.end().await;
}
