//! What runs beside the roles: is the database there, what do the gauges say, may the consumers take.

use super::readiness::Seen;
use crate::{
    config::Environment,
    flow::{
        gate::Sends,
        ports::{Account, StoreError},
        store_state::StoreState,
    },
    metric,
    postgres::PostgresStore,
    rabbit::Consume,
};
use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// Looks at the database until the stop, and says what it sees.
pub async fn watch_database(
    store: PostgresStore,
    environment: Environment,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let mut was_up = None;
    while !stop.is_cancelled() {
        let fault = store.look(environment).await.err().map(|error| match error {
            StoreError::Away(detail) | StoreError::Refused(detail) => detail,
        });
        let is_up = fault.is_none();
        if was_up != Some(is_up) {
            metric::connection_up(metric::Dependency::Postgres, is_up);
            match &fault {
                Some(detail) => tracing::warn!(detail, "waiting for the database"),
                None => tracing::info!("the database is there"),
            }
            if was_up == Some(false) && is_up {
                metric::reconnected(metric::Dependency::Postgres);
            }
            was_up = Some(is_up);
        }
        seen.database(fault);
        let _ = stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
    }
}

/// Keeps the gauges that are counted in the database.
pub async fn refresh_gauges(
    store: PostgresStore,
    accounts: Vec<Account>,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Ok(gauges) = store.gauges(&accounts).await {
            seen.stranded.store(gauges.stranded_orders, Ordering::Relaxed);
            gauges.publish(&accounts);
        }
        let _ = stop.run_until_cancelled(sleep(GAUGES_EVERY)).await;
    }
}

/// The command consumers take what both the gate and the store allow.
pub async fn merge_consume(
    mut sends: watch::Receiver<Sends>,
    mut store: watch::Receiver<StoreState>,
    consume: watch::Sender<Consume>,
) {
    loop {
        let allowed = match (*sends.borrow_and_update(), *store.borrow_and_update()) {
            (Sends::Stopped, _) | (_, StoreState::Away) => Consume::Stopped,
            (Sends::Probe, _) | (_, StoreState::Recovering) => Consume::OneAtATime,
            (Sends::Open, StoreState::Up) => Consume::Normal,
        };
        consume.send_if_modified(|now| std::mem::replace(now, allowed) != allowed);
        let changed = tokio::select! {
            changed = sends.changed() => changed,
            changed = store.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Runs until it ends or the stop comes.
pub async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    let _ = stop.run_until_cancelled(work).await;
}
