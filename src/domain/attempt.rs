//! What one attempt teaches about an order: evidence for the table, doubt that sticks, and when to ask
//! again.
//!
//! Doubt is sticky. A send that may have acted marks its command, and only authority clears the mark: a
//! final answer, or, for a payment, a signed not-found after the grace. Otherwise a timeout that did act,
//! followed by a refused connection, would read as "nothing happened".

use super::{
    Time,
    change::{Attribution, Change, RequestOf},
    event::{EventError, EvidenceSource},
    finding::{
        AttemptClass, AttemptKind, DokuHealth, InquiryFinding, InquiryFindingKind, SendFinding,
        SendFindingKind,
    },
    reconcile::Evidence,
    record::OrderRecord,
    schedule::{AttemptSchedule, InquiryRank, LostAttempt},
};

/// An order that something refuses, maybe for its content, waits as if it had been sent this many times more: a
/// firewall does not change its mind in a second.
const REFUSED_COUNTS_AS: u32 = 5;
/// How an inquiry's detail begins that found another request's end.
pub const ABOUT_ANOTHER: &str = "about another request";
/// This many answers that contradict the request are no accident.
const CONTRADICTIONS_MAX: u32 = 2;

/// The command that the attempt was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOf {
    Payment,
    /// The order's latest refund.
    Refund,
    /// A refund that another has followed: a late worker brings its answer.
    EarlierRefund,
}

/// When an attempt was made, and whether its claim still held when it was recorded. A late worker brings
/// evidence, but schedules nothing and clears no doubt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttemptTime {
    pub started_at: Time,
    pub now: Time,
    pub claim_held: bool,
    /// When the next send may start, where the attempt is an inquiry and one is to follow.
    pub send_at: Option<Time>,
    /// What the inquiry that was due is for.
    pub inquiry: Option<InquiryRank>,
    /// In [0, 1), for the jitter of the next wait.
    pub chance: f64,
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    Accepted,
    Declined,
    NotActed,
    InDoubt,
    /// The lease ran out before anything was recorded.
    Lost,
    /// An inquiry's: DOKU's status word, in lower case.
    Reported(String),
    NotFound,
    InquiryFailed,
}

impl AttemptResult {
    /// As it is stored and shown.
    pub fn name(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::NotActed => "not_acted",
            Self::InDoubt => "in_doubt",
            Self::Lost => "lost",
            Self::Reported(word) => word,
            Self::NotFound => "not_found",
            Self::InquiryFailed => "inquiry_failed",
        }
    }
}

/// One attempt that was made, as it is kept for the person on call.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptMade {
    pub kind: AttemptKind,
    pub class: AttemptClass,
    pub result: AttemptResult,
    pub http_status: Option<u16>,
    /// Why, where the result does not say it. No customer data.
    pub detail: Option<String>,
}

/// One attempt, and what it changes about its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    pub change: Change,
    pub made: AttemptMade,
}

/// What one send changes.
pub fn after_send(
    mut order: OrderRecord,
    of: AttemptOf,
    finding: &SendFinding,
    time: AttemptTime,
    schedule: &AttemptSchedule,
) -> Attempted {
    if let Some(command) = order.command_mut(of) {
        command.last_send_at = command.last_send_at.max(Some(time.started_at));
        if time.claim_held {
            command.sends = command.sends.saturating_add(1);
        }
    }
    let doubted = order.command_mut(of).is_none_or(|c| c.maybe_acted_at.is_some()) || !time.claim_held;
    let attribution = Attribution::by(EvidenceSource::Response);
    match &finding.kind {
        SendFindingKind::Accepted { status } => {
            let change = Change::none(order).taken(of, status, schedule, time.now);
            sent(change, finding, AttemptClass::Answered, AttemptResult::Accepted, None)
        }
        SendFindingKind::Failed { status } => {
            let change = Change::none(order);
            let attribution = attribution.with_status(status);
            let change = match of {
                AttemptOf::Payment => change.bring(Evidence::AnswerFailed, attribution, schedule, time.now),
                AttemptOf::Refund => {
                    change.bring(Evidence::RefundAnswerFailed, attribution, schedule, time.now)
                }
                AttemptOf::EarlierRefund => change,
            };
            sent(change, finding, AttemptClass::Answered, AttemptResult::Declined, None)
        }
        SendFindingKind::Declined(error) if !doubted => {
            let evidence = match of {
                AttemptOf::Payment => Evidence::AnswerDeclined,
                AttemptOf::Refund | AttemptOf::EarlierRefund => Evidence::RefundAnswerDeclined,
            };
            let attribution = attribution.with_error(EventError::from_doku(error, finding.http_status));
            let change = Change::none(order).bring(evidence, attribution, schedule, time.now);
            let detail = format!("{}: {}", error.code, error.message);
            sent(change, finding, AttemptClass::Answered, AttemptResult::Declined, Some(detail))
        }
        SendFindingKind::Declined(error) => {
            let why = format!("{}: {}, but an earlier send may have acted", error.code, error.message);
            in_doubt(order, of, finding, why, time, schedule)
        }
        SendFindingKind::InDoubt { why } => in_doubt(order, of, finding, why.clone(), time, schedule),
        SendFindingKind::Contradiction { why } => contradicted(order, of, finding, why, time, schedule),
        SendFindingKind::NotActed { why } => {
            let as_if = if finding.health == DokuHealth::OrderRefused { REFUSED_COUNTS_AS } else { 0 };
            let change = Change::none(order).again(finding.retry_after, as_if, time, schedule);
            sent(change, finding, AttemptClass::NotActed, AttemptResult::NotActed, Some(why.clone()))
        }
    }
}

