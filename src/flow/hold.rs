//! Holding a delivery while the store is away: the same for everybody who works on deliveries.

use super::{disposition::Disposition, patience::Patience, ports::StoreError, store_state::StoreState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What those who work on deliveries see of the store, and tell each other about it.
#[derive(Debug, Clone)]
pub struct Hold {
    /// While it says that the store is away, nothing is taken from the broker.
    pub store_state: watch::Sender<StoreState>,
    /// Nobody waits any more after it.
    pub stop: CancellationToken,
}

impl Hold {
    /// Waits before the store is asked again; after too long the broker keeps the delivery instead.
    pub async fn on(&self, patience: &mut Patience, error: &StoreError) -> Option<Disposition> {
        if matches!(error, StoreError::Away(_)) {
            self.store_state.send_replace(StoreState::Away);
        }
        match error {
            StoreError::Away(_) if patience.wait(&self.stop).await => None,
            StoreError::Away(detail) => {
                tracing::warn!(detail, "the database is away: a delivery goes back to the broker");
                Some(Disposition::Requeue)
            }
            StoreError::Refused(detail) => {
                tracing::error!(detail, "the database refused a delivery's change: a fault of this program");
                Some(Disposition::Requeue)
            }
        }
    }

    /// A change has committed: deliveries may come as fast as configured again.
    pub fn store_is_back(&self) {
        self.store_state.send_if_modified(|state| std::mem::replace(state, StoreState::Up) != StoreState::Up);
    }
}
