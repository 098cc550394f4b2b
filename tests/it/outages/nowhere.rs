//! DOKU's name does not resolve. A request goes only to the host it was made for, so mending the configuration
//! does not send it elsewhere: it is abandoned, since DOKU did nothing by our records and cannot be asked, and
//! upstream is told.

use super::{scene, story};
use crate::harness::{child::Service, eventually, payment, vitals};
use std::time::{Duration, Instant};

pub const NAME: &str = "DOKU's name does not resolve";
const COMMANDS: usize = 4;
/// A payment's sends end so long after its claim, unless configured otherwise; and a little.
const BUDGET: Duration = Duration::from_secs(16 * 60);

pub async fn tell() -> story::Run {
    let mut world = scene::setting().build().await;
    let right = world.settings.insert("DOKU_BASE_URL".to_owned(), "https://doku.invalid".to_owned());
    let mut service = Service::start(&world).await;
    let (start, cpu) = (Instant::now(), vitals::cpu(service.id()));
    let invoices: Vec<String> = (0..COMMANDS).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    let said = eventually("/readyz to name DOKU", async || {
        let (status, ready) = vitals::readyz(&service.admin).await?;
        story::fault_of("doku", status, &ready)
    })
    .await;
    tokio::time::sleep(story::LASTS).await;
    let (away, cpu) = (start.elapsed(), vitals::cpu(service.id()) - cpu);
    let made = vitals::metric(&service.admin, &["jenius_attempts_made_total", "send"]).await;
    let tries: u64 = format!("{made:.0}").parse().unwrap();
    assert!(tries <= 4 * (4 + away.as_secs()), "{tries} tries in {away:?}");
    assert!(cpu < away.mul_f64(story::CPU_SHARE_MAX) + Duration::from_secs(1), "{cpu:?} in {away:?}");
    // Three inquiries fail, at a distance from each other; a command that was taken only now has a budget of its own.
    let mut ahead = Duration::ZERO;
    for invoice in &invoices {
        let abandoned = || {
            !world.events(|e| e.invoice() == Some(invoice) && e.routing_key == "payment.abandoned").is_empty()
        };
        while !abandoned() {
            assert!(ahead < BUDGET * 20, "{invoice}: {:?}", world.told(invoice));
            ahead += BUDGET;
            world.database.jump(ahead).await;
            let _ = tokio::time::timeout(Duration::from_secs(4), async {
                while !abandoned() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }
    assert!(world.sandbox.ledger().requests.is_empty(), "asked somebody else");
    assert!(service.is_running());
    service.signal("-TERM");
    assert_eq!(service.ended(Duration::from_secs(40)).await.code(), Some(0), "{}", service.log());
    // Mended.
    world.settings.insert("DOKU_BASE_URL".to_owned(), right.unwrap_or_else(|| world.sandbox.base_url()));
    let mended = Instant::now();
    let service = Service::start(&world).await;
    let ready_after = mended.elapsed();
    world.paid(&world.invoice()).await;
    let worked_off_after = mended.elapsed();
    drop(service);
    world.end().await;
    let (outage, commands) = (NAME, COMMANDS + 1);
    story::Run {
        outage,
        said,
        away,
        tries,
        cpu,
        ready_after,
        worked_off_after,
        commands,
        lost: 0,
        doubled: 0,
    }
}
