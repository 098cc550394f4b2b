//! What operators and finance list: orders by what they look for, and what operators did.

use crate::harness::{World, child::run, commands, payment};
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
    assert!(err.contains("there are more: these are the latest 1; the next page: --page "), "{err}");
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

async fn listed(world: &World, filter: &[&str]) -> Vec<String> {
    let (json, _) = printed(world, &[&["orders", "list", "--json"], filter].concat()).await;
    let listed: Value = serde_json::from_str(&json).unwrap();
    listed
        .as_array()
        .unwrap()
        .iter()
        .map(|order| order["invoice_number"].as_str().unwrap().to_owned())
        .collect()
}

/// Support has one thing in hand: part of an invoice number, or an id from a log, from DOKU or from an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_found_by_what_support_has_in_hand() {
    let world = World::new().await;
    let (first, other) = (world.invoice(), world.invoice());
    let command = payment(&first);
    world.publish(&command).await;
    world.event(&first, "order.paid").await;
    world.paid(&other).await;
    let refund = commands::refund(&first);
    world.publish(&refund).await;
    let refunded = world.event(&first, "order.refunded").await;
    let request_id = refunded.data("request_id").as_str().unwrap().to_owned();
    let event_id = refunded.message_id.clone().unwrap();
    for search in [&first[..12], command.id(), refund.id(), &request_id, &event_id, &first] {
        assert_eq!(listed(&world, &["--search", search]).await, [first.as_str()], "{search}");
    }
    assert_eq!(listed(&world, &["--search", "INV-"]).await.len(), 2);
    assert!(listed(&world, &["--search", "NV-"]).await.is_empty(), "only by the beginning");
    let states = ["--state", "paid", "--state", "refunded"];
    assert_eq!(listed(&world, &states).await, [other.as_str(), first.as_str()]);
    assert_eq!(listed(&world, &states[..2]).await, [other.as_str()]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_cut_says_so_and_goes_on_with_the_next_page() {
    let world = World::new().await;
    let mut invoices = Vec::new();
    for _ in 0..3 {
        invoices.insert(0, world.invoice());
        world.paid(&invoices[0]).await;
    }
    let (page, _) = printed(&world, &["orders", "list", "--limit", "2"]).await;
    assert!(
        page.contains(&invoices[0]) && page.contains(&invoices[1]) && !page.contains(&invoices[2]),
        "{page}"
    );
    let (_, next) =
        page.trim_end().split_once("there are more: these are the latest 2; the next page: --page ").unwrap();
    let (rest, _) = printed(&world, &["orders", "list", "--limit", "2", "--page", next]).await;
    assert!(
        rest.contains(&invoices[2]) && !rest.contains(&invoices[1]) && !rest.contains("there are more"),
        "{rest}"
    );
    assert!(page.starts_with("invoice") && page.contains("since") && page.contains(" s "), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    world.end().await;
}

/// Whoever looks at orders sees first why nothing moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_output_about_orders_begins_with_a_banner_while_sends_are_stopped() {
    let mut world = World::new().await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    let invoice = world.invoice();
    world.paid(&invoice).await;
    let (list, _) = printed(&world, &["orders", "list"]).await;
    assert!(!list.contains("STOPPED"), "{list}");
    printed(&world, &["pause", "--reason", "a release"]).await;
    for arguments in [&["orders", "list"][..], &["orders", "show", &invoice], &["orders", "check", &invoice]]
    {
        let (out, _) = printed(&world, arguments).await;
        let lines: Vec<&str> = out.lines().take(2).collect();
        assert_eq!(lines[0], "SENDS ARE STOPPED", "{out}");
        assert!(
            lines[1].starts_with("paused   all merchants since 2") && lines[1].ends_with(": a release"),
            "{out}"
        );
    }
    let (json, err) = printed(&world, &["orders", "list", "--json"]).await;
    assert!(json.starts_with('[') && err.starts_with("SENDS ARE STOPPED"), "{json}{err}");
    printed(&world, &["resume"]).await;
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
    let (table, _) = printed(&world, &["audit", "--limit", "3", "--wide"]).await;
    assert!(
        table.contains("check order") && table.contains("by ratna (") && table.contains("): the shop asked"),
        "{table}"
    );
    let (shown, _) = printed(&world, &["orders", "show", &invoice]).await;
    assert!(shown.contains("operator: check order"), "{shown}");
    for (filter, count) in [
        (&["--by", "ratna"][..], 1),
        (&["--by", "budi"], 2),
        (&["--by", "rat"], 0),
        (&["--invoice", &invoice], 1),
        (&["--merchant", "other"], 2),
        (&["--since", "1h"], 3),
        (&["--since", "2999-01-01T00:00:00Z"], 0),
    ] {
        let (csv, _) = printed(&world, &[&["audit", "--csv"], filter].concat()).await;
        assert_eq!(csv.split_terminator("\r\n").count(), 1 + count, "{filter:?}: {csv}");
    }
    world.end().await;
}
