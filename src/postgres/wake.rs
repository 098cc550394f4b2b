//! Wakes the active relay when it runs in another process. A NOTIFY inside of a transaction takes a lock of
//! the whole database at its commit; this one is sent after commits, on its own, and many commits share it.

use super::{PostgresStore, error::store_error, tx::answered};
use crate::flow::ports::StoreError;
use sqlx::{PgPool, postgres::PgListener};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

const CHANNEL: &str = "jenius_outbox";
/// After a fault; meanwhile a relay looks every second by itself.
const PAUSE: Duration = Duration::from_secs(1);

impl PostgresStore {
    /// Tells other processes of committed events while the active relay is not in this one. Runs for ever.
    pub fn tell_other_relays(
        &self,
        relay_is_here: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move {
            loop {
                inner.tell_others.notified().await;
                if *relay_is_here.borrow() {
                    continue;
                }
                if tell(&inner.pool).await.is_err() {
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Wakes this process's relay when others have committed events. Runs for ever.
    pub fn listen_for_others(&self) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move {
            loop {
                if let Err(error) = listen(&inner.pool, &inner.outbox_changed).await {
                    tracing::debug!(%error, "the relay is not woken by others: it looks every second");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn tell(pool: &PgPool) -> Result<(), StoreError> {
    answered!(pool, |c| sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(c))?;
    Ok(())
}

async fn listen(pool: &PgPool, outbox_changed: &Notify) -> Result<(), StoreError> {
    let mut listener = PgListener::connect_with(pool).await.map_err(|e| store_error(&e))?;
    listener.listen(CHANNEL).await.map_err(|e| store_error(&e))?;
    loop {
        listener.recv().await.map_err(|e| store_error(&e))?;
        outbox_changed.notify_one();
    }
}
