//! What operators and finance list: orders by what they look for, and what operators did.

use crate::harness::{World, child::run, payment};
use serde_json::Value;

async fn printed(world: &World, arguments: &[&str]) -> (String, String) {
    let output = run(world, arguments, "").await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{out}{err}");
    (out, err)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_listed_by_what_finance_looks_for_and_as_csv() {
    let world = World::new().await;
    let plain = world.invoice();
    let formula = format!("=1+{}", world.invoice());
    world.paid(&plain).await;
    world.paid(&formula).await;
    let (csv, err) = printed(&world, &["orders", "list", "--csv", "--state", "paid"]).await;
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(lines[0].starts_with("\"merchant\",\"invoice_number\",\"amount\",\"state\","), "{csv}");
    assert!(
        lines[1].starts_with(&format!("\"default\",\"'{formula}\",\"50000\",\"paid\",\"\",\"2")),
        "{csv}"
    );
    assert!(lines[2].starts_with(&format!("\"default\",\"{plain}\",\"50000\",\"paid\",\"\",\"2")), "{csv}");
    assert_eq!((lines.len(), err.as_str()), (3, ""));
    let (_, err) = printed(&world, &["orders", "list", "--csv", "--limit", "1"]).await;
    assert!(err.contains("there may be older ones"), "{err}");
    for (filter, count) in [
        (&["--min-amount", "50000", "--max-amount", "50000"][..], 2),
        (&["--min-amount", "50001"], 0),
        (&["--younger-than", "1h", "--merchant", "default"], 2),
        (&["--older-than", "1h"], 0),
        (&["--merchant", "other"], 0),
    ] {
        let (json, _) = printed(&world, &[&["orders", "list", "--json"], filter].concat()).await;
        let listed: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), count, "{filter:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_did_is_listed_with_who_and_why() {
    let mut world = World::new().await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    printed(&world, &["orders", "check", &invoice, "--reason", "the shop asked"]).await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "budi".to_owned());
    printed(&world, &["pause", "--merchant", "other"]).await;
    printed(&world, &["resume", "--merchant", "other"]).await;
    let (json, _) = printed(&world, &["audit", "--json"]).await;
    let kept: Value = serde_json::from_str(&json).unwrap();
    let words = |n: usize, member: &str| kept[n][member].as_str().map(str::to_owned);
    let actions: Vec<_> = (0..3).map(|n| words(n, "action").unwrap()).collect();
    assert_eq!(actions, ["resume", "pause", "check_order"]);
    assert_eq!(words(1, "subject").as_deref(), Some("other"));
    assert!(words(1, "done_by").unwrap().starts_with("budi ("));
    assert_eq!(words(2, "subject").as_deref(), Some(invoice.as_str()));
    assert_eq!(words(2, "reason").as_deref(), Some("the shop asked"));
    let (table, _) = printed(&world, &["audit", "--limit", "3"]).await;
    assert!(
        table.contains("check order") && table.contains("by ratna (") && table.contains("): the shop asked"),
        "{table}"
    );
    let (shown, _) = printed(&world, &["orders", "show", &invoice]).await;
    assert!(shown.contains("operator: check order"), "{shown}");
    world.end().await;
}
