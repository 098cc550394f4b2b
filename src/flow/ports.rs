//! What the flow needs from the outside: a trait for each edge, in the flow's words.

pub use super::{
    due::{DueClaim, DueFilter, DueNeed, DueOf, DueOrder, DueWhat},
    operations::{
        Act, ActionFilter, Asked, BreakEnd, ConsoleEntry, CustomerLook, FOUND_MAX, Figures, FiguresView,
        FormEnd, Hold, KeyHash, Mark, NewLogin, Operations, OrderCustomer, OrderFilter, OrderPage, SendsView,
        SentForm, ServiceView, StoppedAt, Waiting,
        events::{
            EventFilter, EventOperations, EventPage, EventRange, EventView, LiveEvents, LiveLine, LiveRefusal,
        },
        identity::{IdentifiedPerson, IdentityOperations, LoginFault, OidcLogin, OidcReturn, SessionView},
        letters::{
            LetterForecast, LetterOperations, LetterPage, LetterWork, LettersView, WorkEnd, WorkLine,
            WorkStart, WorkView,
        },
        service::{AboutView, CheckView, DoctorView, LastHour, ProcessView, SchemaView, ServiceOperations},
        settlement::{BatchSums, BroughtIn, NewFile, SeenFile},
    },
    received::{
        NotificationPublisher, NotificationReader, ReceivedNotification, ReportOf, TokenIssuer, TokenRequest,
        Verified,
    },
};

use crate::domain::{
    Time,
    command::{Command, Order, Rejection, StoredRequest, TraceContext},
    document::Document,
    event::EventType,
    finding::{AttemptKind, InquiryFinding, SendFinding},
    ids::{InvoiceNumber, MerchantName},
    notification::Notification,
    order::{OrderState, ReviewCause, Verdict},
    record::OrderRecord,
    validate::Violation,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or cannot work now. Whether the change was committed is not known: asking
    /// again with the same key finds out.
    #[error("the database is away: {0}")]
    Away(String),
    /// Another transaction is in the way of this one change. Nothing was written; later it may pass.
    #[error("another transaction is in the way: {0}")]
    Contended(String),
    /// It answered, and the answer is that this cannot be: a bug of ours.
    #[error("the database refused: {0}")]
    Refused(String),
}

/// Why nothing was done under a claim.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClaimError {
    /// The store does not know the claim any more, or its keys are another order's: the database went back in
    /// time. Nothing was written.
    #[error("the database does not know the claim any more: it went back in time")]
    Forgotten,
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// An account at DOKU that is configured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub merchant: MerchantName,
    pub client_id: String,
    pub base_url: String,
}

/// A command as it was read from its delivery.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub command: Command,
    /// `Null` if it is missing.
    pub data: Document,
    /// The request body for DOKU: the bytes of `data`.
    pub body: Vec<u8>,
    /// What is wrong with the attributes; what is wrong with `data` is judged in the flow.
    pub violations: Vec<Violation>,
}

/// A command that keeps every rule, and the request it makes.
#[derive(Debug, Clone)]
pub struct NewCommand {
    pub command: Command,
    pub order: Order,
    pub request: Arc<StoredRequest>,
    /// From the claim; no send starts later, nor after `command.expires_at`.
    pub budget: Duration,
    /// The claim's lease; `None`: due at once, for the first process with a permit.
    pub lease: Option<Duration>,
    /// Made once for a delivery: if the commit of a claim was not answered, the claim is recognised by it.
    pub token: Uuid,
}

/// The exclusive right to make one attempt for an order. It is given away by value: to be recorded or
/// given back.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    pub order_key: i64,
    pub command_key: i64,
    pub kind: AttemptKind,
    /// Identifies the attempt: another process that takes the order over draws another token.
    pub token: Uuid,
    /// Identifies the command: drawn with its first claim, kept beside it, and never changed.
    pub birth: Uuid,
    pub request: Arc<StoredRequest>,
    /// Measured here, from before the claim was asked for: shorter than what the store gives.
    pub lease_ends: Instant,
    /// No send starts after it; measured like the lease.
    pub sends_end: Instant,
    /// The trace of the command, after its delivery is gone.
    pub traceparent: Option<String>,
    /// For the store alone: what it knew when it granted the claim of a first send, so that it need not read that again.
    pub fresh: Option<Arc<FreshOrder>>,
}

