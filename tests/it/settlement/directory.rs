//! Files that are put into `settlement.watch_dir`.

use super::{Scratch, late, open_breaks, pay};
use crate::harness::{World, eventually_or};
use doku_sandbox::SettlementRequest;
use std::time::{Duration, Instant};

/// A file waits a minute until it has not changed; twice as long for a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_taken_once_it_does_not_change_and_one_that_is_none_has_its_reason_beside() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("default")).unwrap();
    let directory = scratch.path().to_string_lossy().into_owned();
    let setting = World::with().set("SETTLEMENT__FEES", "2020-01-01;fixed=1500");
    let world = setting.set("SETTLEMENT__WATCH_DIR", directory).build().await;
    let paid = pay(&world, 2).await;
    let client_id = Some(crate::harness::world::CLIENT_ID.to_owned());
    let faults = "wrong_fee".to_owned();
    let request =
        SettlementRequest { client_id, paid_out_on: Some(late()), faults, ..SettlementRequest::default() };
    let file = world.sandbox.settlement(&request).unwrap();
    let put = Instant::now();
    scratch.write("default/good.csv", &file.csv);
    scratch.write("default/bad.pdf", "%PDF-1.7");
    scratch.write("whose.csv", &file.csv);
    std::os::unix::fs::symlink("/etc/hostname", scratch.path().join("default/link.csv")).unwrap();

    let at = |name: &str| scratch.path().join(name);
    while !(at("default/done/good.csv").exists()
        && at("default/refused/bad.pdf.reason.txt").exists()
        && at("refused/whose.csv.reason.txt").exists())
    {
        assert!(
            put.elapsed() < PATIENCE,
            "{:?}",
            std::fs::read_dir(at("default")).unwrap().collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(put.elapsed() >= Duration::from_secs(60), "it was still young");
    let reason = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert!(reason("default/refused/bad.pdf.reason.txt").contains("PDF"));
    assert!(reason("refused/whose.csv.reason.txt").contains("several merchants"));
    assert!(at("default/link.csv").symlink_metadata().is_ok(), "a link is left alone");
    let found = open_breaks(&world).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == "fee_mismatch" && paid.contains(found[0].1.as_ref().unwrap()), "{found:?}");
    eventually_or(
        || "no event".to_owned(),
        async || (!world.events(|e| e.routing_key == "settlement.matched").is_empty()).then_some(()),
    )
    .await;
    world.end().await;
}
