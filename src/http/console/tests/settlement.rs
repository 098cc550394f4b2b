//! Settlement in the console: a file is sent and looked at before it counts; sums stand side by side.

use super::{
    fake::{HOSTILE, World},
    *,
};
use crate::flow::{
    ports::BatchSums,
    view::{
        sample,
        settlement::{self, BatchView, BreakView, FileView},
    },
};

/// How far a file is, by its number.
pub const STATES: [&str; 5] = ["receiving", "reading", "held", "matching", "done"];

pub fn file(state: &str) -> FileView {
    FileView {
        number: 2,
        merchant: "default".to_owned(),
        name: HOSTILE.to_owned(),
        profile: HOSTILE.to_owned(),
        sha256: Some("ab".repeat(32)),
        state: state.to_owned(),
        received_at: sample::at(0),
        done_at: None,
        batch: Some(HOSTILE.to_owned()),
        rows: 12,
        own_rows: 10,
        own_gross: 500_000,
        own_refunded: 20_000,
        own_fee: 15_000,
        own_discount: 0,
        own_net: -485_000,
        without_order: 2,
        unreadable: 1,
        net: 485_000,
        stated_net: Some(485_001),
        totals_fault: Some(HOSTILE.to_owned()),
        open_breaks: 1,
    }
}

/// `huge` is still being counted.
pub fn sums(world: World, name: &str) -> BatchSums {
    let batch = BatchView { batch: HOSTILE.to_owned(), ..settlement::sample::batch() };
    match name {
        "huge" => BatchSums::Counting,
        _ if world == World::Empty => BatchSums::Counted(sample::at(0), Vec::new()),
        _ => BatchSums::Counted(sample::at(0), vec![batch]),
    }
}

pub fn open_break() -> BreakView {
    BreakView {
        number: 7,
        merchant: "default".to_owned(),
        cause: "missing_here".to_owned(),
        owner: "operator".to_owned(),
        subject: "INV-1".to_owned(),
        invoice_number: Some(super::fake::HOSTILE_PATH.to_owned()),
        batch: Some(HOSTILE.to_owned()),
        at_stake: "50000".to_owned(),
        found: HOSTILE.to_owned(),
        first_seen_at: sample::at(0),
        closed_at: None,
        closed_by: None,
        history: vec![],
    }
}

const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";
const END: &str = "--edge--\r\n";

fn part(name: &str, value: &str) -> String {
    format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn sent(fields: &[(&str, &str)], file: &str) -> String {
    let fields: String = fields.iter().map(|(name, value)| part(name, value)).collect();
    let head = "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"jan<b>.csv\"\r\ncontent-type: text/csv";
    format!("{fields}{head}\r\n\r\n{file}\r\n{END}")
}

fn usual() -> Vec<(&'static str, &'static str)> {
    vec![("action", ACTION), ("merchant", "default"), ("profile", ""), ("reason", "the pay-out of Monday")]
}

fn finance() -> (FakeOperations, Browser) {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Finance]);
    (operations, browser.header("content-type", "multipart/form-data; boundary=edge"))
}

