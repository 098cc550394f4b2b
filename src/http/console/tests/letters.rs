//! Dead letters and events: a person sees what will happen, and then those and no others are worked on.

use super::{
    fake::{HOSTILE, World},
    *,
};

const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";

fn with(role: ConsoleRole) -> (FakeOperations, Browser) {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[role]);
    (operations, browser)
}

#[tokio::test]
async fn no_page_looks_by_itself_and_a_look_is_kept_with_who_looked() {
    let (operations, browser) = with(ConsoleRole::Operator);
    for path in ["/dead", "/dead/group?look=1767225600000&group=0", "/dead/letter?id=a"] {
        assert_eq!(browser.get(path).await.status, StatusCode::OK, "{path}");
    }
    assert!(operations.done.lock().unwrap().is_empty());
    let looked = browser.post("/dead/look", "").await;
    assert_eq!(
        (looked.status, looked.headers["location"].as_bytes()),
        (StatusCode::SEE_OTHER, &b"/dead"[..])
    );
    assert_eq!(*operations.done.lock().unwrap(), ["look by local:budi (unverified)"]);
    // A page of an older look does not choose among the letters of a newer one.
    assert_eq!(browser.get("/dead/group?look=1&group=0").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/dead/group?look=1767225600000&group=9").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_replay_says_what_it_will_do_and_takes_the_letters_that_were_seen() {
    let (operations, browser) = with(ConsoleRole::Operator);
    let told = browser.post("/dead/replay/confirm", "id=a&id=b").await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    for words in
        ["Confirm: replay 2", "name=\"id\" value=\"a\"", "name=\"id\" value=\"b\"", "What will happen"]
    {
        assert!(told.body.contains(words), "{words}: {}", told.body);
    }
    assert!(operations.done.lock().unwrap().is_empty(), "nothing was replayed yet");
    for bad in
        [format!("id=a&action={ACTION}"), "id=a&reason=x".to_owned(), format!("reason=x&action={ACTION}")]
    {
        assert_eq!(browser.post("/dead/replay", &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let form = format!("id=a&id=b&again=yes&reason=mended&action={ACTION}");
    let begun = browser.post("/dead/replay", &form).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.body);
    assert_eq!(begun.headers["location"].to_str().unwrap(), format!("/work?id={ACTION}"));
    let kept = ["Replay { again: true } a b by local:budi (unverified): mended"];
    assert_eq!(*operations.done.lock().unwrap(), kept);
    let busy = browser.post("/dead/replay", &format!("id=busy&reason=x&action={ACTION}")).await;
    assert_eq!(busy.status, StatusCode::CONFLICT);
    assert!(busy.body.contains("Nothing was done") && !busy.body.contains(HOSTILE), "{}", busy.body);
}

#[tokio::test]
async fn dropping_is_the_deciders_and_says_that_it_is_for_good() {
    let (operations, browser) = with(ConsoleRole::Decider);
    let told = browser.post("/dead/drop/confirm", "id=a").await;
    assert!(told.body.contains("cannot be undone") && told.body.contains("drop 1 for good"), "{}", told.body);
    let dropped = browser.post("/dead/drop", &format!("id=a&reason=spam&action={ACTION}")).await;
    assert_eq!(dropped.status, StatusCode::SEE_OTHER);
    assert_eq!(*operations.done.lock().unwrap(), ["Drop a by local:budi (unverified): spam"]);
}

#[tokio::test]
async fn work_is_followed_without_a_script_until_its_end() {
    let (_, browser) = with(ConsoleRole::Viewer);
    let going = browser.get(&format!("/work?id={ACTION}")).await;
    assert_eq!(going.headers["refresh"], "2");
    assert!(going.body.contains("<progress") && going.body.contains("Done 1 of 300"), "{}", going.body);
    let ended = browser.get("/work?id=00000000-0000-0000-0000-000000000001").await;
    assert!(ended.headers.get("refresh").is_none() && ended.body.contains("The rest was not begun"));
    let unknown = browser.get("/work?id=00000000-0000-0000-0000-000000000000").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn events_of_a_time_are_counted_before_they_are_published_again() {
    let (operations, browser) = with(ConsoleRole::Operator);
    let range = "from=2026-01-01T00:00:00&until=2026-01-01T07:00&type=order.paid";
    let told = browser.post("/events/publish/confirm", range).await;
    assert!(told.body.contains("3 published events, from 2026-01-01 00:00:00 WIB"), "{}", told.body);
    assert!(operations.done.lock().unwrap().is_empty());
    let done = browser.post("/events/publish", &format!("{range}&reason=lost&action={ACTION}")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    let kept = "publish Some(\"order.paid\") from 2025-12-31 17:00:00 UTC by local:budi (unverified): lost";
    assert_eq!(*operations.done.lock().unwrap(), [kept]);
    for bad in ["from=2026-01-02T00:00&until=2026-01-01T00:00", "from=x&until=y", ""] {
        assert_eq!(
            browser.post("/events/publish/confirm", bad).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn what_passes_is_a_stream_of_lines_and_a_full_or_lost_one_says_so() {
    let (operations, browser) = with(ConsoleRole::Viewer);
    let stream = browser.get("/live/stream").await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    assert_eq!(stream.body, format!("retry: 5000\n\ndata: {{\"invoice\":\"{HOSTILE}\"}}\n\n"));
    *operations.world.lock().unwrap() = World::Empty;
    assert_eq!(browser.get("/live/stream").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