/// An order about which nothing was written since its command was claimed, as it was when its send was claimed.
#[derive(Debug)]
pub struct FreshOrder {
    pub record: OrderRecord,
    pub trace: TraceContext,
    pub published_at: Option<Time>,
    /// The store's clock then.
    pub claimed_at: Time,
    /// By ours, from just before: a time that is counted from here is not earlier than the store's, so that no wait that
    /// DOKU asks for is cut short.
    pub asked_at: Instant,
    /// Looked for after the commit: no notification is parked for it.
    pub nothing_parked: bool,
}

/// What became of a delivery's command at the store.
#[derive(Debug)]
#[must_use]
pub enum Claimed {
    /// First seen and ours to send.
    Granted(Box<Claim>),
    /// First seen, and due for the first process with a permit.
    Deferred,
    /// Seen before: its outcome, if known, is published again.
    Duplicate,
    /// Not to be sent; an event says why.
    Rejected,
}

/// One attempt's result, on its way into the store.
#[derive(Debug, Clone)]
pub enum Finding {
    Send(SendFinding),
    Inquiry(InquiryFinding),
}

/// What became of a verified notification at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    Applied,
    /// Recorded: a duplicate, incomplete, or nothing new.
    NoChange,
    /// It named another amount than the order's.
    Mismatch,
    /// This merchant has no such order; it is kept until one appears.
    Parked,
}

/// Time and truth. Every method is one committed transaction, or nothing.
pub trait Store: Send + Sync + 'static {
    /// Claims a command, or finds out why not.
    fn claim(&self, new: NewCommand) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Stores a rejection with its event, unless the command's identity is known already.
    fn reject(&self, rejection: Rejection) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Applies notifications that came before the order was known. True if they decided it: then DOKU
    /// is not asked.
    fn apply_parked(&self, claim: &Claim) -> impl Future<Output = Result<bool, ClaimError>> + Send;

    /// Records what one attempt taught us, with all that follows from it.
    fn record(
        &self,
        claim: &Claim,
        finding: &Finding,
        took: Duration,
    ) -> impl Future<Output = Result<(), ClaimError>> + Send;

    /// Records a verified notification of this merchant's, with all that follows from it, or parks it.
    fn reconcile(
        &self,
        merchant: &MerchantName,
        notification: &Notification,
    ) -> impl Future<Output = Result<Reconciled, StoreError>> + Send;

    /// Records a notification that DOKU's own key signed, if its order is known here, and makes an inquiry due now, at
    /// most once a minute for an order. It decides nothing by itself.
    fn ask_about(
        &self,
        merchant: &MerchantName,
        notification: &Notification,
    ) -> impl Future<Output = Result<Reconciled, StoreError>> + Send;

    /// Applies parked notifications if their order is known by now, and drops the old ones that no order came for.
    fn sweep_parked(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives a claim back without an attempt: the order is due again now.
    fn release_claim(&self, claim: &Claim) -> impl Future<Output = Result<(), ClaimError>> + Send;

    /// Orders that are due now, each rank in its own order.
    fn due(&self, filter: &DueFilter) -> impl Future<Output = Result<Vec<DueOrder>, StoreError>> + Send;

    /// Claims what a due order needs, unless another process did.
    fn claim_due(
        &self,
        due: &DueOrder,
        what: DueNeed,
        lease: Duration,
    ) -> impl Future<Output = Result<DueClaim, StoreError>> + Send;

    /// How long until another order of these merchants becomes due, those that are due already not counted;
    /// `None` if nothing else waits.
    fn next_due_in(
        &self,
        filter: &DueFilter,
    ) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;
}

/// The schedule of `doku.requests_per_second`, one for all processes.
pub trait RateLimitStore: Send + Sync + 'static {
    /// Gives this many tokens away, one after the other at this rate, and returns how long until the first one may
    /// be spent; `None`: the near future is given away already.
    fn take_block(
        &self,
        merchant: &MerchantName,
        tokens: u32,
        per_second: u32,
    ) -> impl Future<Output = Result<Option<Duration>, StoreError>> + Send;
}

/// What a person decided about an order in review.
#[derive(Debug, Clone)]
pub struct Decision {
    pub merchant: MerchantName,
    pub invoice_number: InvoiceNumber,
    pub verdict: Verdict,
    /// Kept beside the order for a later audit; never in an event.
    pub reason: String,
    /// Who decided, if known.
    pub decided_by: Option<String>,
    /// That person looked up at DOKU that an unresolved refund was not made.
    pub checked_doku: bool,
    /// The order's revision that the person saw; `None`: whatever it is.
    pub seen: Option<i64>,
    pub second: SecondPersonRule,
}

