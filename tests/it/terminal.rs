//! What others wrote never drives a terminal, hides there or turns it round: in tables, in JSON, in CSV; and who forbids
//! colours gets none.

use crate::harness::{
    World,
    child::{BINARY, run},
    commands::{Message, payment, refund_data},
    eventually,
};
use jenius_pay::shown::is_unsafe;
use serde_json::Value;
use std::process::{Command, Stdio};

/// An escape sequence, a C1 control, a bidirectional override, a zero-width character, a tag.
const HOSTILE: &str = "a\u{1b}[2J\u{9b}b\u{202e}c\u{200b}d\u{e0041}";

fn assert_tame(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let unsafe_one = text.replace("\r\n", "\n").chars().find(|c| *c != '\n' && is_unsafe(*c));
    assert_eq!(unsafe_one, None, "{what}:\n{}", text.escape_debug());
    text
}

async fn printed(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments, "").await;
    assert_tame(&arguments.join(" "), &output.stderr);
    assert_tame(&arguments.join(" "), &output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_wrote_reaches_a_person_as_text() {
    let world = World::new().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    let mut watch = Command::new(BINARY)
        .args(["watch", "--json"])
        .env_clear()
        .envs(&world.settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    world
        .broker
        .publish_bytes("payment.request", "application/json", format!("{{\"{HOSTILE}\"").as_bytes())
        .await;
    let letter = eventually("the dead letter", async || {
        let letters: Value =
            serde_json::from_str(&printed(&world, &["dead", "list", "--json"]).await).unwrap();
        letters[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    printed(&world, &["pause", "--merchant", "other", "--reason", HOSTILE]).await;
    world.publish(&Message::refund(refund_data(&invoice, HOSTILE))).await;
    world.event(&invoice, "order.refunded").await;
    watch.kill().unwrap();
    assert_tame("watch --json", &watch.wait_with_output().unwrap().stdout);
    let shown = printed(&world, &["orders", "show", &invoice]).await;
    assert!(shown.contains("b\u{fffd}c\u{fffd}d\u{fffd}"), "{shown}");
    let json = printed(&world, &["orders", "show", &invoice, "--json"]).await;
    let order: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(order["refund"]["reason"], HOSTILE);
    let csv = printed(&world, &["orders", "list", "--csv"]).await;
    assert!(csv.starts_with("\"merchant\",") && csv.contains(&format!("\"{invoice}\"")), "{csv}");
    for arguments in [&["dead", "list"][..], &["dead", "list", "--json"], &["dead", "show", &letter]] {
        printed(&world, arguments).await;
    }
    printed(&world, &["dead", "show", &letter, "--json"]).await;
    printed(&world, &["audit"]).await;
    world.end().await;
}

/// What a shell, `man` and a person who asks why get of the program itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_manual_pages_and_the_configuration_in_force_are_printed() {
    let mut world = World::with().without_service().build().await;
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&world, &["completions", shell]).await;
        assert!(script.contains("jenius-pay") && script.contains("resolve"), "{shell}");
    }
    let folder = std::env::temp_dir().join(format!("jenius-pay-man-{}", std::process::id()));
    printed(&world, &["man", folder.to_str().unwrap()]).await;
    let page = std::fs::read_to_string(folder.join("jenius-pay-orders-resolve.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
    std::fs::remove_dir_all(&folder).unwrap();
    world.settings.insert("JENIUS_PAY__TIME_ZONE".to_owned(), "UTC".to_owned());
    let config = printed(&world, &["config"]).await;
    let row = |key: &str| config.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(row("time_zone ").contains("UTC") && row("database.url ").contains("(hidden)"), "{config}");
    assert!(config.lines().all(|line| line.chars().count() <= 80), "{config}");
    let changed: Value =
        serde_json::from_str(&printed(&world, &["config", "--changed", "--json"]).await).unwrap();
    let zone = changed.as_array().unwrap().iter().find(|row| row["key"] == "time_zone").unwrap();
    assert_eq!((&zone["value"], &zone["origin"]), (&"UTC".into(), &"JENIUS_PAY__TIME_ZONE".into()));
    world.end().await;
}

/// On a terminal of its own (`script`), with and without what forbids colours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_colours_who_forbids_them() {
    let world = World::new().await;
    for (variable, value, colours) in
        [("TERM", "xterm", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false), ("NO_COLOR", "", true)]
    {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{BINARY} doctor"), "/dev/null"]);
        command.env_clear().envs(&world.settings).env("PATH", std::env::var("PATH").unwrap());
        command.env("TERM", "xterm").env(variable, value).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(page.contains("checks:"), "{page}");
        assert_eq!(page.contains('\u{1b}'), colours, "{variable}={value}: {page}");
    }
    world.end().await;
}
