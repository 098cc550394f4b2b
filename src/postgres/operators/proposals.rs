//! Decisions about much money: what one person decides is a proposal, until a second person decides the same about the order
//! as it stood then. A proxy or a provider must name both: who types a name may be the other one.

use crate::postgres::{
    PostgresStore, error::TxResult, operators::actions, orders::LoadedOrder, pool::PgPool, rows::storable,
    tx::answered,
};
use crate::{
    domain::{
        Time,
        action::{Action, ActionKind, DONE_BY_CHARS_MAX, REASON_CHARS_MAX},
        console::bare_name,
        money::ReportedAmount,
        order::{ReviewCause, Verdict},
    },
    flow::{
        ports::{Decision, Mark, StoreError},
        view::ProposalView,
    },
};
use sqlx::{FromRow, PgConnection};

/// Who has not agreed by then must look again.
const PROPOSAL_LASTS: &str = "24 hours";

/// Whether a decision may be carried out now.
pub(super) enum Agreement {
    /// One person decides.
    NotNeeded,
    /// This proposal agrees with it.
    Agreed(OpenProposal),
    Missing(Option<OpenProposal>),
}

#[derive(FromRow)]
pub(super) struct OpenProposal {
    state: String,
    checked_doku: bool,
    reason: String,
    proposed_by: String,
    is_verified: bool,
    subject: Option<String>,
    ends_at: Time,
}

impl OpenProposal {
    /// A look at DOKU matters only for a refund that may have been made.
    fn is_about(&self, order: &LoadedOrder, decision: &Decision) -> bool {
        let needs_look = decision.verdict == Verdict::Paid && order.record.refund_is_unresolved();
        self.state == decision.verdict.state().name()
            && (!needs_look || self.checked_doku == decision.checked_doku)
    }

    /// A person may be known by two names to the provider, one after the other, and by one name in two letter cases.
    fn is_of_another(&self, decision: &Decision) -> bool {
        let name = |audited: &str| bare_name(audited).to_lowercase();
        let is_same_subject = self.subject.is_some() && self.subject == decision.second.subject;
        let decider = decision.decided_by.as_deref().map(name);
        !is_same_subject && decider.is_some_and(|decider| name(&self.proposed_by) != decider)
    }

    fn is_agreed_to_by(&self, order: &LoadedOrder, decision: &Decision) -> bool {
        self.is_verified
            && decision.second.is_verified
            && self.is_about(order, decision)
            && self.is_of_another(decision)
    }

    /// The reasons of both.
    pub(super) fn and_reason(&self, reason: &str) -> String {
        format!("{reason} (proposed by {}: {})", self.proposed_by, self.reason)
    }
}

/// Judges it under the order's lock.
pub(super) async fn agreement(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    cause: ReviewCause,
    decision: &Decision,
) -> TxResult<Agreement> {
    let above = limit(connection, decision.second.above).await?;
    let Some(above) = above else { return Ok(Agreement::NotNeeded) };
    if at_stake(connection, order, cause).await?.is_some_and(|rupiah| rupiah <= above) {
        return Ok(Agreement::NotNeeded);
    }
    let open: Option<OpenProposal> = sqlx::query_as(
        "SELECT state, checked_doku, reason, proposed_by, is_verified, subject, ends_at FROM decision_proposals
         WHERE order_key = $1 AND revision = $2 AND ends_at > $3",
    )
    .bind(order.order_key)
    .bind(order.revision)
    .bind(order.now)
    .fetch_optional(connection)
    .await?;
    Ok(match open {
        Some(open) if open.is_agreed_to_by(order, decision) => Agreement::Agreed(open),
        open => Agreement::Missing(open),
    })
}

/// The lower of what is configured here and what the console that started last keeps: most who decide on the command line
/// have no such key.
async fn limit(connection: &mut PgConnection, configured: Option<u64>) -> TxResult<Option<u64>> {
    let kept: Option<Option<i64>> =
        sqlx::query_scalar("SELECT above FROM second_person_rule").fetch_optional(connection).await?;
    let kept = kept.flatten().and_then(|above| u64::try_from(above).ok());
    Ok([configured, kept].into_iter().flatten().min())
}

