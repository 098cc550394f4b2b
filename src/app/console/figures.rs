//! What waits, counted for the overview.

use super::Desk;
use crate::{
    domain::order::OrderState,
    flow::ports::{Figures, FiguresView, StoreError, Waiting},
    postgres::{CountingPace, Gauges},
};
use std::time::Duration;
use tokio::time::Instant;

/// It reads every command since the first that is not settled.
const BALANCE_LASTS: Duration = Duration::from_secs(60);

/// What was counted last.
#[derive(Default)]
pub(super) struct Counted {
    pub tried: Option<Instant>,
    pub view: FiguresView,
    pub balance: Option<(Instant, i64)>,
}

impl Desk {
    pub(super) async fn count(&self, counted: &mut Counted) -> Result<Figures, StoreError> {
        self.reach()?;
        let gauges = self.store.gauges(CountingPace::AtOnce).await?;
        let reviews = self.store.reviews().await?;
        let breaks = self.store.settlement().open_breaks().await?;
        if counted.balance.is_none_or(|(at, _)| at.elapsed() >= BALANCE_LASTS)
            && let Some(balance) = self.store.balance().await?
        {
            counted.balance = Some((Instant::now(), balance));
        }
        let names = self.broker.names();
        let ready = |queue: &str| self.broker.depths().ready(queue).map(u64::from);
        Ok(Figures {
            review: sum(reviews.iter().map(|r| (r.count, Some(r.rupiah), r.oldest_seconds))),
            in_doubt: sum(gauges
                .open_orders
                .iter()
                .map(|o| (o.in_doubt.count, None, o.in_doubt.oldest_seconds))),
            submitting: open(&gauges, OrderState::Submitting),
            awaiting_payment: open(&gauges, OrderState::AwaitingPayment),
            refunding: open(&gauges, OrderState::Refunding),
            sends: sum(gauges.due_sends.iter().map(|due| (due.count, None, due.oldest_seconds))),
            stranded: count(gauges.stranded_orders),
            outbox: sum([(gauges.outbox_events, None, gauges.outbox_oldest_seconds)].into_iter()),
            breaks: sum(breaks.iter().map(|b| (b.count, Some(b.rupiah), b.oldest_seconds))),
            balance: counted.balance.map(|(_, balance)| balance),
            dead: ready(&names.dead_queue),
            unrouted: ready(&names.unrouted_queue),
            queued: ready(&names.payments_queue)
                .zip(ready(&names.refunds_queue))
                .map(|(payments, refunds)| payments + refunds),
        })
    }
}

fn open(gauges: &Gauges, state: OrderState) -> Waiting {
    let orders = gauges.open_orders.iter().filter(|orders| orders.state == state);
    sum(orders.map(|orders| (orders.count, Some(orders.rupiah), orders.oldest_seconds)))
}

fn sum(parts: impl Iterator<Item = (i64, Option<i64>, f64)>) -> Waiting {
    let mut all = Waiting::default();
    for (number, rupiah, oldest_seconds) in parts.filter(|(number, ..)| *number > 0) {
        all.count += count(number);
        all.rupiah = rupiah.map(|rupiah| count(rupiah) + all.rupiah.unwrap_or_default()).or(all.rupiah);
        let oldest = Duration::try_from_secs_f64(oldest_seconds).unwrap_or_default();
        all.oldest = Some(all.oldest.map_or(oldest, |before| before.max(oldest)));
    }
    all
}

pub(super) fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_summed_and_nothing_has_no_age() {
        let parts = [(2, Some(50_000), 10.0), (0, Some(7), 99.0), (1, Some(1_000), 20.5)];
        let oldest = Some(Duration::from_millis(20_500));
        assert_eq!(sum(parts.into_iter()), Waiting { count: 3, rupiah: Some(51_000), oldest });
        assert_eq!(sum([(0, Some(0), 0.0)].into_iter()), Waiting::default());
        let without = sum([(1, None, 1.0)].into_iter());
        assert_eq!((without.count, without.rupiah), (1, None));
    }
}
