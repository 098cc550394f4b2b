//! One attempt: DOKU is asked once, and what it taught us is recorded. First sends, resends and inquiries
//! all come through here.
//!
//! Never: an attempt is made under a claim that may run out while DOKU is asked.

use super::{
    gate::Permit,
    ports::{Claim, ClaimError, Finding, Gateway, Inquiry, Store, StoreError},
    store_outage::StoreRetry,
};
use crate::{
    domain::finding::{
        AttemptKind, DokuHealth, InquiryFinding, InquiryFindingKind, SendFinding, SendFindingKind,
    },
    failpoint::{Failpoint, failpoint},
    metric,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the lease has beyond the time DOKU is given: for the record, and for a clock that runs unevenly.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// With less than this beyond DOKU's time, an attempt is not started any more.
const START_MARGIN: Duration = Duration::from_secs(5);

/// How long a claim holds where DOKU is given `timeout` for its answer.
pub fn lease(timeout: Duration) -> Duration {
    timeout + LEASE_MARGIN
}

/// Who knows of a command when its attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// The attempt is recorded, or due again.
    ByTheStore,
    /// The store has forgotten the claim.
    Nowhere,
    /// The store could not say whether it still knows the claim.
    Unknown,
}

/// Makes attempts.
pub struct Attempts<S, G> {
    pub store: Arc<S>,
    pub gateway: Arc<G>,
    /// How long DOKU is given for an answer: `doku.timeout_ms`.
    pub timeout: Duration,
    /// Nothing new is started after it.
    pub stop: CancellationToken,
}

impl<S: Store, G: Gateway> Attempts<S, G> {
    /// How long a claim holds.
    pub fn lease(&self) -> Duration {
        lease(self.timeout)
    }

    /// Makes the attempt a claim is for.
    pub async fn make(&self, claim: Claim, permit: Permit) -> Kept {
        // 1 A notification may have come before the order was known, and decided it: looked for after the
        //   claim's commit and before every send, the worker's and follow-up's.
        let decided = match claim.kind {
            AttemptKind::Send => self.decided_by_parked(&claim).await,
            AttemptKind::Inquiry => Ok(Some(false)),
        };
        failpoint(Failpoint::AfterParked).await;
        match decided {
            Ok(Some(true)) => Kept::ByTheStore,
            Ok(Some(false)) => self.ask(claim, permit).await,
            Ok(None) => self.release_claim(&claim).await,
            Err(Forgotten) => forgotten(&claim, "nothing was sent"),
        }
    }

