//! Every command that changes something says who did it, and does nothing where nobody is known.

use crate::harness::{World, child::run, payment};

/// The tests may run as a person: then the operating system knows who that is.
fn is_known() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    let uid: u32 = String::from_utf8(id.stdout).unwrap().trim().parse().unwrap();
    (1000..61_184).contains(&uid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_by_nobody() {
    let mut world = World::new().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    world.settings.remove("JENIUS_OPERATOR");
    // Anybody sets it: it is no proof of anything.
    world.settings.insert("USER".to_owned(), "ratna".to_owned());
    let commands: [&[&str]; 7] = [
        &["pause"],
        &["resume"],
        &["orders", "check", &invoice],
        &["orders", "resolve", &invoice, "--state", "failed", "--reason", "x"],
        &["events", "replay", "--invoice", &invoice],
        &["prune", "--older-than", "1"],
        &["dead", "drop", "--all", "--yes", "--reason", "x"],
    ];
    if !is_known() {
        for arguments in commands {
            let output = run(&world, arguments, "").await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains("nothing was done") && said.contains("--as NAME"), "{arguments:?}: {said}");
        }
        assert_eq!(world.database.count("SELECT count(*) FROM operator_actions").await, 0);
        assert_eq!(world.database.count("SELECT count(*) FROM pauses").await, 0);
    }
    let paused = run(&world, &["pause", "--as", "Budi", "--merchant", "other"], "").await;
    assert_eq!(paused.status.code(), Some(0), "{}", String::from_utf8_lossy(&paused.stderr));
    let by = "SELECT count(*) FROM operator_actions WHERE action = 'pause' AND done_by LIKE 'Budi (%@%)'";
    assert_eq!(world.database.count(by).await, 1);
    let refused = run(&world, &["pause", "--as", "root"], "").await;
    assert_eq!(refused.status.code(), Some(2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cause_is_no_reason() {
    let world = World::new().await;
    for cause in ["malformed", "not_authentic", "delivery_limit", "unrouted"] {
        for action in ["replay", "drop"] {
            let output = run(&world, &["dead", action, "--all", "--yes", "--reason", cause], "").await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(&format!("--cause {cause}")), "{said}");
        }
    }
    world.end().await;
}
