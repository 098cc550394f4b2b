//! Permits, tokens and breakers together, in real but short time.

use super::*;
use crate::flow::fake::FakeSchedule;

const MS: Duration = Duration::from_millis(1);
const AT_ONCE: Duration = Duration::ZERO;

fn merchant(name: &str) -> MerchantName {
    MerchantName::parse(name).unwrap()
}

fn gate(limits: &Limits, merchants: &[&str]) -> Arc<Gate> {
    let gate = Gate::new(limits, merchants.iter().map(|name| merchant(name)));
    gate.set_paused(Paused::default());
    gate
}

/// With tokens of a schedule that nobody else takes from.
fn fed(limits: &Limits) -> Arc<Gate> {
    let (gate, per_second) = (gate(limits, &["default"]), limits.requests_per_second);
    let fed = Arc::clone(&gate);
    tokio::spawn(async move { fed.take_blocks(FakeSchedule::default(), per_second).await });
    gate
}

fn limits() -> Limits {
    Limits { concurrency: 8, requests_per_second: 0, breaker_failures: 2, breaker_open: 60 * MS }
}

async fn send(gate: &Arc<Gate>, name: &str) -> Result<Permit, NoPermit> {
    gate.permit(&merchant(name), AttemptKind::Send, AT_ONCE).await
}

async fn refused(gate: &Arc<Gate>, name: &str) -> NoPermit {
    send(gate, name).await.err().expect("a permit was given")
}

async fn fail(gate: &Arc<Gate>, name: &str, health: Health, times: u32) {
    for _ in 0..times {
        send(gate, name).await.unwrap().learned(health);
    }
}

#[tokio::test]
async fn a_send_is_stopped_at_once_and_an_inquiry_never() {
    let gate = gate(&limits(), &["default"]);
    fail(&gate, "default", Health::Unwell, 2).await;
    let before = Instant::now();
    let answer = gate.permit(&merchant("default"), AttemptKind::Send, Duration::from_secs(60)).await;
    assert_eq!(answer.err(), Some(NoPermit::Stopped));
    assert!(before.elapsed() < Duration::from_secs(5));
    let inquiry = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await;
    assert!(inquiry.is_ok());
}

#[tokio::test]
async fn an_inquirys_health_neither_opens_nor_closes_a_breaker() {
    let gate = gate(&limits(), &["default"]);
    let inquire = async |health| {
        let permit = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await;
        permit.unwrap().learned(health);
    };
    for health in [Health::Unwell, Health::Unwell, Health::KeyRefused] {
        inquire(health).await;
    }
    assert_eq!(*gate.flow().borrow(), Sends::Open);
    fail(&gate, "default", Health::Unwell, 2).await;
    inquire(Health::Well).await;
    assert_eq!(*gate.flow().borrow(), Sends::Stopped);
}

