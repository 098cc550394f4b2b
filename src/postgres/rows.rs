//! Rows as they are stored, and what they mean. Reading back what no version wrote is an error, never a
//! default.

use super::error::unknown_value;
use crate::{
    domain::{
        Time,
        command::{CommandKind, CommandRef, Outcome, TraceContext},
        event::EvidenceSource,
        finding::AttemptKind,
        ids::{CommandId, CommandSource, Identity, InvoiceNumber, MerchantName, RequestId},
        money::Rupiah,
        order::OrderState,
        record::{Announced, OrderRecord, Origin, Progress},
        schedule::{Due, DueInquiry, DueSend, InquiryRank, SendRank},
    },
    flow::ports::StoreError,
};
use sqlx::FromRow;
use uuid::Uuid;

const TRACE_CHARS_MAX: usize = 512;

/// Reads a view straight from a row: its columns have the names of the view's fields.
macro_rules! read_straight {
    ($view:ty { $($field:ident),+ $(,)? }) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $view {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}

pub(super) use read_straight;

#[derive(FromRow)]
pub(super) struct OrderRow {
    pub order_key: i64,
    pub merchant: String,
    pub invoice_number: String,
    pub amount: i64,
    pub state: String,
    pub review_cause: Option<String>,
    pub state_since: Time,
    pub version: i32,
    pub revision: i64,
    pub announced_paid: bool,
    pub announced_failed: bool,
    pub announced_expired: bool,
    pub announced_refunded: bool,
    pub doku_status: Option<String>,
    pub evidence: Option<String>,
    pub checks_made: i32,
    pub payment: i64,
    pub refund: Option<i64>,
}

impl OrderRow {
    /// The order, with its commands' progress beside it.
    pub fn record(
        &self,
        origin: Origin,
        payment: Progress,
        refund: Option<Progress>,
        earlier_refunds: Vec<RequestId>,
    ) -> Result<OrderRecord, StoreError> {
        Ok(OrderRecord {
            merchant: merchant(&self.merchant)?,
            invoice_number: invoice_number(&self.invoice_number)?,
            amount: rupiah(self.amount)?,
            state: OrderState::from_names(&self.state, self.review_cause.as_deref())
                .ok_or_else(|| unknown_value("state"))?,
            state_since: self.state_since,
            version: count(self.version)?,
            announced: Announced {
                paid: self.announced_paid,
                failed: self.announced_failed,
                expired: self.announced_expired,
                refunded: self.announced_refunded,
            },
            doku_status: self.doku_status.clone(),
            evidence: self.evidence.as_deref().map(evidence).transpose()?,
            checks_made: count(self.checks_made)?,
            origin,
            payment,
            refund,
            earlier_refunds,
        })
    }
}

#[derive(FromRow)]
pub(super) struct ProgressRow {
    pub key: i64,
    pub source: String,
    pub id: String,
    pub kind: String,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub request_id: String,
    pub claimed_at: Time,
    pub sends_end_at: Time,
    pub sends: i32,
    pub last_send_at: Option<Time>,
    pub maybe_acted_at: Option<Time>,
    pub doubted_at: Option<Time>,
    pub inquired_at: Option<Time>,
    pub failed_inquiries: i32,
    pub contradictions: i32,
    pub outcome: Option<String>,
    pub published_at: Option<Time>,
    pub ask_first: bool,
    pub imported: Option<String>,
}

/// The names of `commands.imported`.
pub(super) const WITH_REQUEST_ID: &str = "with_request_id";
pub(super) const WITHOUT_REQUEST_ID: &str = "without_request_id";

impl ProgressRow {
    /// Why there is the order that it is the payment of.
    pub fn origin(&self) -> Result<Origin, StoreError> {
        match self.imported.as_deref() {
            None => Ok(Origin::Command),
            Some(WITH_REQUEST_ID) => Ok(Origin::Import { names_request: true }),
            Some(WITHOUT_REQUEST_ID) => Ok(Origin::Import { names_request: false }),
            Some(_) => Err(unknown_value("kind of import")),
        }
    }

    pub fn progress(&self) -> Result<Progress, StoreError> {
        let identity = Identity {
            source: CommandSource::parse(self.source.as_str()).map_err(|_| unknown_value("source"))?,
            id: CommandId::parse(self.id.as_str()).map_err(|_| unknown_value("id"))?,
        };
        Ok(Progress {
            kind: command_kind(&self.kind)?,
            command: CommandRef { identity, request_id: request_id(&self.request_id)? },
            outcome: self.outcome.as_deref().map(outcome).transpose()?,
            claimed_at: self.claimed_at,
            sends_end_at: self.sends_end_at,
            sends: count(self.sends)?,
            last_send_at: self.last_send_at,
            maybe_acted_at: self.maybe_acted_at,
            doubted_at: self.doubted_at,
            inquired_at: self.inquired_at,
            failed_inquiries: count(self.failed_inquiries)?,
            contradictions: count(self.contradictions)?,
            ask_first: self.ask_first,
        })
    }

    pub fn trace(&self) -> TraceContext {
        TraceContext { traceparent: self.traceparent.clone(), tracestate: self.tracestate.clone() }
    }
}

/// What an order waits for, as stored.
#[derive(FromRow)]
pub(super) struct DueColumns {
    inquire_at: Time,
    inquire_rank: i16,
    send_at: Option<Time>,
    due_sends_end_at: Option<Time>,
    send_rank: Option<i16>,
    token: Option<Uuid>,
    due_claimed_at: Option<Time>,
    attempt: Option<String>,
    lease_ends_at: Option<Time>,
    stranded_at: Option<Time>,
}

/// What an order waits for, and the attempt under way.
#[derive(Debug, Clone)]
pub(super) struct DueRow {
    pub due: Due,
    pub lease: Option<Lease>,
    /// No process here has its account: its budget stands still, until `stranded` lets it go.
    pub is_stranded: bool,
}

/// The right to make one attempt, while it lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub kind: AttemptKind,
    pub token: Uuid,
    pub claimed_at: Time,
    pub ends_at: Time,
}

