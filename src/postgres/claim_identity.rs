//! Whether the database still knows a claim that a process holds. A database that went back in time hands out the same
//! keys again, and another command may stand under them: then nothing is written.
//!
//! Two comparisons, everywhere. *Which command*: merchant, kind, Request-Id and the claim's birth; if they differ,
//! or nothing stands there, the claim is forgotten. *Who schedules*: the token of the attempt; if only that
//! differs, another has taken the order over, and the answer still is evidence.

use super::{StoreContext, error::TxResult, tx::answered};
use crate::{
    domain::{
        command::CommandKind,
        ids::{MerchantName, RequestId},
    },
    flow::ports::{Claim, StoreError},
};
use sqlx::PgConnection;
use uuid::Uuid;

/// What a claim says about itself.
#[derive(Debug, Clone)]
pub(super) struct ClaimIdentity {
    pub order_key: i64,
    pub command_key: i64,
    pub kind: CommandKind,
    pub merchant: MerchantName,
    pub request_id: RequestId,
    pub birth: Uuid,
}

/// The command, and its order beside it.
macro_rules! is_known {
    () => {
        "EXISTS (SELECT FROM commands c
                 WHERE c.key = $1 AND c.merchant = $3 AND c.kind = $4 AND c.request_id = $5 AND c.birth = $6
                   AND EXISTS (SELECT FROM orders o
                               WHERE o.order_key = $2 AND o.merchant = c.merchant
                                 AND o.invoice_number = c.invoice_number OFFSET 0))"
    };
}

impl ClaimIdentity {
    pub fn from_claim(claim: &Claim) -> Self {
        Self {
            order_key: claim.order_key,
            command_key: claim.command_key,
            kind: claim.request.kind,
            merchant: claim.request.merchant.clone(),
            request_id: claim.request.request_id.clone(),
            birth: claim.birth,
        }
    }

    /// Whether its command is still there. What is committed once stays, so no lock is needed to say so.
    pub async fn is_known(&self, connection: &mut PgConnection) -> TxResult<bool> {
        let known = sqlx::query_scalar(concat!("SELECT ", is_known!()))
            .bind(self.command_key)
            .bind(self.order_key)
            .bind(self.merchant.as_str())
            .bind(self.kind.name())
            .bind(self.request_id.as_str())
            .bind(self.birth)
            .fetch_one(connection)
            .await?;
        Ok(known)
    }

    /// Whether its command is still there, and whether the attempt with this token is the one under way.
    pub async fn is_known_and_holds(
        &self,
        context: &StoreContext,
        token: Uuid,
    ) -> Result<(bool, bool), StoreError> {
        answered!(context.pool, |c| sqlx::query_as(concat!(
            "SELECT ",
            is_known!(),
            ", EXISTS (SELECT FROM due WHERE order_key = $2 AND token = $7)"
        ))
        .bind(self.command_key)
        .bind(self.order_key)
        .bind(self.merchant.as_str())
        .bind(self.kind.name())
        .bind(self.request_id.as_str())
        .bind(self.birth)
        .bind(token)
        .fetch_one(c))
    }
}