#[tokio::test]
async fn the_consumers_hear_of_every_phase_without_any_traffic() {
    let gate = gate(&limits(), &["default"]);
    let mut flow = gate.flow();
    assert_eq!(*flow.borrow_and_update(), Sends::Open);
    fail(&gate, "default", Health::Unwell, 2).await;
    flow.changed().await.unwrap();
    assert_eq!(*flow.borrow_and_update(), Sends::Stopped);
    assert!(gate.sends_stopped().all);
    flow.changed().await.unwrap();
    assert_eq!(*flow.borrow_and_update(), Sends::Probe);
    assert!(!gate.sends_stopped().all);
    let probe = send(&gate, "default").await.unwrap();
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(gate.sends_stopped().all);
    probe.learned(Health::Well);
    flow.changed().await.unwrap();
    assert_eq!(*flow.borrow_and_update(), Sends::Open);
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn a_probe_that_fails_stops_sends_again_and_one_that_is_dropped_is_free() {
    let gate = gate(&limits(), &["default"]);
    let mut flow = gate.flow();
    fail(&gate, "default", Health::Unwell, 2).await;
    flow.wait_for(|sends| *sends == Sends::Probe).await.unwrap();
    drop(send(&gate, "default").await);
    assert!(flow.has_changed().unwrap(), "a probe that became free is told");
    send(&gate, "default").await.unwrap().learned(Health::Unwell);
    assert_eq!(*flow.borrow_and_update(), Sends::Stopped);
    flow.changed().await.unwrap();
    assert_eq!(*flow.borrow_and_update(), Sends::Probe);
}

#[tokio::test]
async fn a_refused_key_stops_its_merchant_only() {
    let gate = gate(&limits(), &["default", "second"]);
    fail(&gate, "default", Health::KeyRefused, 1).await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(send(&gate, "second").await.is_ok());
    assert_eq!(*gate.flow().borrow(), Sends::Open);
    assert_eq!(gate.sends_stopped(), Stopped { all: false, merchants: vec![merchant("default")] });
    let mut flow = gate.flow();
    fail(&gate, "second", Health::KeyRefused, 1).await;
    assert_eq!(*flow.borrow_and_update(), Sends::Stopped, "nobody is left");
    flow.wait_for(|sends| *sends == Sends::Probe).await.unwrap();
    fail(&gate, "default", Health::Well, 1).await;
    assert_eq!(*flow.borrow_and_update(), Sends::Open);
}

#[tokio::test]
async fn a_merchant_that_is_not_configured_gets_no_permit() {
    let gate = gate(&limits(), &[]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert_eq!(*gate.flow().borrow(), Sends::Open);
}

#[tokio::test]
async fn concurrency_is_limited_and_a_place_comes_back() {
    let gate = gate(&Limits { concurrency: 2, ..limits() }, &["default", "second"]);
    let first = send(&gate, "default").await;
    let second = send(&gate, "default").await;
    assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
    assert!(send(&gate, "second").await.is_ok(), "places are per merchant");
    drop(first);
    assert!(send(&gate, "default").await.is_ok());
    second.unwrap().learned(Health::Well);
    let both = (send(&gate, "default").await, send(&gate, "default").await);
    assert!(both.0.is_ok() && both.1.is_ok());
}

#[tokio::test]
async fn waiting_for_a_token_ends_with_the_wait_and_holds_no_place() {
    let gate = fed(&Limits { concurrency: 3, requests_per_second: 2, ..limits() });
    let first = gate.permit(&merchant("default"), AttemptKind::Send, Duration::from_secs(10)).await;
    first.unwrap().learned(Health::Well);
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
    let gate = gate(&Limits { requests_per_second: 1, ..limits() }, &["default"]);
    gate.hold(&merchant("default"), 1);
    drop(send(&gate, "default").await.unwrap());
    send(&gate, "default").await.unwrap().learned(Health::Well);
    assert_eq!(refused(&gate, "default").await, NoPermit::Busy);
}

#[tokio::test]
async fn a_token_is_kept_for_an_inquiry_that_is_due() {
    for due in [false, true] {
        let gate = gate(&Limits { requests_per_second: 5, ..limits() }, &["default"]);
        gate.hold(&merchant("default"), 5);
        gate.set_inquiries_due(due);
        while let Ok(permit) = send(&gate, "default").await {
            permit.learned(Health::Well);
        }
        let inquiry = gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await;
        assert_eq!(inquiry.is_ok(), due);
    }
}

/// Attempts of one kind that get through until the time is over, asking all the time.
async fn count(gate: Arc<Gate>, kind: AttemptKind, until: Instant) -> u32 {
    let mut made = 0;
    while Instant::now() < until {
        if let Ok(permit) = gate.permit(&merchant("default"), kind, 20 * MS).await {
            permit.learned(Health::Well);
            made += 1;
        }
    }
    made
}

#[tokio::test]
async fn a_flood_of_sends_leaves_one_token_in_five_to_inquiries() {
    let limits = Limits { concurrency: 64, requests_per_second: 100, ..limits() };
    let gate = fed(&limits);
    gate.set_inquiries_due(true);
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

#[test]
fn all_or_the_merchant_itself_is_stopped() {
    let stops = |all, merchants: &[&str]| {
        let merchants = merchants.iter().map(|name| merchant(name)).collect();
        Stopped { all, merchants }.stops(&merchant("default"))
    };
    assert!(!stops(false, &[]) && !stops(false, &["second"]));
    assert!(stops(true, &[]) && stops(false, &["second", "default"]));
}

#[test]
fn without_a_merchant_nothing_is_stopped() {
    let mut breakers = Breakers::new(&limits(), std::iter::empty());
    breakers.set_paused(Paused::default());
    assert_eq!(breakers.sends(now()), Sends::Open);
}

#[tokio::test]
async fn a_stopped_send_does_not_wait_for_a_place_first() {
    for (health, times) in [(Health::Unwell, 2), (Health::KeyRefused, 1)] {
        let limits = Limits { concurrency: 1, breaker_open: 60_000 * MS, ..limits() };
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
    fail(&gate, "shown", Health::KeyRefused, 1).await;
    shown(1, 0);
    gate.flow().wait_for(|sends| *sends == Sends::Probe).await.unwrap();
    shown(1, 1);
    fail(&gate, "shown", Health::KeyRefused, 1).await;
    shown(1, 0);
    gate.flow().wait_for(|sends| *sends == Sends::Probe).await.unwrap();
    fail(&gate, "shown", Health::Well, 1).await;
    shown(0, 0);
}

fn pause(gate: &Gate, everybody: bool, merchants: &[&str]) {
    let merchants = merchants.iter().map(|name| merchant(name)).collect();
    gate.set_paused(Paused { everybody, merchants });
}

#[tokio::test]
async fn no_send_starts_before_it_is_known_what_is_paused_and_none_while_it_is() {
    let gate = Gate::new(&limits(), [merchant("default")]);
    assert_eq!((*gate.flow().borrow(), gate.paused()), (Sends::Stopped, None));
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    pause(&gate, true, &[]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(gate.sends_stopped().all && gate.phases().doku == Phase::Closed, "nothing is wrong with DOKU");
    assert!(gate.permit(&merchant("default"), AttemptKind::Inquiry, AT_ONCE).await.is_ok());
    let mut flow = gate.flow();
    pause(&gate, true, &[]);
    assert!(!flow.has_changed().unwrap(), "what was known is no news");
    pause(&gate, false, &[]);
    assert_eq!(*flow.borrow_and_update(), Sends::Open);
    assert!(send(&gate, "default").await.is_ok());
}

#[tokio::test]
async fn one_merchants_pause_lets_the_others_send_and_that_of_each_stops_all() {
    let gate = gate(&limits(), &["default", "second"]);
    pause(&gate, false, &["default", "gone"]);
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    assert!(send(&gate, "second").await.is_ok());
    assert_eq!(*gate.flow().borrow(), Sends::Open);
    assert!(gate.sends_stopped().stops(&merchant("default")) && !gate.sends_stopped().all);
    pause(&gate, false, &["default", "second"]);
    assert_eq!(*gate.flow().borrow(), Sends::Stopped);
}

/// Time half-opens a breaker; it must not open a pause.
#[tokio::test]
async fn a_pause_is_not_probed_open() {
    let gate = gate(&limits(), &["default", "second"]);
    fail(&gate, "default", Health::KeyRefused, 1).await;
    fail(&gate, "second", Health::KeyRefused, 1).await;
    pause(&gate, false, &["default"]);
    let mut flow = gate.flow();
    flow.wait_for(|sends| *sends == Sends::Probe).await.unwrap();
    assert_eq!(refused(&gate, "default").await, NoPermit::Stopped);
    pause(&gate, true, &[]);
    assert_eq!(*flow.borrow_and_update(), Sends::Stopped);
    assert_eq!(refused(&gate, "second").await, NoPermit::Stopped);
    pause(&gate, false, &[]);
    assert_eq!(*flow.borrow_and_update(), Sends::Probe);
    send(&gate, "second").await.unwrap().learned(Health::Well);
}
