//! Permits, tokens and breakers together, in real but short time.

mod breakers;

use super::*;
use crate::flow::fake::FakeSchedule;

const MS: Duration = Duration::from_millis(1);
const AT_ONCE: Duration = Duration::ZERO;

fn merchant(name: &str) -> MerchantName {
    MerchantName::parse(name).unwrap()
}

fn gate(limits: &GateLimits, merchants: &[&str]) -> Arc<Gate> {
    let gate = Gate::new(limits, merchants.iter().map(|name| merchant(name)));
    gate.set_paused(Paused::default());
    gate
}

/// With tokens of a schedule that nobody else takes from.
fn fed(limits: &GateLimits) -> Arc<Gate> {
    let (gate, per_second) = (gate(limits, &["default"]), limits.requests_per_second);
    let fed = Arc::clone(&gate);
    tokio::spawn(async move { fed.take_blocks(FakeSchedule::default(), per_second).await });
    gate
}

fn limits() -> GateLimits {
    GateLimits {
        prefetch: 16,
        concurrency: 8,
        requests_per_second: 0,
        breaker_failures: 2,
        breaker_open: 60 * MS,
    }
}

async fn send(gate: &Arc<Gate>, name: &str) -> Result<Permit, NoPermit> {
    gate.permit(&merchant(name), AttemptKind::Send, AT_ONCE).await
}

async fn refused(gate: &Arc<Gate>, name: &str) -> NoPermit {
    send(gate, name).await.err().expect("a permit was given")
}

async fn fail(gate: &Arc<Gate>, name: &str, health: DokuHealth, times: u32) {
    for order_key in 0..times {
        send(gate, name).await.unwrap().sent(i64::from(order_key), health);
    }
}

fn is_stopped(gate: &Gate, name: &str) -> bool {
    gate.wanted(&merchant(name), AttemptKind::Send) == 0
}

/// Time half-opens a breaker.
async fn half_open(gate: &Gate, name: &str) {
    while gate.probes_without(&merchant(name)).is_none() {
        tokio::time::sleep(MS).await;
    }
}

#[tokio::test]
async fn a_delivery_does_not_wait_where_others_waited_in_vain() {
    let gate = gate(&GateLimits { concurrency: 1, ..limits() }, &["default", "second"]);
    let _place = send(&gate, "default").await.unwrap();
    let long = Duration::from_secs(60);
    let waits = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.permit(&merchant("default"), AttemptKind::Send, long).await.map(drop) }
    });
    while gate.limiters[&merchant("default")].jammed_since(AttemptKind::Send).is_none() {
        assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
        tokio::time::sleep(MS).await;
    }
    let before = Instant::now();
    let first = gate.first_permit(&merchant("default"), CommandKind::Payment, long).await;
    assert_eq!(first.err(), Some(NoPermit::Busy));
    assert!(before.elapsed() < long / 2);
    assert!(gate.first_permit(&merchant("second"), CommandKind::Payment, AT_ONCE).await.is_ok());
    waits.abort();
}

