//! What stops sends, whose, and who tries first.

use super::*;

#[tokio::test]
async fn a_send_is_stopped_at_once_and_what_stops_it_stops_no_inquiry() {
    let gate = gate(&limits(), &["default"]);
    fail(&gate, "default", DokuHealth::Unwell, 2).await;
    let before = Instant::now();
    let answer = gate.permit(&merchant("default"), AttemptKind::Send, Duration::from_secs(60)).await;
    assert_eq!(answer.err(), Some(NoPermit::Stopped));
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await.is_ok());
}

#[tokio::test]
async fn inquiries_that_hang_stop_inquiries_and_no_send() {
    let limits = GateLimits { breaker_open: 60_000 * MS, ..limits() };
    let gate = gate(&limits, &["default", "second"]);
    let inquire = async |name| gate.permit(&merchant(name), AttemptKind::Inquiry, AT_ONCE).await;
    for hung in [true, false, true, true] {
        inquire("default").await.unwrap().inquired(hung);
    }
    assert_eq!(inquire("default").await.err(), Some(NoPermit::Stopped));
    assert_eq!(gate.wanted(&merchant("default"), AttemptKind::Inquiry), 0);
    assert!(inquire("second").await.is_ok(), "another merchant's own");
    assert!(!is_stopped(&gate, "default"));
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn an_inquirys_answer_closes_no_breaker_of_sends() {
    let gate = gate(&GateLimits { breaker_open: 60_000 * MS, ..limits() }, &["default"]);
    fail(&gate, "default", DokuHealth::Unwell, 2).await;
    let inquiry = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await;
    inquiry.unwrap().inquired(false);
    assert!(is_stopped(&gate, "default"));
}

#[tokio::test]
async fn a_breaker_lets_one_at_a_time_try_and_closes_by_it() {
    let gate = gate(&limits(), &["default"]);
    fail(&gate, "default", DokuHealth::Unwell, 2).await;
    assert!(is_stopped(&gate, "default"));
    assert_eq!(gate.stop_of(&merchant("default")).map(|stop| stop.by), Some(StopBy::Doku));
    half_open(&gate, "default").await;
    let probe = send(&gate, "default").await.unwrap();
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(is_stopped(&gate, "default"));
    probe.sent(1, DokuHealth::Well);
    assert_eq!(gate.stop_of(&merchant("default")), None);
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn a_probe_that_fails_stops_sends_again_and_one_that_is_dropped_is_free() {
    let gate = gate(&limits(), &["default"]);
    fail(&gate, "default", DokuHealth::Unwell, 2).await;
    half_open(&gate, "default").await;
    drop(send(&gate, "default").await);
    send(&gate, "default").await.unwrap().sent(1, DokuHealth::Unwell);
    assert!(is_stopped(&gate, "default"));
    half_open(&gate, "default").await;
}

#[tokio::test]
async fn a_refused_key_stops_its_merchant_only() {
    let open = || gate(&GateLimits { breaker_open: 60_000 * MS, ..limits() }, &["default", "second"]);
    let busy = open();
    // Its share of DOKU is used up, or its key at DOKU is another: so many times in a row.
    fail(&busy, "default", DokuHealth::AccountUnwell, 2).await;
    assert_eq!(refused(&busy, "default").await, NoPermit::Stopped);
    assert!(send(&busy, "second").await.is_ok());
    let gate = open();
    fail(&gate, "default", DokuHealth::KeyRefused, 1).await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(send(&gate, "second").await.is_ok());
    let by = |name| gate.stop_of(&merchant(name)).map(|stop| stop.by);
    assert_eq!((by("default"), by("second")), (Some(StopBy::Merchant), None));
}

#[tokio::test]
async fn of_several_merchants_the_one_that_opened_dokus_breaker_tries_last() {
    let gate = gate(&limits(), &["default", "second"]);
    fail(&gate, "default", DokuHealth::Unwell, 2).await;
    assert_eq!(refused(&gate, "second").await, NoPermit::Stopped);
    half_open(&gate, "second").await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    send(&gate, "second").await.unwrap().sent(1, DokuHealth::Well);
    assert!(send(&gate, "second").await.is_ok(), "DOKU is well for this one");
    half_open(&gate, "default").await;
    send(&gate, "default").await.unwrap().sent(1, DokuHealth::Unwell);
    assert!(is_stopped(&gate, "default"));
    assert!(send(&gate, "second").await.is_ok(), "what fails for one merchant stops one");
    // Where the others have nothing to send it may try in their place.
    half_open(&gate, "default").await;
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn an_order_that_was_refused_is_no_probe_until_it_was_answered() {
    let gate = gate(&limits(), &["default"]);
    for order_key in [7, 8, 9] {
        send(&gate, "default").await.unwrap().sent(order_key, DokuHealth::OrderRefused);
    }
    assert!(is_stopped(&gate, "default"), "three different orders");
    half_open(&gate, "default").await;
    let default = merchant("default");
    let was_refused = gate.probes_without(&default).unwrap();
    assert_eq!([7, 10].map(was_refused), [true, false]);
    send(&gate, "default").await.unwrap().sent(7, DokuHealth::Well);
    assert!(gate.probes_without(&default).is_none(), "it is closed");
}
