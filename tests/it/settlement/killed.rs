//! An import, and the database under it, are killed in the middle of their work. Whatever the server had not written to its
//! disk yet is gone, and the same file goes on: nothing is counted twice, and nothing is left out.

use super::{MERCHANT, Scratch, import, open_breaks};
use crate::harness::{
    World,
    child::{BINARY, run},
    eventually,
    servers::Server,
};
use chrono::Days;
use std::process::{Child, Command, Stdio};

const ROWS: usize = 8_000;
/// One of them stands in the file twice.
const KEPT: i64 = 8_001;
/// Rows with a fee that the rule does not know, one in a group each.
const ODD: [usize; 3] = [500, 3_500, 7_500];
/// So far an import gets, and in which state, before something is killed.
const MOMENTS: [(&str, bool); 5] = [
    ("state = 'reading' AND lines_read > 2000", true),
    ("state = 'reading' AND lines_read > 5000", false),
    ("state = 'matching' AND judged_to > 1000", true),
    ("state = 'matching' AND judged_to > 4000", true),
    ("state = 'matching' AND judged_to > 6000", false),
];

fn invoice(number: usize) -> String {
    format!("KILLED-{number:06}")
}

/// Every order is in it once, and one row twice.
fn file() -> String {
    let (paid, out) = (super::today() - Days::new(3), super::today());
    let mut text = format!("Batch ID_,B-KILLED\n\n{}\n", HEADER);
    for number in 0..ROWS {
        let fee = if ODD.contains(&number) { 1_700 } else { 1_500 };
        let row = format!(
            "Jenius Pay,{},{},50000,{fee},{},{},Purchase\n",
            paid.format("%d-%m-%Y"),
            invoice(number),
            50_000 - fee,
            out.format("%d-%m-%Y")
        );
        text.push_str(&row);
        // The same row a thousand lines later: its second number is given by what is kept of the file.
        if number == ROWS - 1 {
            text.push_str(&row.replace(&invoice(number), &invoice(0)));
        }
    }
    text
}

const HEADER: &str = "PAYMENT CHANNEL NAME,TRANSACTION DATE,INVOICE NUMBER,AMOUNT,FEE,PAY TO MERCHANT,PAY OUT DATE,TRANSACTION TYPE";

fn started(world: &World, path: &str) -> Child {
    let mut command = Command::new(BINARY);
    command.args([&["settlement", "import", path], &MERCHANT[..]].concat()).env_clear().envs(&world.settings);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether the import came so far before it ended.
async fn came_to(world: &World, child: &mut Child, moment: &str) -> bool {
    let sql = format!("SELECT EXISTS (SELECT FROM settlement_files WHERE {moment})");
    loop {
        let is_there =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone())).fetch_one(&world.database.pool).await;
        if is_there.unwrap() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_it_or_the_database_was_killed_at_any_moment() {
    let mut server = Server::start("postgres").await;
    let setting = World::with().on_database(&server.url).set("SETTLEMENT__FEES", "2020-01-01;fixed=1500");
    let world = setting.without_service().build().await;
    let scratch = Scratch::new();
    let orders: String = (0..ROWS).map(|number| format!("{},50000,2026-01-01\n", invoice(number))).collect();
    let orders = format!("invoice_number,amount,paid_at\n{orders}");
    let taken = run(&world, &["orders", "import", "-", "--reason", "go-live"], &orders).await;
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let path = scratch.write("killed.csv", file());
    for (moment, is_server) in MOMENTS {
        let mut child = started(&world, &path);
        assert!(came_to(&world, &mut child, moment).await, "it ended before {moment}");
        if is_server {
            server.kill();
            assert!(!child.wait().unwrap().success(), "it must say that it was broken off");
            server.restart().await;
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        eventually("the server to answer, and the lock to be free", async || {
            let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
            let count: i64 = sqlx::query_scalar(locks).fetch_one(&world.database.pool).await.ok()?;
            (count == 0).then_some(())
        })
        .await;
    }
    import(&world, &path, &[], 0).await;
    assert!(import(&world, &path, &[], 0).await.contains("imported before"));
    let doubled = ("duplicate_row".to_owned(), Some(invoice(0)));
    let fees = ODD.map(|number| ("fee_mismatch".to_owned(), Some(invoice(number))));
    assert_eq!(open_breaks(&world).await, [&[doubled], &fees[..]].concat());
    let kept = "SELECT count(*) FROM settlement_rows";
    assert_eq!(world.database.count(kept).await, KEPT, "each row once, and the doubled one twice");
    let counted = "SELECT own_rows * 1000000 + own_fee - own_rows * 1500 FROM settlement_files";
    assert_eq!(world.database.count(counted).await, KEPT * 1_000_000 + 3 * 200, "sums");
    let waiting = "SELECT count(*) FROM settlement_waiting";
    assert_eq!(world.database.count(waiting).await, KEPT - 2 - 3, "an event for each that fits");
    world.end().await;
}