#[tokio::test]
async fn a_merchant_that_is_not_configured_gets_no_permit() {
    let gate = gate(&limits(), &[]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
}

#[tokio::test]
async fn concurrency_is_limited_and_a_place_comes_back() {
    let gate = gate(&GateLimits { concurrency: 2, ..limits() }, &["default", "second"]);
    let first = send(&gate, "default").await;
    let second = send(&gate, "default").await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
    assert!(send(&gate, "second").await.is_ok(), "places are per merchant");
    drop(first);
    assert!(send(&gate, "default").await.is_ok());
    second.unwrap().sent(1, DokuHealth::Well);
    let both = (send(&gate, "default").await, send(&gate, "default").await);
    assert!(both.0.is_ok() && both.1.is_ok());
}

#[tokio::test]
async fn waiting_for_a_token_ends_with_the_wait_and_holds_no_place() {
    let gate = fed(&GateLimits { concurrency: 3, requests_per_second: 2, ..limits() });
    let first = gate.permit(&merchant("default"), AttemptKind::Send, Duration::from_secs(10)).await;
    first.unwrap().sent(1, DokuHealth::Well);
    for _ in 0..10 {
        assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
    }
    let before = Instant::now();
    let later = gate.permit(&merchant("default"), AttemptKind::Send, Duration::from_secs(10)).await;
    assert!(later.is_ok());
    assert!(before.elapsed() > 300 * MS, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_permit_that_asks_nobody_gives_its_token_back() {
    let gate = gate(&GateLimits { requests_per_second: 1, ..limits() }, &["default"]);
    gate.hold(&merchant("default"), 1);
    drop(send(&gate, "default").await.unwrap());
    send(&gate, "default").await.unwrap().sent(1, DokuHealth::Well);
    assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
}

#[tokio::test]
async fn a_token_is_kept_for_an_inquiry_that_is_due() {
    for due in [false, true] {
        let gate = gate(&GateLimits { requests_per_second: 5, ..limits() }, &["default"]);
        gate.hold(&merchant("default"), 5);
        gate.set_inquiries_due(&merchant("default"), due);
        while let Ok(permit) = send(&gate, "default").await {
            permit.sent(1, DokuHealth::Well);
        }
        let inquiry = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await;
        assert_eq!(inquiry.is_ok(), due);
    }
}

/// Attempts of one kind that get through until the time is over, asking all the time.
async fn count(gate: Arc<Gate>, kind: AttemptKind, until: Instant) -> u32 {
    let mut made = 0;
    while Instant::now() < until {
        if let Ok(mut permit) = gate.permit(&merchant("default"), kind, 20 * MS).await {
            permit.used();
            made += 1;
        }
    }
    made
}

#[tokio::test]
async fn a_flood_of_sends_leaves_one_token_in_five_to_inquiries() {
    let limits = GateLimits { concurrency: 64, requests_per_second: 100, ..limits() };
    let gate = fed(&limits);
    gate.set_inquiries_due(&merchant("default"), true);
    let until = Instant::now() + 1000 * MS;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..16 {
        sends.spawn(count(Arc::clone(&gate), AttemptKind::Send, until));
    }
    let inquiries = count(gate, AttemptKind::Inquiry, until).await;
    let sends: u32 = sends.join_all().await.into_iter().sum();
    // Where a busy machine saves tokens up, whoever comes may take what leaves one; and some expire.
    let all = sends + inquiries;
    assert!(inquiries * 8 >= all && sends * 2 >= all, "{inquiries} inquiries, {sends} sends");
    assert!((20..=125).contains(&all), "{inquiries} inquiries, {sends} sends");
}

#[tokio::test]
async fn a_stopped_send_does_not_wait_for_a_place_first() {
    for (health, times) in [(DokuHealth::Unwell, 2), (DokuHealth::KeyRefused, 1)] {
        let limits = GateLimits { concurrency: 1, breaker_open: 60_000 * MS, ..limits() };
        let gate = gate(&limits, &["default"]);
        fail(&gate, "default", health, times).await;
        let _place = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await.unwrap();
        assert_eq!(refused(&gate, "default").await, NoPermit::Stopped, "{health:?}");
    }
}

#[tokio::test]
async fn a_breaker_is_shown_as_open_until_sends_are_free() {
    crate::metric::install().unwrap();
    let shown = |open: u8, probing: u8| {
        for (metric, value) in [("open", open), ("probing", probing)] {
            let line = format!("jenius_breaker_{metric}{{scope=\"shown\"}} {value}");
            assert!(crate::metric::render().lines().any(|l| l == line), "{line}");
        }
    };
    let gate = gate(&limits(), &["shown"]);
    shown(0, 0);
    fail(&gate, "shown", DokuHealth::KeyRefused, 1).await;
    shown(1, 0);
    half_open(&gate, "shown").await;
    while !crate::metric::render().contains("jenius_breaker_probing{scope=\"shown\"} 1") {
        tokio::time::sleep(MS).await;
    }
    shown(1, 1);
    fail(&gate, "shown", DokuHealth::KeyRefused, 1).await;
    shown(1, 0);
    half_open(&gate, "shown").await;
    fail(&gate, "shown", DokuHealth::Well, 1).await;
    shown(0, 0);
}

/// Else a breaker that opened with the last order of a day would be told of all night.
#[tokio::test]
async fn a_breaker_that_nobody_tries_is_not_told_of_for_ever() {
    crate::metric::install().unwrap();
    let gate = gate(&GateLimits { breaker_open: 20 * MS, ..limits() }, &["idle"]);
    let by = || gate.stop_of(&merchant("idle")).map(|stop| stop.by);
    fail(&gate, "idle", DokuHealth::KeyRefused, 1).await;
    assert_eq!(by(), Some(StopBy::Merchant));
    let shown = |value: u8| {
        let line = format!("jenius_breaker_open{{scope=\"idle\"}} {value}");
        crate::metric::render().lines().any(|l| l == line)
    };
    assert!(shown(1));
    let silent = async {
        while by().is_some() || !shown(0) {
            tokio::time::sleep(MS).await;
        }
    };
    tokio::time::timeout(10_000 * MS, silent).await.expect("it is told of for ever");
    assert_eq!(gate.phases(), Phases { doku: BreakerPhase::Closed, merchants: BTreeMap::new() });
    // One at a time tries still, and tells how it is.
    assert!(gate.probes_without(&merchant("idle")).is_some());
    fail(&gate, "idle", DokuHealth::KeyRefused, 1).await;
    assert_eq!((by(), shown(1)), (Some(StopBy::Merchant), true));
}

fn pause(gate: &Gate, all: bool, merchants: &[&str]) {
    let since = crate::domain::Time::from_timestamp(1_767_225_600, 0).unwrap();
    let merchants = merchants.iter().map(|name| (merchant(name), since)).collect();
    gate.set_paused(Paused { all: all.then_some(since), merchants });
}

#[tokio::test]
async fn no_send_starts_before_it_is_known_what_is_paused_and_none_while_it_is() {
    let gate = Gate::new(&limits(), [merchant("default")]);
    assert_eq!(gate.paused(), None);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    pause(&gate, true, &[]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(
        is_stopped(&gate, "default") && gate.phases().doku == BreakerPhase::Closed,
        "nothing is wrong with DOKU"
    );
    assert!(matches!(
        gate.stop_of(&merchant("default")),
        Some(Stop { by: StopBy::Pause, since: Since::At(_) })
    ));
    assert!(gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await.is_ok());
    pause(&gate, false, &[]);
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn one_merchants_pause_lets_the_others_send() {
    let gate = gate(&limits(), &["default", "second"]);
    pause(&gate, false, &["default", "gone"]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(send(&gate, "second").await.is_ok());
    assert!(is_stopped(&gate, "default") && !is_stopped(&gate, "second"));
}

/// Time half-opens a breaker; it must not open a pause.
#[tokio::test]
async fn a_pause_is_not_probed_open() {
    let gate = gate(&limits(), &["default", "second"]);
    fail(&gate, "default", DokuHealth::KeyRefused, 1).await;
    fail(&gate, "second", DokuHealth::KeyRefused, 1).await;
    pause(&gate, false, &["default"]);
    half_open(&gate, "second").await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    pause(&gate, true, &[]);
    assert_eq!(refused(&gate, "second").await, NoPermit::Stopped);
    pause(&gate, false, &[]);
    send(&gate, "second").await.unwrap().sent(1, DokuHealth::Well);
}

#[tokio::test]
async fn first_sends_of_one_of_several_merchants_leave_deliveries_to_the_others() {
    use CommandKind::{Payment, Refund};
    let limits = GateLimits { prefetch: 8, ..limits() };
    let first =
        async |gate: &Arc<Gate>, name: &str, kind| gate.first_permit(&merchant(name), kind, AT_ONCE).await;
    let alone = gate(&limits, &["default"]);
    let several = gate(&limits, &["default", "second", "third"]);
    let (mut own, mut held) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        own.push(first(&alone, "default", Payment).await.expect("nobody to leave any to"));
    }
    for name in ["default", "default", "default", "default", "second", "second", "third"] {
        held.push(first(&several, name, Payment).await.expect(name));
    }
    for name in ["default", "second"] {
        assert_eq!(first(&several, name, Payment).await.err(), Some(NoPermit::Busy), "{name}");
    }
    assert!(first(&several, "default", Refund).await.is_ok(), "another queue");
    assert!(send(&several, "default").await.is_ok(), "no delivery is held for it");
    held.remove(0).sent(1, DokuHealth::Well);
    assert!(
        first(&several, "second", Payment).await.is_err(),
        "it waited in vain a moment ago, and has its share"
    );
    assert!(first(&several, "third", Payment).await.is_ok());
}
