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
        pause::{PauseLift, Paused, Scope},
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
        let is_new = self
            .context
            .transaction(move |c| {
                Box::pin(async move {
                    if is_done(c, &change).await? {
                        return Ok(false);
                    }
                    let is_new = insert(c, &change).await?;
                    record(c, ActionKind::Pause, change, is_new).await?;
                    Ok(is_new)
                })
            })
            .await?;
        self.wake_others().await;
        Ok(is_new)
    }

    /// Lets sends go on.
    /// `seen`: since when the pause holds that is to be lifted, and no other; `None`: the one that stands.
    pub async fn resume(&self, change: PauseChange, seen: Option<Time>) -> Result<PauseLift, StoreError> {
        let lift = self
            .context
            .transaction(move |c| {
                Box::pin(async move {
                    if is_done(c, &change).await? {
                        return Ok(PauseLift::NotPaused);
                    }
                    let lift = delete(c, &change.scope, seen).await?;
                    if lift != PauseLift::Another {
                        record(c, ActionKind::Resume, change, lift == PauseLift::Lifted).await?;
                    }
                    Ok(lift)
                })
            })
            .await?;
        self.wake_others().await;
        Ok(lift)
    }

    async fn wake_others(&self) {
        // They look every second too: what is committed must not look as if it were not.
        if let Err(error) = wake::tell(&self.context.pool, PAUSES).await {
            tracing::debug!(%error, "other processes were not notified; they look every second");
        }
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

async fn delete(c: &mut PgConnection, scope: &Scope, seen: Option<Time>) -> TxResult<PauseLift> {
    let done = sqlx::query("DELETE FROM pauses WHERE scope = $1 AND ($2::timestamptz IS NULL OR since = $2)")
        .bind(scope.name())
        .bind(seen)
        .execute(&mut *c)
        .await?;
    if done.rows_affected() == 1 {
        return Ok(PauseLift::Lifted);
    }
    let another = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pauses WHERE scope = $1)");
    let is_another: bool = another.bind(scope.name()).fetch_one(c).await?;
    Ok(if is_another { PauseLift::Another } else { PauseLift::NotPaused })
}

/// Whether the form acted before.
async fn is_done(c: &mut PgConnection, change: &PauseChange) -> TxResult<bool> {
    match &change.mark {
        Some(mark) => actions::is_done(c, mark.action_id).await,
        None => Ok(false),
    }
}

/// Also what changed nothing was done.
async fn record(c: &mut PgConnection, kind: ActionKind, change: PauseChange, is_new: bool) -> TxResult<()> {
    let mark = change.mark.clone();
    let action = Action {
        kind,
        subject: change.scope.name().to_owned(),
        merchant: change.scope.merchant().map(ToString::to_string),
        reason: change.reason,
        done_by: change.done_by,
        detail: (!is_new).then(|| "it was so already".to_owned()),
    };
    actions::write_marked(c, &action, mark.as_ref()).await
}
