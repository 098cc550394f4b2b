//! What the console asks of the service. It is what the command line asks too: both reach the same functions.

pub mod events;
pub mod identity;
pub mod letters;
pub mod service;
pub mod settlement;

use super::{
    ports::{Decision, Resolved, StoreError},
    view::{
        ActionPage, ActionPlace, OrderSummary, OrderView, PauseView, ProposalView, StopView,
        settlement::{BreakFilter, BreakView, FileView},
    },
};
use crate::domain::{
    Time,
    console::{ConsoleRole, Person},
    ids::{InvoiceNumber, MerchantName},
    pause::{PauseLift, Scope},
};
use events::EventOperations;
use identity::{IdentityOperations, SessionView};
use letters::LetterOperations;
use service::ServiceOperations;
use settlement::{BatchSums, BroughtIn, NewFile, SeenFile};
use std::{collections::BTreeSet, future::Future, time::Duration};
use tokio::io::AsyncRead;
use uuid::Uuid;

/// The SHA-256 of a key that a browser holds.
pub type KeyHash = [u8; 32];

/// What `console login` makes: who may enter by an address, until when, and for how long then.
#[derive(Debug, Clone)]
pub struct NewLogin {
    pub hash: KeyHash,
    pub name: String,
    pub roles: BTreeSet<ConsoleRole>,
    pub session: Duration,
    /// Who made it.
    pub made_by: String,
}

/// A browser uses an address up.
#[derive(Debug, Clone)]
pub struct ConsoleEntry {
    pub login: KeyHash,
    pub session: KeyHash,
    /// The peer's address.
    pub from: String,
}

/// Where a form came from, and its id: a form that is sent twice acts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub action_id: Uuid,
    pub from: String,
}

/// Who acts by a form, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// As the audit keeps it.
    pub by: String,
    pub reason: String,
    pub mark: Mark,
}

/// What a form of the console showed when it was made, and its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentForm {
    /// The order's.
    pub revision: i64,
    pub mark: Mark,
}

/// What became of a form that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum FormEnd {
    Resolved(Resolved),
    /// The form was sent before, and decided or proposed. Nothing was changed again.
    Repeated {
        was_decided: bool,
    },
}

/// A person is busy with an order in review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub order_key: i64,
    /// As the audit has the name.
    pub by: String,
    pub until: Time,
}

/// What came of asking DOKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// In a line, for a person.
    Answered(String),
    /// It was not asked, or gave no answer; why.
    NotAnswered(String),
    /// The form was sent before.
    Repeated,
}

/// What came of closing a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakEnd {
    Closed,
    AlreadyClosed,
    /// The number is another break's than the one that was looked at.
    Another,
    Unknown,
}

/// The sends of all merchants (`*`) or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendsView {
    pub scope: Scope,
    pub waiting: u64,
    /// When the first of them may not be sent any more.
    pub first_end: Option<Time>,
}

/// Orders of one search that are looked at: a beginning that more of them share is too short to search by.
pub const FOUND_MAX: usize = 5_000;

/// A page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderPage {
    pub orders: Vec<OrderSummary>,
    /// Where the search stopped because it had read enough.
    pub stopped: Option<StoppedAt>,
    /// More than `FOUND_MAX` have what was searched for, and not all of them were looked at.
    pub is_search_cut: bool,
}

/// The last order that a page read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoppedAt {
    pub key: i64,
    /// When it was created.
    pub at: Time,
    /// How many were read.
    pub read: i64,
}

/// What a person who asks for a customer is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerLook {
    /// `None`: there is none any more.
    Shown(Option<OrderCustomer>),
    /// The form was sent before: its look is over.
    Repeated,
}

/// Who pays. Only who may see it is shown it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderCustomer {
    pub name: String,
    pub phone: String,
    pub email: Option<String>,
}

/// What the head of every page says of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceView {
    pub pauses: Vec<PauseView>,
    pub breakers: Vec<StopView>,
    /// What cannot be reached, and why.
    pub faults: Vec<(&'static str, String)>,
}

/// A number of things that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    pub count: u64,
    pub rupiah: Option<u64>,
    /// How long the oldest has waited.
    pub oldest: Option<Duration>,
}

/// What waits, counted at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    pub review: Waiting,
    pub in_doubt: Waiting,
    pub submitting: Waiting,
    pub awaiting_payment: Waiting,
    pub refunding: Waiting,
    pub sends: Waiting,
    pub stranded: u64,
    pub outbox: Waiting,
    pub breaks: Waiting,
    /// Claimed, less what is settled or open. `None`: it is not known yet.
    pub balance: Option<i64>,
    /// Letters in the queues; `None`: the broker did not say.
    pub dead: Option<u64>,
    pub unrouted: Option<u64>,
    /// Commands in their queues: no order knows of them yet.
    pub queued: Option<u64>,
}

/// The figures that are known, and why there are no newer ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FiguresView {
    pub figures: Option<(Time, Figures)>,
    pub fault: Option<String>,
    /// Each with what is known of it.
    pub dependencies: Vec<(&'static str, bool, String)>,
}

/// Which orders to list; what is not named is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Empty: all.
    pub states: Vec<String>,
    /// The beginning of an invoice number, or a whole command id, Request-Id or event id.
    pub search: Option<String>,
    pub merchant: Option<MerchantName>,
    /// Since the claim of the payment.
    pub older_than: Option<Duration>,
    pub younger_than: Option<Duration>,
    /// Whole rupiah.
    pub min_amount: Option<i64>,
    pub max_amount: Option<i64>,
    /// From this time on, and before that one.
    pub created_from: Option<Time>,
    pub created_until: Option<Time>,
    /// DOKU's code, by which it declined a payment or a refund.
    pub declined: Option<String>,
    pub oldest_first: bool,
    /// Only orders behind this `key`, in the order of the list: the next page.
    pub before: Option<i64>,
    pub limit: u32,
}

