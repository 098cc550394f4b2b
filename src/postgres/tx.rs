//! One transaction, in a task of its own: a caller that is dropped, or gives up, changes nothing about it.
//!
//! sqlx 0.9 can leave a transaction open in the pool when the future that began it is dropped. Here it
//! is dropped only at `TX_MAX`, and then the connection is closed instead of going back.

use super::{
    StoreContext,
    error::{self, TxError, TxResult},
    pool::{PgPool, Pooled},
};
use crate::flow::ports::StoreError;
use sqlx::{Connection, PgConnection};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::time::timeout;

/// No transaction of ours takes longer unless the network swallows its packets: the server's own
/// timeouts (`pool`) end it before that.
const TX_MAX: Duration = Duration::from_secs(20);

/// What is left when neither the server's timeouts nor the network end a wait.
const NOT_ANSWERED: &str = "a commit was not answered within 20 s: the server hangs, or it waits for a synchronous standby \
                            that is not there";

/// The same for one statement by itself.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(15);

/// Asks one statement on a connection of the pool. One that is not answered in time is closed: a host that
/// vanished would hold it, and its caller, for a quarter of an hour.
macro_rules! answered {
    ($pool:expr, |$connection:ident| $statement:expr) => {{
        // In a box, since it takes 14 KiB, which its caller would hold as long as it lives.
        let mut acquired = Box::pin($pool.acquire()).await?;
        let answer = {
            let $connection = &mut *acquired;
            tokio::time::timeout($crate::postgres::tx::STATEMENT_MAX, $statement).await
        };
        $crate::postgres::tx::end_statement(acquired, answer)
    }};
}
pub(super) use answered;

/// What is done inside of a transaction. An error rolls it back.
pub(super) type TxWork<'c, T> = Pin<Box<dyn Future<Output = TxResult<T>> + Send + 'c>>;

impl StoreContext {
    /// Runs `work` in one transaction. After `StoreError::Away` it may have been committed or not.
    pub(super) async fn transaction<T, F>(self: &Arc<Self>, work: F) -> TxResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> TxWork<'c, T> + Send + 'static,
    {
        self.statement(|connection| Box::pin(begin_to_commit(connection, work))).await
    }

    /// The same where `work` asks one statement, which is a transaction by itself: two round trips less.
    pub(super) async fn statement<T, F>(self: &Arc<Self>, work: F) -> TxResult<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> TxWork<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        let task = tokio::spawn(async move { on_a_connection(&pool, work).await });
        match task.await {
            Ok(done) => done,
            // It is the caller's panic: its task knows what to do about it.
            Err(died) if died.is_panic() => std::panic::resume_unwind(died.into_panic()),
            Err(died) => Err(StoreError::Away(format!("a transaction's task was dropped: {died}")).into()),
        }
    }
}

/// What the end of one statement means for its connection.
pub(super) fn end_statement<T>(
    connection: Pooled,
    answer: Result<sqlx::Result<T>, tokio::time::error::Elapsed>,
) -> Result<T, StoreError> {
    match answer {
        // Another primary was found meanwhile: what an old one took or answered may be true no more.
        Ok(Ok(_)) if !connection.is_current() => Err(primary_changed()),
        Ok(Ok(answer)) => {
            connection.release();
            Ok(answer)
        }
        Ok(Err(refusal)) => {
            if error::is_loss(&refusal) {
                connection.leave_server();
            } else {
                connection.release();
            }
            Err(error::store_error(&refusal))
        }
        Err(_) => {
            connection.leave_server();
            Err(StoreError::Away("a statement was not answered".to_owned()))
        }
    }
}

fn primary_changed() -> StoreError {
    StoreError::Away("the primary changed meanwhile".to_owned())
}

async fn on_a_connection<T, F>(pool: &PgPool, work: F) -> TxResult<T>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> TxWork<'c, T>,
{
    let mut connection = pool.acquire().await?;
    match timeout(TX_MAX, work(&mut connection)).await {
        // Another primary was found meanwhile: what an old one has committed may be lost.
        Ok(Ok(_)) if !connection.is_current() => Err(primary_changed().into()),
        Ok(done) => {
            match &done {
                Err(TxError::Failed(StoreError::Away(_))) => connection.leave_server(),
                Ok(_) | Err(TxError::Raced | TxError::Contended(_) | TxError::Failed(_)) => {
                    connection.release()
                }
            }
            done
        }
        Err(_) => {
            connection.leave_server();
            Err(TxError::Failed(StoreError::Away(NOT_ANSWERED.to_owned())))
        }
    }
}

async fn begin_to_commit<T, F>(connection: &mut PgConnection, work: F) -> TxResult<T>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> TxWork<'c, T>,
{
    let mut tx = connection.begin().await?;
    match work(&mut tx).await {
        Ok(done) => {
            tx.commit().await?;
            Ok(done)
        }
        Err(tx_error) => {
            tx.rollback().await?;
            Err(tx_error)
        }
    }
}
