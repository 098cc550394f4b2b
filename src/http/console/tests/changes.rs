//! Every change: who, why and once; what cannot be undone is said before; who was slower is told so.

use super::{
    fake::{HOSTILE, World},
    *,
};
use crate::{
    domain::order::{OrderState, ReviewCause},
    flow::ports::{FormEnd, Resolved},
};

const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";

fn decision(more: &str) -> String {
    format!("merchant=default&invoice=INV-1&verdict=paid&reason=seen+at+DOKU&action={ACTION}{more}")
}

fn decider() -> (FakeOperations, Browser) {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Decider]);
    (operations, browser)
}

#[tokio::test]
async fn a_decision_is_said_in_words_before_it_is_made_and_made_by_the_form_that_said_it() {
    let (operations, browser) = decider();
    let question = browser.get("/order/decide?merchant=default&invoice=INV-1").await.body;
    // Both amounts, what the runbook says, and what is possible.
    for words in
        ["Rp50.000", "Rp50.001", "It means", "The customer paid", "No money came", "See what will happen"]
    {
        assert!(question.contains(words), "{words}: {question}");
    }
    let told = browser.post("/order/decide/confirm", &decision("")).await;
    assert_eq!(told.status, StatusCode::OK);
    for words in ["cannot be undone", "order.paid", "takes a refund", "seen at DOKU", "Confirm: it is paid"] {
        assert!(told.body.contains(words), "{words}: {}", told.body);
    }
    assert!(told.body.contains(&format!("name=\"action\" value=\"{ACTION}\"")), "{}", told.body);
    assert!(told.body.contains("name=\"revision\" value=\"1\""), "{}", told.body);
    assert!(operations.done.lock().unwrap().is_empty(), "nothing was decided yet");
    let done = browser.post("/order/decide", &decision("&revision=1")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert_eq!(done.headers["location"], "/order?merchant=default&invoice=INV-1&done=decided");
    let kept = "decide INV-1 paid at 1 by local:budi (unverified), checked false: seen at DOKU";
    assert_eq!(*operations.done.lock().unwrap(), [kept]);
}

#[tokio::test]
async fn who_was_slower_sees_what_the_order_is_and_who_decided() {
    let (operations, browser) = decider();
    let faster = FormEnd::Resolved(Resolved::NotInReview(OrderState::Paid));
    operations.forms.lock().unwrap().push(faster);
    let told = browser.post("/order/decide", &decision("&revision=1")).await;
    assert_eq!(told.status, StatusCode::CONFLICT);
    assert!(told.body.contains("Nothing was changed") && told.body.contains("decided by"), "{}", told.body);
}

#[tokio::test]
async fn an_order_that_was_written_to_meanwhile_is_shown_again_before_anything_is_decided() {
    let (operations, browser) = decider();
    operations.forms.lock().unwrap().push(FormEnd::Resolved(Resolved::Moved));
    let told = browser.post("/order/decide", &decision("&revision=0")).await;
    assert_eq!(told.status, StatusCode::CONFLICT);
    assert!(told.body.contains("Nothing was decided yet: look again"), "{}", told.body);
    assert!(told.body.contains("name=\"revision\" value=\"1\""), "the one that is shown now: {}", told.body);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_shows_what_the_first_did() {
    let (operations, browser) = decider();
    for (was_decided, done) in [(true, "decided"), (false, "proposed")] {
        operations.forms.lock().unwrap().push(FormEnd::Repeated { was_decided });
        let told = browser.post("/order/decide", &decision("&revision=1")).await;
        let to = format!("/order?merchant=default&invoice=INV-1&done={done}");
        assert_eq!((told.status, told.headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, &*to));
    }
}

#[tokio::test]
async fn a_look_at_doku_is_asked_for_wherever_a_refund_is_unresolved() {
    let (operations, browser) = decider();
    let box_of = async || {
        let page = browser.get("/order/decide?merchant=default&invoice=INV-1").await.body;
        assert!(page.contains("amount mismatch"), "{page}");
        page.contains("name=\"checked_doku\"")
    };
    assert!(!box_of().await, "its refund is accepted");
    *operations.refund.lock().unwrap() = "unresolved";
    assert!(box_of().await);
}

#[tokio::test]
async fn a_verdict_that_the_cause_does_not_allow_is_refused() {
    let (operations, browser) = decider();
    let refused = || FormEnd::Resolved(Resolved::NotOfCause(ReviewCause::RefundUnresolved));
    for path in ["/order/decide/confirm", "/order/decide"] {
        operations.forms.lock().unwrap().push(refused());
        let told = browser.post(path, &decision("&revision=1")).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(told.body.contains("does not allow this decision"), "{}", told.body);
    }
}

#[tokio::test]
async fn an_unresolved_refund_is_not_called_paid_by_who_has_not_looked() {
    let (operations, browser) = decider();
    let unresolved = || FormEnd::Resolved(Resolved::RefundUnresolved);
    operations.forms.lock().unwrap().push(unresolved());
    let told = browser.post("/order/decide/confirm", &decision("")).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    assert!(told.body.contains("refunded twice"), "{}", told.body);
    assert_eq!(browser.post("/order/decide", &decision("&revision=1")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_change_is_made_without_a_reason_or_by_half_a_form() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &ConsoleRole::ALL);
    let order = "merchant=default&invoice=INV-1";
    let long = "x".repeat(501);
    for (path, form) in [
        ("/order/ask", format!("{order}&action={ACTION}")),
        ("/order/ask", format!("{order}&reason=+&action={ACTION}")),
        ("/order/ask", format!("{order}&reason={long}&action={ACTION}")),
        ("/order/ask", format!("{order}&reason=x")),
        ("/order/ask", format!("{order}&reason=x&action=1")),
        ("/order/decide", format!("{order}&reason=x&action={ACTION}&verdict=paid")),
        ("/order/decide", format!("{order}&reason=x&action={ACTION}&verdict=lost&revision=1")),
        ("/order/decide", format!("{order}&action={ACTION}&verdict=paid&revision=1")),
        ("/sends/pause", format!("scope=*&action={ACTION}")),
        ("/sends/pause", format!("scope=SHOP&reason=x&action={ACTION}")),
        ("/sends/resume", format!("reason=x&action={ACTION}")),
        ("/sends/resume", format!("scope=*&reason=x&action={ACTION}")),
    ] {
        let answered = browser.post(path, &form).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path} {form}");
    }
    assert!(operations.done.lock().unwrap().is_empty(), "{:?}", operations.done);
}

#[tokio::test]
async fn sends_are_paused_and_go_on_with_who_and_why() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Operator]);
    let page = browser.get("/sends").await.body;
    assert!(page.contains("3 claimed commands wait") && page.contains("Let sends go on"), "{page}");
    assert!(page.contains("Pause sends"), "the shop has no pause of its own: {page}");
    let seen = crate::flow::view::sample::at(0).timestamp_micros();
    assert!(page.contains(&format!("name=\"since\" value=\"{seen}\"")), "{page}");
    for (path, scope) in [("/sends/pause", "shop".to_owned()), ("/sends/resume", format!("*&since={seen}"))] {
        let sent = browser.post(path, &format!("scope={scope}&reason=a+release&action={ACTION}")).await;
        assert_eq!(
            (sent.status, &sent.headers["location"]),
            (StatusCode::SEE_OTHER, &"/sends".parse().unwrap())
        );
    }
    let kept = ["pause shop", "resume *"].map(|what| format!("{what} by local:budi (unverified): a release"));
    assert_eq!(*operations.done.lock().unwrap(), kept);
    // The page is old: the pause that it shows was lifted, and another stands.
    let old = format!("scope=*&since={}&reason=x&action={ACTION}", seen - 1);
    let old = browser.post("/sends/resume", &old).await;
    assert_eq!(old.status, StatusCode::CONFLICT);
    assert!(old.body.contains("Another pause stands") && old.body.contains("Paused"), "{}", old.body);
    assert_eq!(*operations.done.lock().unwrap(), kept);
}

