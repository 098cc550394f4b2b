//! Files that came before, came in another form, or are held; what a person closed; and what `prune` takes away.

use super::{MERCHANT, Scratch, import, late, number_of, open_breaks, pay, said, settled, today, world};
use crate::harness::{World, child::run, eventually};
use doku_sandbox::SettlementRequest;
use serde_json::Value;
use std::time::Duration;

const INVENTED: &str = include_str!("../../vectors/settlement.csv");

fn request(faults: &str) -> SettlementRequest {
    SettlementRequest {
        client_id: Some(crate::harness::world::CLIENT_ID.to_owned()),
        paid_out_on: Some(late()),
        faults: faults.to_owned(),
        ..SettlementRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_invented_file_is_held_until_a_person_says_anyway() {
    let world = World::new().await;
    let scratch = Scratch::new();
    let path = scratch.write("invented.csv", INVENTED);
    let out = said(&world, &["settlement", "import", &path], 2).await;
    assert!(out.contains("--merchant: default, other"), "{out}");
    let out = import(&world, &path, &[], 1).await;
    assert!(out.contains("2 of 2 rows have no order"), "{out}");
    assert_eq!(open_breaks(&world).await, []);
    import(&world, &path, &["--anyway"], 0).await;
    let expected =
        ["INV-2026-000123", "INV-2026-000124"].map(|i| ("missing_here".to_owned(), Some(i.to_owned())));
    assert_eq!(open_breaks(&world).await, expected);
    let batch = "B-BSN-0000-0000000000000-SBS-0000-20260106120000000-00000000000000000";
    let shown = said(&world, &["settlement", "show", batch], 0).await;
    assert!(shown.contains("Rp170.000") && shown.contains("Rp666.445"), "{shown}");
    let again = run(&world, &[&["settlement", "import", "-"], &MERCHANT[..]].concat(), INVENTED).await;
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("imported before"),
        "the same bytes by another way"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_sent_again_changed_is_one_break_and_its_event_names_the_old_one() {
    let world = world().await;
    let scratch = Scratch::new();
    let paid = pay(&world, 3).await;
    let file = world.sandbox.settlement(&request("")).unwrap();
    import(&world, &scratch.write("a.csv", &file.csv), &[], 0).await;
    let mut old = Vec::new();
    for invoice in &paid {
        old.push(settled(&world, invoice, "purchase").await);
    }
    // Other bytes and the same rows are the same batch.
    import(&world, &scratch.write("b.csv", file.csv.replace('\n', "\r\n")), &[], 0).await;
    assert_eq!(open_breaks(&world).await, []);

    let line = file.csv.lines().find(|line| line.contains(&paid[0])).unwrap();
    let discounted = line.replace(",1500,0,48500,", ",1500,100,48400,");
    let totals = file.csv.replace("Total Discount_,0", "Total Discount_,100").replace("145500", "145400");
    import(&world, &scratch.write("c.csv", totals.replace(line, &discounted)), &[], 0).await;
    assert_eq!(open_breaks(&world).await, [("batch_changed".to_owned(), Some(paid[0].clone()))]);
    let replaced = async || {
        let told = world.events(|e| e.routing_key == "settlement.matched" && e.invoice() == Some(&paid[0]));
        told.into_iter().find(|e| e.data("net") == "48400")
    };
    let event = eventually("the changed row", replaced).await;
    assert_eq!(event.data("replaces"), &old[0].body["id"]);

    // A person closes it, and it stays so though the file's rows come again.
    let number = number_of(&world, "batch_changed").await;
    said(&world, &["settlement", "close", &number, "--reason", "a promotion"], 0).await;
    import(&world, &scratch.write("d.csv", totals.replace(line, &discounted) + "\n"), &[], 0).await;
    assert_eq!(open_breaks(&world).await, []);
    let all = said(&world, &["settlement", "breaks"], 0).await;
    assert!(all.contains("tester") && all.contains("a promotion"), "{all}");
    world.end().await;
}

/// It may be in files of another account, or in those from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_paid_before_this_service_ran_is_not_missed() {
    let world = world().await;
    let scratch = Scratch::new();
    pay(&world, 2).await;
    let imported = world.invoice();
    let orders = format!("invoice_number,amount,paid_at\n{imported},50000,{}\n", just_now());
    let taken = run(&world, &["orders", "import", "-", "--reason", "go-live"], &orders).await;
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let file = world.sandbox.settlement(&request("")).unwrap();
    assert!(!file.csv.contains(&imported));
    import(&world, &scratch.write("a.csv", &file.csv), &[], 0).await;
    assert_eq!(open_breaks(&world).await, []);
    world.end().await;
}

#[expect(clippy::disallowed_methods, reason = "a test plays finance, which has a clock of its own")]
fn just_now() -> String {
    chrono::Utc::now().to_rfc3339()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_none_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let scratch = Scratch::new();
    for (name, bytes, why) in [
        ("a.pdf", b"%PDF-1.7".to_vec(), "PDF"),
        ("b.csv", b"a,b\n1,2\n".to_vec(), "no header"),
        (
            "c.csv",
            [INVENTED.as_bytes(), b"\"".as_slice(), &vec![b'x'; 200_000]].concat(),
            "quote may be open",
        ),
    ] {
        let out = import(&world, &scratch.write(name, bytes), &[], 1).await;
        assert!(out.contains(why), "{name}: {out}");
    }
    for table in [
        "SELECT count(*) FROM settlement_files",
        "SELECT count(*) FROM settlement_rows",
        "SELECT count(*) FROM settlement_pieces",
    ] {
        assert_eq!(world.database.count(table).await, 0, "{table}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prune_empties_the_file_as_it_came_and_keeps_what_was_read_of_it() {
    let world = world().await;
    let scratch = Scratch::new();
    pay(&world, 2).await;
    let file = world.sandbox.settlement(&request("")).unwrap();
    let path = scratch.write("a.csv", file.csv.replacen("PELANGGAN", "Astari", 1));
    import(&world, &path, &[], 0).await;
    let pieces = "SELECT count(*) FROM settlement_pieces";
    assert_eq!(world.database.count(pieces).await, 1);
    world.database.jump(Duration::from_secs(91 * 24 * 3600)).await;
    let out = said(&world, &["prune", "--older-than", "90"], 0).await;
    assert!(out.contains("1 settlement files"), "{out}");
    assert_eq!(world.database.count(pieces).await, 0);
    let list: Vec<Value> =
        serde_json::from_str(&said(&world, &["settlement", "list", "--json"], 0).await).unwrap();
    assert_eq!((list[0]["own_rows"].clone(), list[0]["sha256"].as_str().unwrap().len()), (2.into(), 64));
    assert!(import(&world, &path, &[], 0).await.contains("imported before"));
    world.end().await;
}

/// An import that was broken off after any of its groups ends as one that was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_broken_off_goes_on() {
    let world = world().await;
    let scratch = Scratch::new();
    let paid = pay(&world, 3).await;
    let file = world.sandbox.settlement(&request("wrong_fee")).unwrap();
    let path = scratch.write("a.csv", &file.csv);
    import(&world, &path, &[], 0).await;
    let before = open_breaks(&world).await;
    for broken_off in [
        "UPDATE settlement_files SET state = 'matching', done_at = NULL, judged_to = 0",
        "UPDATE settlement_files SET state = 'reading', done_at = NULL, judged_to = 0",
    ] {
        sqlx::query(broken_off).execute(&world.database.pool).await.unwrap();
        import(&world, &path, &[], 0).await;
        assert_eq!(open_breaks(&world).await, before);
    }
    assert_eq!(world.database.count("SELECT count(*) FROM settlement_rows").await, 3);
    for invoice in &paid {
        let told = world.events(|e| e.routing_key == "settlement.matched" && e.invoice() == Some(invoice));
        assert!(told.len() <= 1, "{invoice}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_does_not_come_is_said_until_the_next_one_is_here() {
    let setting = World::with().set("SETTLEMENT__PROFILE__DAY__RHYTHM", "daily");
    let world = setting.set("SETTLEMENT__PROFILE__DAY__MERCHANT", "default").build().await;
    let scratch = Scratch::new();
    let paid = pay(&world, 2).await;
    let today = today();
    let first = SettlementRequest { paid_out_on: Some(today), prefix: paid[0].clone(), ..request("") };
    let first = world.sandbox.settlement(&first).unwrap();
    // By hand, with a profile that knows no rhythm.
    import(&world, &scratch.write("a.csv", &first.csv), &["--profile", "doku"], 0).await;
    assert_eq!(open_breaks(&world).await, []);
    world.database.jump(Duration::from_secs(12 * 24 * 3600)).await;
    let late = async || (open_breaks(&world).await == [("batch_missing".to_owned(), None)]).then_some(());
    eventually("the batch to be missed", late).await;
    let day = today + chrono::Days::new(12);
    let next = SettlementRequest { paid_out_on: Some(day), prefix: paid[1].clone(), ..request("") };
    let next = world.sandbox.settlement(&next).unwrap();
    // Nobody paid by Jenius on that day.
    let others = next.csv.replace("Jenius Pay", "Virtual Account BCA");
    import(&world, &scratch.write("b.csv", others), &[], 0).await;
    let here = async || open_breaks(&world).await.is_empty().then_some(());
    eventually("the batch to be here", here).await;
    world.end().await;
}
