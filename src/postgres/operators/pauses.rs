//! Which merchants' sends are paused, since when and why: for every process that may send, and for operators.

use super::actions;
use crate::postgres::{
    PostgresStore,
    error::TxResult,
    pool::PgPool,
    rows::{merchant, storable},
    tx::answered,
    wake::{self, PAUSES},
};
use crate::{
    domain::{
        Time,
        action::{Action, ActionKind, DONE_BY_CHARS_MAX, REASON_CHARS_MAX},
        pause::{Paused, Scope},
    },
    flow::{
        ports::{Mark, StoreError},
        view::PauseView,
    },
};
use sqlx::PgConnection;

/// What an operator wants to stop or to let go on, and why.
#[derive(Debug, Clone)]
pub struct PauseChange {
    pub scope: Scope,
    pub reason: Option<String>,
    pub done_by: Option<String>,
    /// Of a form of the console, which acts once.
    pub mark: Option<Mark>,
}

/// Commands that wait for a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingSends {
    pub count: i64,
    /// When the first of them may not be sent any more.
    pub first_end: Option<Time>,
}

impl PostgresStore {
    /// Which merchants' sends are paused now.
    pub async fn paused(&self) -> Result<Paused, StoreError> {
        let mut paused = Paused::default();
        for pause in pauses(&self.context.pool).await? {
            paused.extend([(scope(&pause.scope)?, pause.since)]);
        }
        Ok(paused)
    }

    /// Pauses sends, in every process. False if they were paused already: then the first reason stays.
    pub async fn pause(&self, change: PauseChange) -> Result<bool, StoreError> {
        self.change(true, change).await
    }

    /// Lets sends go on. False if they were not paused.
    pub async fn resume(&self, change: PauseChange) -> Result<bool, StoreError> {
        self.change(false, change).await
    }

    async fn change(&self, pauses: bool, change: PauseChange) -> Result<bool, StoreError> {
        let is_new = self
            .context
            .transaction(move |c| {
                Box::pin(async move {
                    let mark = change.mark.clone();
                    if let Some(mark) = &mark
                        && actions::is_done(c, mark.action_id).await?
                    {
                        return Ok(false);
                    }
                    let is_new = if pauses { insert(c, &change).await? } else { delete(c, &change).await? };
                    actions::write_marked(c, &action(pauses, change, is_new), mark.as_ref()).await?;
                    Ok(is_new)
                })
            })
            .await?;
        // They look every second too: what is committed must not look as if it were not.
        if let Err(error) = wake::tell(&self.context.pool, PAUSES).await {
            tracing::debug!(%error, "other processes were not notified; they look every second");
        }
        Ok(is_new)
    }

    /// What a pause of this scope makes wait.
    pub async fn waiting_sends(&self, scope: &Scope) -> Result<WaitingSends, StoreError> {
        let (count, first_end) = answered!(&self.context.pool, |c| sqlx::query_as(
            "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
             SELECT count(*), min(sends_end_at) FROM due
             WHERE sends_end_at > (SELECT now FROM clock)
               AND ($1 = '*' OR merchant = $1)",
        )
        .bind(scope.name())
        .fetch_one(c))?;
        Ok(WaitingSends { count, first_end })
    }
}

/// Every pause, the widest first.
pub async fn pauses(pool: &PgPool) -> Result<Vec<PauseView>, StoreError> {
    let rows: Vec<(String, Time, Option<String>, Option<String>)> = answered!(pool, |c| sqlx::query_as(
        "SELECT scope, since, reason, paused_by FROM pauses ORDER BY scope <> '*', scope",
    )
    .fetch_all(c))?;
    let view = |(scope, since, reason, paused_by)| PauseView { scope, since, reason, paused_by };
    Ok(rows.into_iter().map(view).collect())
}

fn scope(name: &str) -> Result<Scope, StoreError> {
    if name == Scope::AllMerchants.name() {
        return Ok(Scope::AllMerchants);
    }
    merchant(name).map(Scope::Merchant)
}

async fn insert(connection: &mut PgConnection, change: &PauseChange) -> TxResult<bool> {
    let done = sqlx::query(
        "INSERT INTO pauses (scope, reason, paused_by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(change.scope.name())
    .bind(change.reason.as_deref().map(|text| storable(text, REASON_CHARS_MAX)))
    .bind(change.done_by.as_deref().map(|name| storable(name, DONE_BY_CHARS_MAX)))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn delete(connection: &mut PgConnection, change: &PauseChange) -> TxResult<bool> {
    let done = sqlx::query("DELETE FROM pauses WHERE scope = $1")
        .bind(change.scope.name())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Also what changed nothing was done.
fn action(pauses: bool, change: PauseChange, is_new: bool) -> Action {
    Action {
        kind: if pauses { ActionKind::Pause } else { ActionKind::Resume },
        subject: change.scope.name().to_owned(),
        merchant: change.scope.merchant().map(ToString::to_string),
        reason: change.reason,
        done_by: change.done_by,
        detail: (!is_new).then(|| "it was so already".to_owned()),
    }
}
