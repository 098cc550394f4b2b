//! Commands that do not become attempts: known ones, and those that break a rule. A rejection is stored,
//! so that its identity is known; a conflict with a known identity is only announced.

use super::{
    StoreContext,
    error::{RACES_MAX, TxError, TxResult, unknown_value},
    events,
    moment::Moment,
    rows::{command_kind, storable, storable_trace},
    write_statement::Writes,
};
use crate::{
    domain::{
        Time,
        command::{Command, Outcome, RefundRefusal, Rejection, TraceContext},
        ids::{CommandId, CommandSource, Identity},
        order::OrderState,
        validate::{Code, Violation},
    },
    flow::ports::{Claimed, StoreError},
    metric,
};
use chrono::SecondsFormat;
use sqlx::{FromRow, PgConnection};
use std::sync::Arc;
use uuid::Uuid;

/// The field of what only the order itself can say.
const ORDER: &str = "order.invoice_number";
/// At most this many characters of a rejected command's merchant or invoice number are kept.
const WRITTEN_CHARS_MAX: usize = 255;

/// A command with an identity that was seen before.
#[derive(FromRow)]
pub(super) struct KnownCommand {
    pub key: i64,
    kind: String,
    merchant: String,
    digest: Vec<u8>,
    pub outcome_event: Option<Uuid>,
}

impl KnownCommand {
    /// The same kind, merchant and data.
    pub fn is(&self, command: &Command) -> bool {
        self.kind == command.kind.name()
            && self.merchant == storable(&command.merchant, WRITTEN_CHARS_MAX)
            && self.digest == command.digest
    }
}

/// Stores a rejection, unless its identity is known already.
pub(super) async fn reject(context: &Arc<StoreContext>, rejection: Rejection) -> Result<Claimed, StoreError> {
    let rejection = Arc::new(rejection);
    for _ in 0..RACES_MAX {
        let this = Arc::clone(&rejection);
        match context.transaction(move |c| Box::pin(reject_one(c, this))).await {
            Ok(answer) => {
                context.answered(&rejection.command, &answer);
                return Ok(answer);
            }
            Err(TxError::Raced) => {}
            Err(tx_error @ (TxError::Contended(_) | TxError::Failed(_))) => return Err(tx_error.into()),
        }
    }
    Err(TxError::Raced.into())
}

/// The order in which faults are judged: identity, `merchant_unknown`, `command_expired`, the fields.
async fn reject_one(connection: &mut PgConnection, rejection: Arc<Rejection>) -> TxResult<Claimed> {
    let command = &rejection.command;
    if let Some(known) = find(connection, &command.identity).await? {
        return answer_known(connection, command, &known).await;
    }
    let moment = Moment::read(connection).await?;
    store(connection, command, &ranked(&rejection, &moment), moment.now).await
}

/// An expired command is rejected for that alone, unless its merchant is unknown too.
pub(super) fn ranked(rejection: &Rejection, moment: &Moment) -> Vec<Violation> {
    let merchant_unknown = rejection.violations.iter().any(Violation::leaves_no_merchant);
    match expired(&rejection.command, moment).filter(|_| !merchant_unknown) {
        Some(expired) => vec![expired],
        None => rejection.violations.clone(),
    }
}

pub(super) async fn find(
    connection: &mut PgConnection,
    identity: &Identity,
) -> TxResult<Option<KnownCommand>> {
    let known = sqlx::query_as(
        "SELECT key, kind, merchant, digest, outcome_event FROM commands WHERE source = $1 AND id = $2",
    )
    .bind(identity.source.as_str())
    .bind(identity.id.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(known)
}

/// The same command again: its outcome, if known, is published again. Other data: announced, and nothing stored.
pub(super) async fn answer_known(
    connection: &mut PgConnection,
    command: &Command,
    known: &KnownCommand,
) -> TxResult<Claimed> {
    if known.is(command) {
        if let Some(event_id) = known.outcome_event {
            events::publish_again(connection, event_id).await?;
        }
        return Ok(Claimed::Duplicate);
    }
    let now = Moment::read(connection).await?.now;
    let event = events::rejection_event(command, &[conflict()], now)?;
    Writes { events: vec![event], ..Writes::default() }.write(connection).await?;
    Ok(Claimed::Rejected)
}

pub(super) fn conflict() -> Violation {
    let allowed = "a new id: the command that first had this one has other data";
    Violation::new(Code::IdentityConflict, "id", allowed, None)
}

/// Whether the command had ended when it was first seen.
pub(super) fn expired(command: &Command, moment: &Moment) -> Option<Violation> {
    let now = moment.now;
    let ended_at = command.ends_at(now).filter(|at| *at <= now)?;
    if command.may_have_been_sent(moment.restored_at) {
        return None;
    }
    let (ended_at, seen) = (format_time(ended_at), format_time(now));
    let from_time = command.dated_at.zip(command.budget_from_time).map(|(time, budget)| {
        let (time, seconds) = (format_time(time), budget.as_secs());
        format!("; its time is {time}, and its budget {seconds} s (retry.payment_max_elapsed_ms)")
    });
    let allowed = format!(
        "after the command is first seen: it ended at {ended_at} and was first seen at {seen}{}",
        from_time.unwrap_or_default()
    );
    Some(Violation::new(Code::CommandExpired, "expirytime", &allowed, None))
}

/// How old a command is when it is first seen, where its sender dates it: an upstream's clock that is wrong
/// ends its payments.
pub(super) fn note_age(command: &Command, now: Time) {
    if let Some(published_at) = command.published_at {
        metric::command_age(command.kind, (now - published_at).to_std().unwrap_or_default());
    }
}

fn format_time(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Stores a command that breaks a rule, with its event.
pub(super) async fn store(
    connection: &mut PgConnection,
    command: &Command,
    violations: &[Violation],
    now: Time,
) -> TxResult<Claimed> {
    let event = events::rejection_event(command, violations, now)?;
    let event_id = event.event_id;
    note_age(command, now);
    Writes { events: vec![event], ..Writes::default() }.write(connection).await?;
    let inserted = sqlx::query(
        "INSERT INTO commands (source, id, kind, merchant, digest, invoice_number, traceparent, tracestate,
                               received_at, outcome, settled_at, outcome_event)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $11)
         ON CONFLICT (source, id) DO NOTHING",
    )
    .bind(command.identity.source.as_str())
    .bind(command.identity.id.as_str())
    .bind(command.kind.name())
    .bind(storable(&command.merchant, WRITTEN_CHARS_MAX))
    .bind(command.digest.as_slice())
    .bind(command.invoice_number.as_deref().map(|n| storable(n, WRITTEN_CHARS_MAX)))
    .bind(storable_trace(command.trace.traceparent.as_deref()))
    .bind(storable_trace(command.trace.tracestate.as_deref()))
    .bind(now)
    .bind(Outcome::Rejected.name())
    .bind(event_id)
    .execute(connection)
    .await?;
    if inserted.rows_affected() == 1 { Ok(Claimed::Rejected) } else { Err(TxError::Raced) }
}