impl DueColumns {
    pub fn read(&self) -> Result<DueRow, StoreError> {
        let rank = inquiry_rank(self.inquire_rank)?;
        let send = match (self.send_at, self.due_sends_end_at, self.send_rank) {
            (Some(at), Some(ends_at), Some(rank)) => Some(DueSend { at, ends_at, rank: send_rank(rank)? }),
            (_, _, _) => None,
        };
        let lease = match (self.token, self.due_claimed_at, &self.attempt, self.lease_ends_at) {
            (Some(token), Some(claimed_at), Some(kind), Some(ends_at)) => {
                Some(Lease { kind: attempt_kind(kind)?, token, claimed_at, ends_at })
            }
            (_, _, _, _) => None,
        };
        let due = Due { inquiry: DueInquiry { at: self.inquire_at, rank }, send };
        Ok(DueRow { due, lease, is_stranded: self.stranded_at.is_some() })
    }
}

pub(super) fn inquiry_rank(number: i16) -> Result<InquiryRank, StoreError> {
    InquiryRank::ALL
        .into_iter()
        .find(|r| r.number() == number)
        .ok_or_else(|| unknown_value("rank of an inquiry"))
}

pub(super) fn send_rank(number: i16) -> Result<SendRank, StoreError> {
    SendRank::ALL.into_iter().find(|r| r.number() == number).ok_or_else(|| unknown_value("rank of a send"))
}

pub(super) fn merchant(text: &str) -> Result<MerchantName, StoreError> {
    MerchantName::parse(text).map_err(|_| unknown_value("merchant"))
}

pub(super) fn invoice_number(text: &str) -> Result<InvoiceNumber, StoreError> {
    InvoiceNumber::parse(text).map_err(|_| unknown_value("invoice number"))
}

pub(super) fn request_id(text: &str) -> Result<RequestId, StoreError> {
    RequestId::parse(text).map_err(|_| unknown_value("Request-Id"))
}

pub(super) fn rupiah(amount: i64) -> Result<Rupiah, StoreError> {
    u64::try_from(amount).ok().and_then(Rupiah::new).ok_or_else(|| unknown_value("amount"))
}

pub(super) fn command_kind(name: &str) -> Result<CommandKind, StoreError> {
    CommandKind::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| unknown_value("kind of command"))
}

pub(super) fn outcome(name: &str) -> Result<Outcome, StoreError> {
    Outcome::ALL.into_iter().find(|o| o.name() == name).ok_or_else(|| unknown_value("outcome"))
}

pub(super) fn evidence(name: &str) -> Result<EvidenceSource, StoreError> {
    EvidenceSource::ALL.into_iter().find(|e| e.name() == name).ok_or_else(|| unknown_value("evidence"))
}

pub(super) fn attempt_kind(name: &str) -> Result<AttemptKind, StoreError> {
    AttemptKind::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| unknown_value("kind of attempt"))
}

pub(super) fn count(stored: i32) -> Result<u32, StoreError> {
    u32::try_from(stored).map_err(|_| unknown_value("count"))
}

/// A count that reaches the column's end stays there.
pub(super) fn stored_count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub(super) fn stored_length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Trace context, cut to what W3C bounds it to.
pub(super) fn storable_trace(text: Option<&str>) -> Option<String> {
    text.map(|text| storable(text, TRACE_CHARS_MAX))
}

/// Text of strangers, cut to what a column takes: no U+0000, at most `chars_max` characters.
pub(super) fn storable(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(chars_max).collect()
}