/// The largest amount that anybody names. `None`: it is not known.
async fn at_stake(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    cause: ReviewCause,
) -> TxResult<Option<u64>> {
    let reported: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT amount FROM notifications WHERE order_key = $1 AND amount IS NOT NULL",
    )
    .bind(order.order_key)
    .fetch_all(&mut *connection)
    .await?;
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT detail FROM attempts
         WHERE command_key IN ($1, $2) AND kind = 'inquiry' AND detail IS NOT NULL",
    )
    .bind(order.payment_key)
    .bind(order.refund_key)
    .fetch_all(connection)
    .await?;
    let reported = reported.iter().map(|amount| ReportedAmount::read(amount));
    let found = found.iter().filter_map(|detail| ReportedAmount::in_detail(detail));
    let ours = order.record.amount;
    let others: Vec<_> = reported.chain(found).filter(|amount| !amount.is(ours)).collect();
    // What DOKU named another amount for may be gone, or cut.
    let may_be_another = matches!(cause, ReviewCause::AmountMismatch | ReviewCause::OtherRequest);
    if may_be_another && others.is_empty() {
        return Ok(None);
    }
    Ok(others.into_iter().try_fold(ours.get(), |most, amount| match amount {
        ReportedAmount::Whole(rupiah) => Some(most.max(rupiah.get())),
        ReportedAmount::Other => None,
    }))
}

/// Keeps a decision as a proposal, in place of what was proposed before. One that counts stays where a person says the same
/// whose name is not verified. Returns until when it may be agreed to.
pub(super) async fn propose(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    open: Option<OpenProposal>,
    decision: &Decision,
    mark: Option<&Mark>,
) -> TxResult<Time> {
    let counts = |open: &OpenProposal| open.is_verified && !decision.second.is_verified;
    if let Some(open) = open.filter(|open| counts(open) && open.is_about(order, decision)) {
        return Ok(open.ends_at);
    }
    let (state, by) = (decision.verdict.state().name(), decision.decided_by.as_deref().unwrap_or("unknown"));
    let ends_at: Time = sqlx::query_scalar(
        "INSERT INTO decision_proposals
             (order_key, revision, state, checked_doku, reason, proposed_by, at, ends_at, is_verified, subject)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7 + $8::interval, $9, $10)
         ON CONFLICT (order_key) DO UPDATE
         SET revision = excluded.revision, state = excluded.state, checked_doku = excluded.checked_doku,
             reason = excluded.reason, proposed_by = excluded.proposed_by, at = excluded.at, ends_at = excluded.ends_at,
             is_verified = excluded.is_verified, subject = excluded.subject
         RETURNING ends_at",
    )
    .bind(order.order_key)
    .bind(order.revision)
    .bind(state)
    .bind(decision.checked_doku)
    .bind(storable(&decision.reason, REASON_CHARS_MAX))
    .bind(storable(by, DONE_BY_CHARS_MAX))
    .bind(order.now)
    .bind(PROPOSAL_LASTS)
    .bind(decision.second.is_verified)
    .bind(decision.second.subject.as_deref())
    .fetch_one(&mut *connection)
    .await?;
    let action = Action {
        kind: ActionKind::ProposeDecision,
        subject: decision.invoice_number.to_string(),
        merchant: Some(decision.merchant.to_string()),
        reason: Some(decision.reason.clone()),
        done_by: decision.decided_by.clone(),
        detail: Some(format!("proposes {state}")),
    };
    actions::write_marked(connection, &action, mark).await?;
    Ok(ends_at)
}

/// After the decision.
pub(super) async fn forget(connection: &mut PgConnection, order_key: i64) -> TxResult<()> {
    sqlx::query("DELETE FROM decision_proposals WHERE order_key = $1")
        .bind(order_key)
        .execute(connection)
        .await?;
    Ok(())
}

impl PostgresStore {
    /// Keeps the limit of a console that knows people, or that it has none, for those who decide without it. Says whether
    /// another was kept before.
    pub async fn keep_second_person_rule(&self, above: Option<u64>) -> Result<bool, StoreError> {
        let above = above.map(|above| i64::try_from(above).unwrap_or(i64::MAX));
        let kept = answered!(self.context.pool, |c| {
            sqlx::query(
                "INSERT INTO second_person_rule AS r (above) VALUES ($1)
                 ON CONFLICT (only_row) DO UPDATE SET above = excluded.above, kept_at = excluded.kept_at
                 WHERE r.above IS DISTINCT FROM excluded.above",
            )
            .bind(above)
            .execute(c)
        })?;
        Ok(kept.rows_affected() > 0)
    }
}

/// What a person proposes about an order, for the second to see.
pub async fn open_proposal(pool: &PgPool, order_key: i64) -> Result<Option<ProposalView>, StoreError> {
    let found: Option<OpenProposal> = answered!(pool, |c| sqlx::query_as(
        "SELECT p.state, p.checked_doku, p.reason, p.proposed_by, p.is_verified, p.subject, p.ends_at
         FROM decision_proposals p JOIN orders o USING (order_key)
         WHERE p.order_key = $1 AND p.revision = o.revision AND p.ends_at > (SELECT jenius_now())",
    )
    .bind(order_key)
    .fetch_optional(c))?;
    let view = |open: OpenProposal| ProposalView {
        state: open.state,
        checked_doku: open.checked_doku,
        reason: open.reason,
        proposed_by: open.proposed_by,
        is_verified: open.is_verified,
        until: open.ends_at,
    };
    Ok(found.map(view))
}