/// Rejects a refund that was claimed and never sent. Its order, which is locked, has none then.
pub(super) async fn refuse_claimed(
    connection: &mut PgConnection,
    order_key: i64,
    key: i64,
    refusal: RefundRefusal,
    now: Time,
) -> TxResult<()> {
    let command = claimed(connection, key).await?;
    let event = events::rejection_event(&command, &[refusal_violation(refusal)], now)?;
    let event_id = event.event_id;
    Writes { events: vec![event], ..Writes::default() }.write(connection).await?;
    let updated = sqlx::query(
        "WITH freed AS (UPDATE orders SET refund = NULL WHERE order_key = $1 AND refund = $2)
         UPDATE commands SET outcome = $3, settled_at = $4, outcome_event = $5
         WHERE key = $2 AND outcome IS NULL AND ask_first AND sends = 0",
    )
    .bind(order_key)
    .bind(key)
    .bind(Outcome::Rejected.name())
    .bind(now)
    .bind(event_id)
    .execute(connection)
    .await?;
    match updated.rows_affected() {
        1 => Ok(()),
        rows => Err(StoreError::Refused(format!("the refusal of a refund changed {rows} commands")).into()),
    }
}

async fn claimed(connection: &mut PgConnection, key: i64) -> TxResult<Command> {
    #[derive(FromRow)]
    struct ClaimedRow {
        source: String,
        id: String,
        kind: String,
        merchant: String,
        invoice_number: Option<String>,
        digest: Vec<u8>,
        traceparent: Option<String>,
        tracestate: Option<String>,
        expires_at: Option<Time>,
        published_at: Option<Time>,
    }
    let row: ClaimedRow = sqlx::query_as(
        "SELECT source, id, kind, merchant, invoice_number, digest, traceparent, tracestate, expires_at,
                published_at
         FROM commands WHERE key = $1",
    )
    .bind(key)
    .fetch_one(connection)
    .await?;
    let identity = Identity {
        source: CommandSource::parse(row.source).map_err(|_| unknown_value("source"))?,
        id: CommandId::parse(row.id).map_err(|_| unknown_value("id"))?,
    };
    Ok(Command {
        identity,
        kind: command_kind(&row.kind)?,
        merchant: row.merchant,
        invoice_number: row.invoice_number,
        digest: row.digest.try_into().map_err(|_| unknown_value("digest"))?,
        expires_at: row.expires_at,
        dated_at: None,
        published_at: row.published_at,
        budget_from_time: None,
        came_before: 0,
        trace: TraceContext { traceparent: row.traceparent, tracestate: row.tracestate },
    })
}

/// Why a refund cannot start, as its event says it.
pub(super) fn refusal_violation(refusal: RefundRefusal) -> Violation {
    let is = |state: OrderState| Some(format!("is {}", state.name()));
    let (code, allowed, found) = match refusal {
        RefundRefusal::OrderUnknown => {
            (Code::OrderUnknown, "an order of this merchant; no such order is known", None)
        }
        RefundRefusal::RefundInProgress(state) => {
            let allowed = "an order without another refund that is open or unresolved";
            (Code::RefundInProgress, allowed, is(state))
        }
        RefundRefusal::AlreadyRefunded => {
            (Code::AlreadyRefunded, "an order that is not refunded yet", Some("is refunded".to_owned()))
        }
        RefundRefusal::OrderNotPaid(state) => (Code::OrderNotPaid, "an order that is paid", is(state)),
        RefundRefusal::AmountMismatch { paid, asked } => {
            let allowed = format!("the order's own amount, {paid}: a refund is a full one");
            let found = format!("is {asked}");
            return Violation::new(Code::AmountMismatch, "order.amount", &allowed, Some(&found));
        }
    };
    Violation::new(code, ORDER, allowed, found.as_deref())
}
