//! How many deliveries the first sends of one merchant may hold. All merchants' commands share a consumer's prefetch, and a
//! send that hangs holds its delivery: those of a few merchants would hold every place.
//!
//! A merchant may hold as many as are free: one by itself half of the prefetch. So some are left to the others however
//! many hang, and one by itself is not held back where the prefetch is twice `doku.concurrency`.

use crate::domain::ids::MerchantName;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// For so long after one waited in vain no other one of its merchant waits.
const JAMMED_FOR: Duration = Duration::from_secs(1);

/// The places of one queue's deliveries.
pub struct DeliveryPlaces {
    prefetch: usize,
    merchants: BTreeMap<MerchantName, Arc<MerchantPlaces>>,
    /// Of all merchants.
    held: Mutex<usize>,
    freed: Notify,
}

/// First come, first served: only the first one watches.
#[derive(Default)]
struct MerchantPlaces {
    /// Changed under the lock of all.
    held: AtomicUsize,
    first: tokio::sync::Mutex<()>,
    jammed_until: Mutex<Option<Instant>>,
}

/// One of them, until it is dropped.
pub struct DeliveryPlace {
    places: Arc<DeliveryPlaces>,
    own: Arc<MerchantPlaces>,
}

impl DeliveryPlaces {
    pub fn new<'a>(prefetch: u16, merchants: impl Iterator<Item = &'a MerchantName>) -> Arc<Self> {
        let merchants = merchants.map(|merchant| (merchant.clone(), Arc::default())).collect();
        let (held, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { prefetch: usize::from(prefetch), merchants, held, freed })
    }

    /// Waits for a place, not at all where others of this merchant have just waited in vain.
    pub async fn take(
        self: &Arc<Self>,
        merchant: &MerchantName,
        wait_max: Duration,
    ) -> Option<DeliveryPlace> {
        let own = self.merchants.get(merchant)?;
        let is_jammed = own.jammed_until.lock().is_some_and(|until| Instant::now() < until);
        let place = async {
            let _first = own.first.lock().await;
            loop {
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable();
                match self.free(own) {
                    Some(place) => return place,
                    None => freed.await,
                }
            }
        };
        let taken = timeout(if is_jammed { Duration::ZERO } else { wait_max }, place).await.ok();
        if taken.is_none() && !is_jammed {
            *own.jammed_until.lock() = Some(Instant::now() + JAMMED_FOR);
        }
        taken
    }

    fn free(self: &Arc<Self>, own: &Arc<MerchantPlaces>) -> Option<DeliveryPlace> {
        let mut all = self.held.lock();
        let (held, left) = (own.held.load(Ordering::Relaxed), self.prefetch.saturating_sub(*all));
        if held > 0 && held >= left {
            return None;
        }
        own.held.fetch_add(1, Ordering::Relaxed);
        *all += 1;
        Some(DeliveryPlace { places: Arc::clone(self), own: Arc::clone(own) })
    }
}

impl Drop for DeliveryPlace {
    fn drop(&mut self) {
        let mut all = self.places.held.lock();
        self.own.held.fetch_sub(1, Ordering::Relaxed);
        *all -= 1;
        drop(all);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merchant(name: &str) -> MerchantName {
        MerchantName::parse(name).unwrap()
    }

    async fn all(places: &Arc<DeliveryPlaces>, name: &str) -> Vec<DeliveryPlace> {
        let mut taken = Vec::new();
        while let Some(place) = places.take(&merchant(name), Duration::ZERO).await {
            taken.push(place);
        }
        // None of them waits in vain here.
        *places.merchants[&merchant(name)].jammed_until.lock() = None;
        taken
    }

    #[tokio::test]
    async fn however_many_merchants_hang_another_has_a_place() {
        let names = ["a", "b", "c", "d"].map(merchant);
        for prefetch in [1, 2, 3, 16, 256, 1024] {
            let places = DeliveryPlaces::new(prefetch, names.iter());
            let one = all(&places, "a").await;
            assert_eq!(one.len(), usize::from(prefetch).div_ceil(2), "{prefetch}");
            let mut held = vec![one];
            for name in ["b", "c", "d"] {
                held.push(all(&places, name).await);
                let is_left = held.iter().map(Vec::len).sum::<usize>() < usize::from(prefetch);
                assert!(!held.last().unwrap().is_empty(), "{name} of {prefetch}");
                assert!(is_left || prefetch < 16, "{prefetch}: all are held after {name}");
            }
        }
    }

    #[tokio::test]
    async fn a_place_is_waited_for_unless_that_was_just_in_vain() {
        const LONG: Duration = Duration::from_secs(60);
        let (a, b) = (merchant("a"), merchant("b"));
        let places = DeliveryPlaces::new(4, [&a, &b].into_iter());
        let mut held = all(&places, "a").await;
        let waits = places.take(&a, LONG);
        let frees = async { drop(held.pop()) };
        let (taken, ()) = tokio::join!(waits, frees);
        assert!(taken.is_some());
        assert!(places.take(&a, Duration::from_millis(10)).await.is_none());
        let begun = Instant::now();
        assert!(places.take(&a, LONG).await.is_none() && begun.elapsed() < LONG / 2, "it waited");
        assert!(places.take(&b, LONG).await.is_some(), "another merchant's own");
        drop(taken);
        assert!(places.take(&a, LONG).await.is_some());
    }
}