#[tokio::test]
async fn finance_closes_a_break_with_a_reason() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Finance]);
    let page = browser.get("/settlement").await.body;
    assert!(page.contains("Rp50.000") && page.contains("What to do about missing here"), "{page}");
    let of = super::settlement::open_break().name();
    let closed = browser
        .post("/settlement/close", &format!("number=7&of={of}&reason=paid+by+hand&action={ACTION}"))
        .await;
    assert_eq!(
        (closed.status, &closed.headers["location"]),
        (StatusCode::SEE_OTHER, &"/settlement".parse().unwrap())
    );
    assert_eq!(*operations.done.lock().unwrap(), ["close 7 by local:budi (unverified): paid by hand"]);
    let unknown =
        browser.post("/settlement/close", &format!("number=8&of={of}&reason=x&action={ACTION}")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_doku_says_is_shown_as_text() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Operator]);
    let form = format!("merchant=default&invoice=INV-1&reason=ticket+7&action={ACTION}");
    let asked = browser.post("/order/ask", &form).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("DOKU: &lt;img") && !asked.body.contains(HOSTILE), "{}", asked.body);
    assert_eq!(
        *operations.done.lock().unwrap(),
        ["ask INV-1 by local:budi (unverified) from 127.0.0.1: ticket 7"]
    );
}