/// Whether a second person must agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecondPersonRule {
    /// About more than so many rupiah; `None`: not by this configuration. What the store keeps holds too.
    pub above: Option<u64>,
    /// A proxy or a provider says who decides: only then a person is one of the two.
    pub is_verified: bool,
    /// By which the provider knows the person.
    pub subject: Option<String>,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Resolved {
    /// The order moved, and these events say so.
    Done(Vec<EventType>),
    /// Nothing moved: until this time a second person may decide the same.
    Proposed(Time),
    UnknownOrder,
    NotInReview(OrderState),
    /// Something was written to the order since the person looked. Nothing was changed.
    Moved,
    /// The order is in review for a cause that does not allow this verdict.
    NotOfCause(ReviewCause),
    /// Its refund may have been made: as `paid` it would accept another one, so a person must have looked at DOKU.
    RefundUnresolved,
}

/// What operators ask of the store, an order at a time.
pub trait OperatorStore: Store {
    /// The right to inquire about an order now, whatever it waits for; `None` if there is no such order.
    /// If its inquiry is due, this claims it as follow-up would; before that time the answer is evidence
    /// alone, and what is due stays due.
    fn inquire_now(
        &self,
        merchant: &MerchantName,
        invoice_number: &InvoiceNumber,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;

    /// Decides for an order in review.
    fn resolve(&self, decision: Decision) -> impl Future<Output = Result<Resolved, StoreError>> + Send;
}

/// An order to inquire at DOKU.
#[derive(Debug, Clone)]
pub struct Inquiry<'a> {
    pub merchant: &'a MerchantName,
    pub invoice_number: &'a InvoiceNumber,
}

/// DOKU, asked once. It never retries, never follows a redirect, never fails: whatever happens is
/// something learned.
pub trait Gateway: Send + Sync + 'static {
    /// The configured account of a merchant.
    fn account(&self, merchant: &MerchantName) -> Option<Account>;

    /// Every configured account.
    fn accounts(&self) -> Vec<Account>;

    /// Sends a stored request once, its bytes unchanged, signed anew.
    fn send(&self, request: &StoredRequest) -> impl Future<Output = SendFinding> + Send;

    /// Asks Check Status once.
    fn inquire(&self, inquiry: Inquiry<'_>) -> impl Future<Output = InquiryFinding> + Send;
}

/// An event on its way out, its bytes as they were committed.
#[derive(Debug, Clone)]
pub struct OutboxEvent {
    /// The outbox row, in the order of commits for each order.
    pub sequence: i64,
    pub event_id: Uuid,
    /// `None` for an event that waits for no other: a rejection, a re-publication.
    pub order_key: Option<i64>,
    pub routing_key: String,
    /// The CloudEvents type.
    pub event_type: String,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub body: bytes::Bytes,
    /// When the change was committed, and how old that is now.
    pub age: Duration,
}

/// What became of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Confirmed,
    /// A queue that it was routed to did not take it: full, or without a leader. It is published again, with the same id.
    Refused,
    /// Not known: it is published again, with the same id.
    Unconfirmed,
}

/// The broker, as the relay sees it.
pub trait EventPublisher: Send + Sync + 'static {
    /// Publishes all, pipelined, and waits for every publish confirm, a bounded time. One answer an
    /// event, in the same order.
    fn publish(&self, events: &[OutboxEvent]) -> impl Future<Output = Vec<Published>> + Send;
}

/// The leadership of the one active relay.
pub trait RelayLeadership: Send + Sync + 'static {
    type Outbox: Outbox;

    /// The outbox, if no other relay has it.
    fn acquire(&self) -> impl Future<Output = Result<Option<Self::Outbox>, StoreError>> + Send;
}

/// Events that a look at the outbox leaves out.
#[derive(Debug, Default)]
pub struct LeftOut {
    pub sequences: Vec<i64>,
    /// Orders, with all their events.
    pub orders: Vec<i64>,
}

/// The outbox, as its one active relay sees it.
pub trait Outbox: Send + 'static {
    /// The oldest unpublished events, but for some. Fails when this relay is not the active one any more.
    fn unpublished(
        &mut self,
        limit: u32,
        but: &LeftOut,
    ) -> impl Future<Output = Result<Vec<OutboxEvent>, StoreError>> + Send;

    /// The sequence of the newest event, if there is one.
    fn newest(&mut self) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// Marks events as published and takes them out of the outbox.
    fn mark_published(&mut self, sequences: &[i64]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// This machine's clock: it signs, and measures drift. Nothing that is decided depends on it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Time;
}