#[tokio::test]
async fn a_file_is_sent_with_a_reason_and_looked_at_before_it_counts() {
    let (operations, browser) = finance();
    let answered = browser.post("/settlement/bring", &sent(&usual(), "a,b\n1,2\n")).await;
    assert_eq!(answered.status, StatusCode::SEE_OTHER, "{}", answered.body);
    assert_eq!(answered.headers["location"], "/settlement/file?number=3");
    let page = browser.get("/settlement/file?number=2").await.body;
    for words in [
        "gross Rp500.000, refunded Rp20.000",
        "−Rp485.000",
        "More than one in ten",
        "No order moves",
        "Have it matched",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let browser = browser.header("content-type", "");
    let sha256 = "ab".repeat(32);
    assert!(page.contains(&format!("name=\"sha256\" value=\"{sha256}\"")), "{page}");
    let form = format!("number=3&sha256={sha256}&reason=the+sums+are+right&action={ACTION}");
    let answered = browser.post("/settlement/match", &form).await;
    assert_eq!(answered.headers["location"], "/settlement/file?number=3");
    let kept = [
        "bring jan<b>.csv of default as None by local:budi (unverified): the pay-out of Monday: 8 bytes",
        "match 3 by local:budi (unverified): the sums are right",
    ];
    assert_eq!(*operations.done.lock().unwrap(), kept);
    let busy = browser.post("/settlement/match", &form.replace("number=3", "number=4")).await;
    assert!(busy.status == StatusCode::BAD_REQUEST && busy.body.contains("Another file"), "{}", busy.body);
    // A form that was made while the file was read has nothing matched that was not seen.
    operations.done.lock().unwrap().clear();
    let early = form.replace("number=3", "number=2");
    let again = browser.post("/settlement/match", &early).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    for words in ["read whole since you looked", "Rp500.000", "name=\"state\" value=\"held\""] {
        assert!(again.body.contains(words), "{words}: {}", again.body);
    }
    assert!(operations.done.lock().unwrap().is_empty());
    // The database went back, and the number is another file's now.
    let old = browser.post("/settlement/match", &form.replace("sha256=ab", "sha256=cd")).await;
    assert!(old.status == StatusCode::BAD_REQUEST && old.body.contains("page is old"), "{}", old.body);
}

#[tokio::test]
async fn a_form_with_a_file_that_is_not_whole_brings_nothing_in() {
    let (operations, browser) = finance();
    for missing in 0..4 {
        let mut fields = usual();
        let (name, _) = fields.remove(missing);
        let answered = browser.post("/settlement/bring", &sent(&fields, "x")).await;
        let expected = if name == "profile" { StatusCode::SEE_OTHER } else { StatusCode::BAD_REQUEST };
        assert_eq!(answered.status, expected, "{name}");
    }
    for (name, value) in
        [("merchant", "stranger"), ("profile", "stranger"), ("reason", "x".repeat(501).as_str())]
    {
        let fields: Vec<_> = usual()
            .into_iter()
            .map(|(other, usual)| (other, if other == name { value } else { usual }))
            .collect();
        let answered = browser.post("/settlement/bring", &sent(&fields, "x")).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{name}");
    }
    let whole = sent(&usual(), "x");
    // A field too large, too many of them, no file at all, and another form than its head says.
    let large = sent(&[("reason", "x".repeat(5_000).as_str())], "x");
    let many = sent(&[("a", "b"); 17], "x");
    for body in [large, many, part("reason", "x") + END, whole.replace("--edge", "--other"), String::new()] {
        let answered = browser.post("/settlement/bring", &body).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{body:.200}");
    }
    operations.done.lock().unwrap().clear();
    // An upload that ends early is none: the reader is told, and never takes a part for the whole.
    let broken_off = whole.trim_end().trim_end_matches("--edge--").to_owned();
    browser.post("/settlement/bring", &broken_off).await;
    let done = operations.done.lock().unwrap().join("\n");
    assert!(done.ends_with(": broken off"), "{done}");
}

#[tokio::test]
async fn a_refused_file_says_why_as_text() {
    let (_, browser) = finance();
    let answered = browser.post("/settlement/bring", &sent(&usual(), "%PDF-1.7")).await;
    assert_eq!(answered.status, StatusCode::BAD_REQUEST);
    assert!(answered.body.contains("&lt;img") && !answered.body.contains(HOSTILE), "{}", answered.body);
}

#[tokio::test]
async fn only_finance_sends_files_and_others_see_why_not() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Operator]);
    for path in ["/settlement", "/settlement/file?number=2"] {
        let page = browser.get(path).await.body;
        assert!(page.contains("This needs the role finance.") && page.contains("disabled"), "{page}");
    }
    let upload = browser.header("content-type", "multipart/form-data; boundary=edge");
    let refused = upload.post("/settlement/bring", &sent(&usual(), "x")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    // A form with a file is none for any other action.
    let (_, finance) = finance();
    let refused = finance.post("/settlement/close", &sent(&usual(), "x")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(operations.done.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_has_both_sums_and_says_where_they_differ() {
    let (_, browser) = finance();
    let page = browser.get("/settlement/batch?name=B-1").await.body;
    assert!(page.contains("Rp100.000") && page.contains("Rp50.000"), "{page}");
    assert_eq!((page.matches("▲ differs").count(), page.matches("● same").count()), (2, 2), "{page}");
    let empty = Browser::with(FakeOperations::new(World::Empty), &[ConsoleRole::Viewer]);
    for path in
        ["/settlement/batch?name=B-1", "/settlement/batch", "/settlement/file?number=2", "/settlement/file"]
    {
        assert_eq!(empty.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_batch_that_takes_long_to_count_shows_its_breaks_and_asks_to_be_loaded_again() {
    let (_, browser) = finance();
    let page = browser.get("/settlement/batch?name=huge").await;
    assert_eq!((page.status, page.headers["refresh"].as_bytes()), (StatusCode::OK, &b"2"[..]));
    assert!(page.body.contains("being counted") && page.body.contains("missing here"), "{}", page.body);
    assert!(browser.get("/settlement/batch?name=B-1").await.headers.get("refresh").is_none());
}

#[tokio::test]
async fn a_break_is_closed_as_the_one_that_was_looked_at() {
    let (_, browser) = finance();
    let page = browser.get("/settlement").await.body;
    assert!(page.contains(&format!("name=\"of\" value=\"{}\"", open_break().name())), "{page}");
    let browser = browser.header("content-type", "");
    let of = BreakView { at_stake: "50001".to_owned(), ..open_break() }.name();
    let form = format!("number=7&of={of}&reason=x&action={ACTION}");
    let old = browser.post("/settlement/close", &form).await;
    assert!(old.status == StatusCode::BAD_REQUEST && old.body.contains("page is old"), "{}", old.body);
}

#[test]
fn the_runbook_says_what_to_do_about_every_cause() {
    use crate::{domain::settlement::breaks::Cause, http::console::runbook};
    for cause in Cause::ALL {
        let entry = runbook::entry(runbook::SETTLEMENT, cause.name()).join("\n");
        for part in ["It means", "Look at", "Do"] {
            assert!(entry.contains(part), "{cause:?}: {entry}");
        }
    }
}

#[tokio::test]
async fn breaks_are_narrowed_by_cause_and_are_a_file_for_finance() {
    let (_, browser) = finance();
    let page = browser.get("/settlement?cause=missing_here&batch=B-1").await.body;
    assert!(page.contains("option value=\"missing_here\" selected"), "{page}");
    assert!(page.contains("/settlement.csv?cause=missing_here&amp;batch=B-1"), "{page}");
    let other = browser.get("/settlement?cause=fee_mismatch").await.body;
    assert!(other.contains("Everything fits"), "{other}");
    assert_eq!(browser.get("/settlement?cause=lost").await.status, StatusCode::BAD_REQUEST);
    let file = browser.get("/settlement.csv?cause=missing_here").await;
    assert_eq!(file.headers["content-disposition"], "attachment; filename=\"breaks.csv\"");
    assert!(
        file.body.starts_with("\"break\",\"merchant\",\"cause\"") && file.body.lines().count() == 2,
        "{}",
        file.body
    );
}