    /// `None` if the store could not say.
    async fn decided_by_parked(&self, claim: &Claim) -> Result<Option<bool>, Forgotten> {
        let mut retry = StoreRetry::start();
        loop {
            match self.store.apply_parked(claim).await {
                Ok(decided) => return Ok(Some(decided)),
                Err(ClaimError::Forgotten) => return Err(Forgotten),
                Err(ClaimError::Store(error)) => {
                    // The place at DOKU is held meanwhile: no longer than until it is too late to ask.
                    if !self.may_start(claim) || !retry.wait(&self.stop).await {
                        tracing::error!(
                            %error, order = claim.order_key,
                            "parked notifications could not be read; nothing is sent"
                        );
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn ask(&self, claim: Claim, mut permit: Permit) -> Kept {
        // 2 Is there time enough? Decided here, by the task that sends, before the first byte.
        if !self.may_start(&claim) {
            drop(permit);
            return self.release_claim(&claim).await;
        }
        // 3 Ask DOKU once. If we die from here on, the lease runs out and the command is in doubt.
        failpoint(Failpoint::BeforeAsk).await;
        permit.used();
        let started = Instant::now();
        let finding = match claim.kind {
            AttemptKind::Send => Finding::Send(self.gateway.send(&claim.request).await),
            AttemptKind::Inquiry => {
                let inquiry = Inquiry {
                    merchant: &claim.request.merchant,
                    invoice_number: &claim.request.invoice_number,
                };
                Finding::Inquiry(self.gateway.inquire(inquiry).await)
            }
        };
        let took = started.elapsed();
        match &finding {
            Finding::Send(send) => {
                permit.sent(claim.order_key, send.health);
                log_refused_key(&claim, send);
            }
            Finding::Inquiry(inquiry) => permit.inquired(self.hung(inquiry, took)),
        }
        failpoint(Failpoint::AfterAnswer).await;
        // 4 Record it, with all that follows.
        let kept = self.record(&claim, &finding, started).await;
        failpoint(Failpoint::AfterRecord).await;
        kept
    }

    /// Whether an inquiry held its slot for nothing. One that is refused at once does no harm.
    fn hung(&self, finding: &InquiryFinding, took: Duration) -> bool {
        let failed = match finding.kind {
            InquiryFindingKind::Failed { .. } => true,
            InquiryFindingKind::Reported(_) | InquiryFindingKind::NotFound { .. } => false,
        };
        failed && took >= self.timeout / 2
    }

    fn may_start(&self, claim: &Claim) -> bool {
        let now = Instant::now();
        let lease_holds = claim.lease_ends.saturating_duration_since(now) >= self.timeout + START_MARGIN;
        let send_allowed = claim.kind == AttemptKind::Inquiry || now < claim.sends_end;
        lease_holds && send_allowed && !self.stop.is_cancelled()
    }

    async fn record(&self, claim: &Claim, finding: &Finding, started: Instant) -> Kept {
        let mut retry = StoreRetry::start();
        // The answer is in hand and the process may be stopping: recording it is what stopping waits for.
        let never = CancellationToken::new();
        loop {
            // A record that comes late does not make the attempt a late one.
            match self.store.record(claim, finding, started.elapsed()).await {
                Ok(()) => return Kept::ByTheStore,
                Err(ClaimError::Forgotten) => return forgotten(claim, &describe(finding)),
                Err(ClaimError::Store(error)) => {
                    if !retry.wait(&never).await {
                        return not_recorded(claim, &describe(finding), &error);
                    }
                }
            }
        }
    }

    /// Due again at once; should even that fail, its lease runs out.
    pub async fn release_claim(&self, claim: &Claim) -> Kept {
        match self.store.release_claim(claim).await {
            Ok(()) => Kept::ByTheStore,
            Err(ClaimError::Forgotten) => forgotten(claim, "nothing was sent"),
            Err(ClaimError::Store(error)) => {
                tracing::warn!(%error, order = claim.order_key, "a claim could not be released; its lease runs out");
                Kept::Unknown
            }
        }
    }
}

/// In a few words, for a log line.
fn describe(finding: &Finding) -> String {
    match finding {
        Finding::Send(finding) => match &finding.kind {
            SendFindingKind::Accepted { status } => format!("DOKU took it: {status}"),
            SendFindingKind::Failed { status } => format!("DOKU did not take it: {status}"),
            SendFindingKind::Declined(error) => format!("DOKU declined it: {}", error.code),
            SendFindingKind::NotActed { why } => format!("DOKU did nothing: {why}"),
            SendFindingKind::InDoubt { why } | SendFindingKind::Contradiction { why } => {
                format!("DOKU may have acted: {why}")
            }
        },
        Finding::Inquiry(finding) => match &finding.kind {
            InquiryFindingKind::Reported(report) => format!("DOKU says {}", report.word),
            InquiryFindingKind::NotFound { .. } => "DOKU does not know it".to_owned(),
            InquiryFindingKind::Failed { why } => format!("DOKU gave no answer: {why}"),
        },
    }
}

struct Forgotten;

/// The log holds what is known: without a delivery it is found nowhere else.
fn forgotten(claim: &Claim, result: &str) -> Kept {
    metric::claim_forgotten();
    let request = &claim.request;
    tracing::error!(
        merchant = %request.merchant,
        invoice = %request.invoice_number,
        request_id = %request.request_id,
        attempt = claim.kind.name(),
        result,
        "the database does not know this claim any more: it went back in time, and nothing was written. A command \
         that still has its delivery is claimed anew; run `jenius-pay restored`"
    );
    Kept::Nowhere
}

/// The claim may be in the database or not: the database could not be asked.
fn not_recorded(claim: &Claim, result: &str, error: &StoreError) -> Kept {
    let request = &claim.request;
    tracing::error!(
        %error,
        merchant = %request.merchant,
        invoice = %request.invoice_number,
        request_id = %request.request_id,
        attempt = claim.kind.name(),
        result,
        "an attempt could not be recorded: where its claim is still known, its lease runs out and DOKU is asked \
         again; where it still has its delivery, the broker keeps it"
    );
    Kept::Unknown
}

fn log_refused_key(claim: &Claim, send: &SendFinding) {
    let SendFindingKind::NotActed { why } = &send.kind else { return };
    let (merchant, invoice) = (&claim.request.merchant, &claim.request.invoice_number);
    match send.health {
        DokuHealth::KeyRefused => tracing::error!(
            %merchant,
            %invoice,
            why,
            "DOKU refuses this merchant's key or clock: its sends stop, its commands are kept"
        ),
        DokuHealth::OrderRefused => tracing::error!(
            %merchant,
            %invoice,
            why,
            "this order is refused on the way to DOKU, maybe for its content: it is tried again, later than usual"
        ),
        DokuHealth::Well | DokuHealth::Unwell | DokuHealth::AccountUnwell => {}
    }
}