/// Which actions; what is not named is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionFilter {
    /// What it was done to: an invoice number, for example.
    pub subject: Option<String>,
    pub merchant: Option<String>,
    pub since: Option<Time>,
    /// The person's name.
    pub by: Option<String>,
    /// Only what is behind this place: the next page.
    pub before: Option<ActionPlace>,
    pub limit: u32,
}

/// What operators see and do.
pub trait Operations:
    IdentityOperations + LetterOperations + EventOperations + ServiceOperations + Send + Sync + 'static
{
    /// Uses an address up; `None`: there is no such address, or its time has passed.
    fn enter(&self, entry: ConsoleEntry) -> impl Future<Output = Result<Option<Person>, StoreError>> + Send;

    /// Who has this key; `None`: no person, or its time has passed.
    fn session(&self, key: KeyHash) -> impl Future<Output = Result<Option<SessionView>, StoreError>> + Send;

    /// Ends a session.
    fn leave(
        &self,
        key: KeyHash,
        person: &Person,
        from: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What stops sends, and what cannot be reached. What is not known is left as it was.
    fn service(&self) -> impl Future<Output = ServiceView> + Send;

    fn figures(&self) -> impl Future<Output = FiguresView> + Send;

    /// The latest orders, newest first, as far as one page reads.
    fn orders(&self, filter: &OrderFilter) -> impl Future<Output = Result<OrderPage, StoreError>> + Send;

    fn order(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
    ) -> impl Future<Output = Result<Option<OrderView>, StoreError>> + Send;

    /// `None`: the order is not known, or its request was pruned.
    fn customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
    ) -> impl Future<Output = Result<Option<OrderCustomer>, StoreError>> + Send;

    /// The same for a person who says why; that is kept first.
    fn show_customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> impl Future<Output = Result<CustomerLook, StoreError>> + Send;

    /// A person takes an order in review on, for a while.
    fn hold(&self, order_key: i64, by: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Who is busy with these orders.
    fn holds(&self, order_keys: &[i64]) -> impl Future<Output = Result<Vec<Hold>, StoreError>> + Send;

    /// What one person proposes about an order, and a second must agree to.
    fn proposal(
        &self,
        order_key: i64,
    ) -> impl Future<Output = Result<Option<ProposalView>, StoreError>> + Send;

    /// What a decision would do now. Nothing is written.
    fn foresee(&self, decision: Decision) -> impl Future<Output = Result<Resolved, StoreError>> + Send;

    /// Decides for the order that a form showed.
    fn decide(
        &self,
        decision: Decision,
        form: SentForm,
    ) -> impl Future<Output = Result<FormEnd, StoreError>> + Send;

    /// Asks DOKU about an order now, after who asks and why was kept.
    fn ask_doku(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        asked: Act,
    ) -> impl Future<Output = Result<Asked, StoreError>> + Send;

    /// Puts the published events of an order into the outbox again; how many. `None`: the form was sent before.
    fn publish_again(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// What waits for a send, of all merchants and of each.
    fn sends(&self) -> impl Future<Output = Result<Vec<SendsView>, StoreError>> + Send;

    /// Pauses sends.
    fn pause(&self, scope: Scope, act: Act) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Lets sends go on: lifts the pause that a person saw, which holds `since` then.
    fn resume(
        &self,
        scope: Scope,
        since: Time,
        act: Act,
    ) -> impl Future<Output = Result<PauseLift, StoreError>> + Send;

    /// What does not fit DOKU's pay-outs, those with most at stake first.
    fn breaks(&self, filter: &BreakFilter)
    -> impl Future<Output = Result<Vec<BreakView>, StoreError>> + Send;

    /// The latest settlement files.
    fn settlement_files(&self, limit: u32) -> impl Future<Output = Result<Vec<FileView>, StoreError>> + Send;

    fn settlement_file(
        &self,
        number: i64,
    ) -> impl Future<Output = Result<Option<FileView>, StoreError>> + Send;

    /// A pay-out, as far as it is counted.
    fn batch(&self, name: &str) -> impl Future<Output = Result<BatchSums, StoreError>> + Send;

    /// Keeps a settlement file as its bytes come, and reads it. Nothing of it counts before `match_file`.
    fn bring_in(
        &self,
        file: NewFile,
        bytes: impl AsyncRead + Send + Unpin,
        act: Act,
    ) -> impl Future<Output = Result<BroughtIn, StoreError>> + Send;

    /// Has a file that came in matched, or an import go on that was broken off.
    fn match_file(
        &self,
        number: i64,
        seen: SeenFile,
        act: Act,
    ) -> impl Future<Output = Result<BroughtIn, StoreError>> + Send;

    /// Closes a break until its values change.
    /// `name`: as `BreakView::name` gave it.
    fn close_break(
        &self,
        number: i64,
        name: &str,
        act: Act,
    ) -> impl Future<Output = Result<BreakEnd, StoreError>> + Send;

    /// What operators did, the latest first.
    fn actions(&self, filter: &ActionFilter) -> impl Future<Output = Result<ActionPage, StoreError>> + Send;
}
