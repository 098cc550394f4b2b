//! An operator asks Check Status about one order, now: the path of follow-up, without its schedule. The
//! answer is evidence like any other, and goes through the same table.
//!
//! Never: an order is asked about under another account or host than it was made for.

use super::{
    attempt::lease,
    ports::{Claim, ClaimError, Finding, Gateway, Inquiry, OperatorStore, StoreError},
};
use crate::domain::{
    command::StoredRequest,
    finding::{InquiryFinding, InquiryFindingKind},
    ids::{InvoiceNumber, MerchantName},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Why DOKU was not asked, or its answer is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotChecked {
    #[error("merchant {0} has no order {1}")]
    UnknownOrder(MerchantName, InvoiceNumber),
    #[error(
        "the order was made for {client_id} at {base_url}, which is not what is configured for its \
         merchant: it is not asked about elsewhere"
    )]
    Stranded { client_id: String, base_url: String },
    #[error("{0}")]
    Claim(#[from] ClaimError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Asks DOKU once, and records what that taught. `timeout`: how long DOKU is given for its answer.
pub async fn check_order<S: OperatorStore, G: Gateway>(
    store: &S,
    gateway: &G,
    merchant: &MerchantName,
    invoice_number: &InvoiceNumber,
    timeout: Duration,
) -> Result<InquiryFinding, NotChecked> {
    // 1 Take the question on, as follow-up would, or beside what is due.
    let unknown = || NotChecked::UnknownOrder(merchant.clone(), invoice_number.clone());
    let claim = store.inquire_now(merchant, invoice_number, lease(timeout)).await?.ok_or_else(unknown)?;
    if !is_ours(&claim, gateway) {
        store.release_claim(&claim).await?;
        let StoredRequest { client_id, base_url, .. } = Arc::unwrap_or_clone(claim.request);
        return Err(NotChecked::Stranded { client_id, base_url });
    }
    // 2 Ask. If we die from here on, nothing was learned; a lease that was taken runs out.
    let started = Instant::now();
    let finding = gateway.inquire(Inquiry { merchant, invoice_number }).await;
    // 3 Record it, with all that follows.
    store.record(&claim, &Finding::Inquiry(finding.clone()), started.elapsed()).await?;
    Ok(finding)
}

/// DOKU's answer, in a line; it may hold DOKU's own words, as DOKU wrote them.
pub fn words(finding: &InquiryFinding) -> String {
    let http = finding.http_status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    match &finding.kind {
        InquiryFindingKind::Reported(report) => {
            let about =
                report.request.as_deref().map(|id| format!(", about request {id}")).unwrap_or_default();
            format!("{}, {}{about}{http}", report.word, report.amount)
        }
        InquiryFindingKind::NotFound { proves: true } => format!("does not know the order{http}"),
        InquiryFindingKind::NotFound { proves: false } => {
            format!("does not know the order, which proves nothing{http}")
        }
        InquiryFindingKind::Failed { why } => format!("gave no answer: {why}{http}"),
    }
}

fn is_ours(claim: &Claim, gateway: &impl Gateway) -> bool {
    gateway.account(&claim.request.merchant).is_some_and(|account| {
        account.client_id == claim.request.client_id && account.base_url == claim.request.base_url
    })
}

#[cfg(test)]
mod tests;