fn in_doubt(
    mut order: OrderRecord,
    of: AttemptOf,
    finding: &SendFinding,
    why: String,
    time: AttemptTime,
    schedule: &AttemptSchedule,
) -> Attempted {
    order.doubt(|order| order.command_mut(of), time.started_at, time.now);
    let change = Change::none(order).again(finding.retry_after, 0, time, schedule);
    sent(change, finding, AttemptClass::InDoubt, AttemptResult::InDoubt, Some(why))
}

/// A verified answer that names another invoice or amount: once may be an accident of theirs.
fn contradicted(
    mut order: OrderRecord,
    of: AttemptOf,
    finding: &SendFinding,
    why: &str,
    time: AttemptTime,
    schedule: &AttemptSchedule,
) -> Attempted {
    let times = order.command_mut(of).map_or(0, |command| {
        command.contradictions = command.contradictions.saturating_add(1);
        command.contradictions
    });
    if times < CONTRADICTIONS_MAX {
        return in_doubt(order, of, finding, why.to_owned(), time, schedule);
    }
    let error = EventError::ours("amount_mismatch", why);
    let attribution = Attribution::by(EvidenceSource::Response).with_error(error);
    let change = Change::none(order).bring(Evidence::OtherAmount, attribution, schedule, time.now);
    sent(change, finding, AttemptClass::Answered, AttemptResult::InDoubt, Some(why.to_owned()))
}

/// What one inquiry changes.
pub fn after_inquiry(
    order: OrderRecord,
    finding: &InquiryFinding,
    time: AttemptTime,
    schedule: &AttemptSchedule,
) -> Attempted {
    let (change, class, result, detail) = match &finding.kind {
        InquiryFindingKind::Reported(report) => {
            let before = order.state;
            let change = Change::none(order)
                .with_report(report, EvidenceSource::Check, schedule, time.now)
                .unless_moved(before, report, finding.retry_after, time, schedule);
            let (word, amount) = (&report.word, &report.amount);
            if change.reported == Some(RequestOf::Another) {
                let id = report.request.as_deref().unwrap_or_default();
                let why = format!("{ABOUT_ANOTHER} ({id}), which it calls {word}, {amount}");
                (change, AttemptClass::Failed, AttemptResult::InquiryFailed, Some(why))
            } else {
                let result = AttemptResult::Reported(word.to_ascii_lowercase());
                (change, AttemptClass::Answered, result, Some(amount.to_string()))
            }
        }
        InquiryFindingKind::NotFound { proves } => {
            let change = Change::none(order).not_found(*proves, time, schedule);
            (change, AttemptClass::Answered, AttemptResult::NotFound, None)
        }
        InquiryFindingKind::Failed { why } => {
            let change = Change::none(order).inquiry_failed(finding.retry_after, time, schedule);
            (change, AttemptClass::Failed, AttemptResult::InquiryFailed, Some(why.clone()))
        }
    };
    let http_status = finding.http_status;
    let made = AttemptMade { kind: AttemptKind::Inquiry, class, result, http_status, detail };
    Attempted { change, made }
}

/// An attempt whose lease ran out without a record. A lost send may have acted, as late as the end of
/// its lease, and doubt begins there.
pub fn after_lost(mut order: OrderRecord, lost: &LostAttempt) -> (OrderRecord, AttemptMade) {
    let LostAttempt { kind, started_at, lease_ended_at: lease_end, .. } = *lost;
    let state = order.state;
    if let Some(command) = order.open_command_mut() {
        match kind {
            AttemptKind::Send => {
                command.sends = command.sends.saturating_add(1);
                command.last_send_at = command.last_send_at.max(Some(lease_end));
                order.doubt(OrderRecord::open_command_mut, lease_end, lease_end);
            }
            AttemptKind::Inquiry => {
                command.inquired_at = command.inquired_at.max(Some(started_at));
                if started_at >= command.sends_end_at {
                    command.failed_inquiries = command.failed_inquiries.saturating_add(1);
                }
            }
        }
    }
    if kind == AttemptKind::Inquiry && state.open_command().is_some() {
        order.checks_made = order.checks_made.saturating_add(1);
    }
    let made = AttemptMade {
        kind,
        class: AttemptClass::Lost,
        result: AttemptResult::Lost,
        http_status: None,
        detail: None,
    };
    (order, made)
}

fn sent(
    change: Change,
    finding: &SendFinding,
    class: AttemptClass,
    result: AttemptResult,
    detail: Option<String>,
) -> Attempted {
    let http_status = finding.http_status;
    Attempted { change, made: AttemptMade { kind: AttemptKind::Send, class, result, http_status, detail } }
}
