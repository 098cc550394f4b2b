//! What the stories measured, in `deploy/PROOF.md`: each table between two marks, written by the run that
//! measured it, and only when it is asked to (`JENIUS_WRITE_PROOF=1`). It is always printed.

use super::{broker, database, raw::Raw};
use sqlx::{Connection, PgConnection};
use std::{fs::read_to_string, path::PathBuf, process::Command, sync::Mutex};

const ASKED_BY: &str = "JENIUS_WRITE_PROOF";
static ONE_WRITER: Mutex<()> = Mutex::new(());

/// Prints a section and, where it was asked for, puts it between `<!-- name -->` and `<!-- /name -->`.
pub fn section(name: &str, markdown: &str) {
    println!("--- {name}\n{markdown}");
    if std::env::var_os(ASKED_BY).is_none() {
        return;
    }
    let _writing = ONE_WRITER.lock().unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/PROOF.md");
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, replaced(&page, name, markdown)).unwrap();
}

fn replaced(page: &str, name: &str, markdown: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let from = page.find(&open).unwrap_or_else(|| panic!("PROOF.md has no {open}")) + open.len();
    let until = page.find(&close).unwrap_or_else(|| panic!("PROOF.md has no {close}"));
    format!("{}\n\n{}\n\n{}", &page[..from], markdown.trim(), &page[until..])
}

/// Where all of it was measured, as the machine and the servers say it themselves.
#[tokio::test]
async fn the_page_says_when_and_on_what_it_was_measured() {
    let processors = read_to_string("/proc/cpuinfo").unwrap();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let compiler = Command::new("rustc").arg("--version").output().unwrap();
    let mut sql = PgConnection::connect(&database::url()).await.unwrap();
    let postgres: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut sql).await.unwrap();
    let now = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')";
    let date: String = sqlx::query_scalar(now).fetch_one(&mut sql).await.unwrap();
    let rabbitmq = tokio::task::spawn_blocking(|| Raw::connect(&broker::url()).version).await.unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    let rows = [
        ("date", format!("{date} UTC")),
        ("machine", format!("{cores} cores, {}", model.map_or("of an unknown model", |(_, model)| model))),
        ("kernel", read_to_string("/proc/sys/kernel/osrelease").unwrap()),
        ("PostgreSQL", postgres),
        ("RabbitMQ", rabbitmq),
        ("compiler", String::from_utf8(compiler.stdout).unwrap()),
        ("build", if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned()),
    ];
    for (name, value) in &rows {
        assert!(!value.trim().is_empty(), "{name}");
    }
    let rows: Vec<String> =
        rows.iter().map(|(name, value)| format!("| {name} | {} |", value.trim())).collect();
    section("machine", &format!("| | |\n|---|---|\n{}", rows.join("\n")));
}

#[test]
fn a_section_is_replaced_and_its_neighbours_stay() {
    let page = "a\n<!-- x -->\n\nold\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n";
    let once = replaced(page, "x", "new\n");
    assert_eq!(once, "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n");
    assert_eq!(replaced(&once, "x", "new\n"), once);
}
