//! Decisions about much money: what one person decides is a proposal, until a second and verified person decides the same
//! about the order as it stood then.

use crate::postgres::{
    error::TxResult, operators::actions, orders::LoadedOrder, pool::PgPool, rows::storable, tx::answered,
};
use crate::{
    domain::{
        Time,
        action::{Action, ActionKind, DONE_BY_CHARS_MAX, REASON_CHARS_MAX},
        console::bare_name,
        order::ReviewCause,
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
    ends_at: Time,
}

impl OpenProposal {
    fn says(&self, decision: &Decision) -> bool {
        self.state == decision.verdict.state().name() && self.checked_doku == decision.checked_doku
    }

    fn is_of_another(&self, decision: &Decision) -> bool {
        let decider = decision.decided_by.as_deref().map(bare_name);
        decider.is_some_and(|decider| bare_name(&self.proposed_by) != decider)
    }

    /// The reasons of both.
    pub(super) fn with(&self, reason: &str) -> String {
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
    let Some(above) = decision.second.above else { return Ok(Agreement::NotNeeded) };
    let reported: Option<i64> = sqlx::query_scalar(
        "SELECT max(split_part(amount, '.', 1)::bigint) FROM notifications
         WHERE order_key = $1 AND amount ~ '^[0-9]{1,12}([.][0-9]+)?$'",
    )
    .bind(order.order_key)
    .fetch_one(&mut *connection)
    .await?;
    // An inquiry may have found another amount: it is not known here how much that is.
    let is_unknown = cause == ReviewCause::AmountMismatch && reported.is_none();
    let reported = reported.and_then(|amount| u64::try_from(amount).ok()).unwrap_or_default();
    if !is_unknown && order.record.amount.get().max(reported) <= above {
        return Ok(Agreement::NotNeeded);
    }
    let open: Option<OpenProposal> = sqlx::query_as(
        "SELECT state, checked_doku, reason, proposed_by, ends_at FROM decision_proposals
         WHERE order_key = $1 AND revision = $2 AND ends_at > $3",
    )
    .bind(order.order_key)
    .bind(order.revision)
    .bind(order.now)
    .fetch_optional(connection)
    .await?;
    Ok(match open {
        Some(open) if decision.second.is_verified && open.says(decision) && open.is_of_another(decision) => {
            Agreement::Agreed(open)
        }
        open => Agreement::Missing(open),
    })
}

/// Keeps a decision as a proposal; another person's that says the same stays. Returns until when it may be agreed to.
pub(super) async fn propose(
    connection: &mut PgConnection,
    order: &LoadedOrder,
    open: Option<OpenProposal>,
    decision: &Decision,
    mark: Option<&Mark>,
) -> TxResult<Time> {
    if let Some(open) = open.filter(|open| open.says(decision) && open.is_of_another(decision)) {
        return Ok(open.ends_at);
    }
    let (state, by) = (decision.verdict.state().name(), decision.decided_by.as_deref().unwrap_or("unknown"));
    let ends_at: Time = sqlx::query_scalar(
        "INSERT INTO decision_proposals (order_key, revision, state, checked_doku, reason, proposed_by, at, ends_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7 + $8::interval)
         ON CONFLICT (order_key) DO UPDATE
         SET revision = excluded.revision, state = excluded.state, checked_doku = excluded.checked_doku,
             reason = excluded.reason, proposed_by = excluded.proposed_by, at = excluded.at, ends_at = excluded.ends_at
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

/// What a person proposes about an order, for the second to see.
pub async fn open_proposal(pool: &PgPool, order_key: i64) -> Result<Option<ProposalView>, StoreError> {
    let found: Option<OpenProposal> = answered!(pool, |c| sqlx::query_as(
        "SELECT p.state, p.checked_doku, p.reason, p.proposed_by, p.ends_at
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
        until: open.ends_at,
    };
    Ok(found.map(view))
}
