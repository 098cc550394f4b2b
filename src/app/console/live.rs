//! Events as they pass, for all viewers of this process: one queue at the broker, which begins with the first viewer and goes
//! with the last.

use crate::{
    flow::ports::{LiveEvents, LiveLine, LiveRefusal},
    rabbit::{Broker, Watch},
};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, broadcast},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

const STREAMS_MAX: usize = 64;
/// Of one person: one alone cannot take the places of all others.
const STREAMS_EACH: usize = 4;
/// What a viewer has not read by then is counted, and not shown.
const LINES_WAITING_MAX: usize = 200;
/// A person reads no more.
const LINES_EACH_SECOND: u32 = 50;
const START_MAX: Duration = Duration::from_secs(8);
/// How often it looks whether any viewer is left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct LiveDesk {
    broker: Broker,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    /// By the viewer's name.
    own_places: Mutex<HashMap<String, Arc<Semaphore>>>,
    lines: Arc<Mutex<Option<broadcast::Sender<LiveLine>>>>,
}

impl LiveDesk {
    pub fn new(broker: Broker, stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { broker, stop, places, own_places: Mutex::default(), lines: Arc::default() }
    }

    /// A place for a viewer, unless every one is taken, or this viewer has enough.
    async fn places(&self, viewer: &str) -> Result<[OwnedSemaphorePermit; 2], LiveRefusal> {
        let mut own = self.own_places.lock().await;
        own.retain(|_, places| places.available_permits() < STREAMS_EACH);
        let of_viewer =
            own.entry(viewer.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(STREAMS_EACH)));
        let taken = [of_viewer, &self.places].map(|places| Arc::clone(places).try_acquire_owned());
        let [Ok(one), Ok(other)] = taken else { return Err(LiveRefusal::Full) };
        Ok([one, other])
    }

    pub async fn join(&self, viewer: &str) -> Result<LiveEvents, LiveRefusal> {
        let places = self.places(viewer).await?;
        let mut lines = self.lines.lock().await;
        let receiver = match &*lines {
            Some(sender) => sender.subscribe(),
            None => {
                let started = timeout(START_MAX, Watch::for_console(&self.broker)).await;
                let watch = started
                    .map_err(|_| LiveRefusal::Away("it did not answer in time".to_owned()))?
                    .map_err(|error| LiveRefusal::Away(error.to_string()))?;
                let (sender, receiver) = broadcast::channel(LINES_WAITING_MAX);
                *lines = Some(sender.clone());
                tokio::spawn(pass_on(watch, sender, Arc::clone(&self.lines), self.stop.clone()));
                receiver
            }
        };
        Ok(LiveEvents { lines: receiver, stop: self.stop.clone(), places })
    }
}

/// Until no viewer is left, the broker ends it, or the process stops. Viewers see the end, and come again.
async fn pass_on(
    mut watch: Watch,
    sender: broadcast::Sender<LiveLine>,
    lines: Arc<Mutex<Option<broadcast::Sender<LiveLine>>>>,
    stop: CancellationToken,
) {
    let mut pace = LivePace::new(Instant::now());
    while let Some(next) = stop.run_until_cancelled(timeout(LOOK_EVERY, watch.next())).await {
        match next {
            Ok(Ok(body)) => {
                if let Some(line) = pace.takes(Instant::now()).then(|| line(&body)).flatten() {
                    let _ = sender.send(line);
                }
            }
            Ok(Err(_)) => break,
            Err(_) => {}
        }
        if let Some(more) = pace.untold(Instant::now()) {
            let _ = sender.send(json!({"more": more}).to_string().into());
        }
        let mut shared = lines.lock().await;
        if sender.receiver_count() == 0 {
            *shared = None;
            drop(shared);
            watch.close().await;
            return;
        }
    }
    // No other begins while this one is known.
    *lines.lock().await = None;
    watch.close().await;
}

/// What a row of the page shows. `None`: others may publish to the exchange too.
fn line(body: &[u8]) -> Option<LiveLine> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let kind = event["type"].as_str()?.strip_prefix("jenius.")?.strip_suffix(".v1")?;
    let data = &event["data"];
    let line = json!({
        "id": event["id"], "type": kind, "at": event["time"], "invoice": event["subject"],
        "merchant": data["merchant"], "amount": data["amount"], "state": data["state"],
    });
    Some(line.to_string().into())
}

/// So many lines a second; those above are counted.
struct LivePace {
    second: Instant,
    lines: u32,
    more: u32,
}

impl LivePace {
    fn new(now: Instant) -> Self {
        Self { second: now, lines: 0, more: 0 }
    }

    fn takes(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        let fits = self.lines < LINES_EACH_SECOND;
        self.lines += u32::from(fits);
        self.more += u32::from(!fits);
        fits
    }

    /// How many were counted and not shown, once the second is over.
    fn untold(&mut self, now: Instant) -> Option<u32> {
        let is_over = now.duration_since(self.second) >= Duration::from_secs(1);
        (is_over && self.more > 0).then(|| std::mem::take(&mut self.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rabbit::TopologyNames;

    #[test]
    fn fifty_lines_a_second_pass_and_the_rest_is_counted() {
        let at = Instant::now();
        let mut pace = LivePace::new(at);
        assert_eq!((0..80).filter(|_| pace.takes(at)).count(), 50);
        assert_eq!(pace.untold(at), None);
        let later = at + Duration::from_secs(1);
        assert_eq!((pace.untold(later), pace.untold(later)), (Some(30), None));
        assert!(pace.takes(later));
    }

    #[tokio::test]
    async fn one_viewer_leaves_places_for_the_others() {
        let url = "amqp://127.0.0.1:1/%2f".to_owned().into();
        let broker = Broker::new(&[url], None, TopologyNames::new("p").unwrap()).unwrap();
        let desk = LiveDesk::new(broker, CancellationToken::new());
        let mut of_sari = Vec::new();
        for _ in 0..STREAMS_EACH {
            of_sari.push(desk.places("sari").await.ok().unwrap());
        }
        assert!(desk.places("sari").await.is_err());
        assert!(desk.places("budi").await.is_ok());
        of_sari.pop();
        assert!(desk.places("sari").await.is_ok());
        drop(of_sari);
        let _of_budi = desk.places("budi").await.ok().unwrap();
        assert_eq!(desk.own_places.lock().await.len(), 1);
    }

    #[test]
    fn a_line_has_what_a_row_shows_and_nothing_of_the_customer() {
        let body = json!({"id": "e-1", "type": "jenius.order.paid.v1", "subject": "INV-1", "time": "2026-01-01T00:00:00Z",
            "data": {"merchant": "default", "amount": "50000", "state": "paid", "customer": "Ratna"}});
        let line = line(body.to_string().as_bytes()).unwrap();
        assert!(line.contains("\"invoice\":\"INV-1\"") && line.contains("\"type\":\"order.paid\""), "{line}");
        assert!(!line.contains("Ratna"), "{line}");
        assert!(super::line(b"{}").is_none() && super::line(b"no JSON").is_none());
    }
}
