//! Wakes what waits in other processes: the active relay for events, and the processes that send for pauses. A NOTIFY
//! inside of a transaction takes a lock of the whole database at its commit; these are sent after commits,
//! on their own, and many commits share one.

use super::{PostgresStore, error::store_error, pool::PgPool, tx::answered};
use crate::flow::ports::StoreError;
use sqlx::postgres::PgListener;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

pub(super) const OUTBOX: &str = "jenius_outbox";
pub(super) const PAUSES: &str = "jenius_pauses";
/// After a fault; meanwhile those who wait look every second by themselves.
const PAUSE: Duration = Duration::from_secs(1);

impl PostgresStore {
    /// Tells other processes of committed events while the active relay is not in this one. Runs for ever.
    pub fn tell_other_relays(
        &self,
        relay_is_here: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let context = Arc::clone(&self.context);
        async move {
            loop {
                context.notify_relays.notified().await;
                if *relay_is_here.borrow() {
                    continue;
                }
                if tell(&context.pool, OUTBOX).await.is_err() {
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Wakes this process when others have committed what it waits for: pauses, and events where it relays.
    /// On a connection of its own, which the pool need not spare. Runs for ever.
    pub fn listen_for_others(&self, relays: bool) -> impl Future<Output = ()> + Send + use<> {
        let context = Arc::clone(&self.context);
        let outbox = relays.then(|| (OUTBOX, self.outbox_changed()));
        let channels: Vec<_> = outbox.into_iter().chain([(PAUSES, self.pauses_changed())]).collect();
        async move {
            loop {
                if let Err(error) = listen(&context.pool, &channels).await {
                    tracing::debug!(%error, "waiting for notices of other processes failed; every process looks once a second");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

pub(super) async fn tell(pool: &PgPool, channel: &str) -> Result<(), StoreError> {
    answered!(pool, |c| sqlx::query("SELECT pg_notify($1, '')").bind(channel).execute(c))?;
    Ok(())
}

/// On a connection of sqlx's, judged as ours are: its room is made by ours, and it ends when they are made anew.
async fn listen(pool: &PgPool, channels: &[(&str, Arc<Notify>)]) -> Result<(), StoreError> {
    pool.beside(&[]).await?.close().await;
    let sqlx_pool = pool.sqlx_pool();
    let mut listener = PgListener::connect_with(&sqlx_pool).await.map_err(|e| store_error(&e))?;
    listener.eager_reconnect(false);
    let judged = pool.server().judge(&mut listener).await?;
    listener.listen_all(channels.iter().map(|(name, _)| *name)).await.map_err(|e| store_error(&e))?;
    loop {
        let heard = tokio::select! {
            () = judged.outdated() => return Err(StoreError::Away("the connections were made anew".to_owned())),
            heard = listener.try_recv() => heard.map_err(|e| store_error(&e))?,
        };
        // Without one the connection is lost, and what came meanwhile with it.
        let Some(heard) = heard else {
            return Err(StoreError::Away("the listener's connection is lost".to_owned()));
        };
        for (_, changed) in channels.iter().filter(|(name, _)| *name == heard.channel()) {
            changed.notify_one();
        }
    }
}
