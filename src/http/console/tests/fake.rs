//! Operations that are set beforehand, with hostile texts wherever others write.

use super::{
    hostile::{actions, hostile_order},
    settlement,
};
use crate::{
    domain::{
        Time,
        console::Person,
        event::EventType,
        ids::{InvoiceNumber, MerchantName},
        pause::{PauseLift, Scope},
    },
    flow::{
        ports::{
            Act, ActionFilter, Asked, BatchSums, BreakEnd, BroughtIn, ConsoleEntry, CustomerLook, Decision,
            Figures, FiguresView, FormEnd, Hold, KeyHash, NewFile, Operations, OrderCustomer, OrderFilter,
            OrderPage, Resolved, SeenFile, SendsView, SentForm, ServiceView, SessionView, StoppedAt,
            StoreError, Waiting,
        },
        view::{
            ActionPage, ActionPlace, OrderView, PauseView, ProposalView, StopView, sample,
            settlement::{BreakFilter, BreakView, FileView},
        },
    },
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use uuid::Uuid;

/// What runs a script where it is not escaped, and what ends a path or a query where it is not encoded.
pub const HOSTILE: &str = "<img/src=x/onerror=alert(1)>";
pub const HOSTILE_PATH: &str = "a/b?c#d%2f";

/// What the operations know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    Empty,
    Hostile,
    /// The database is away.
    Away,
}

/// Groups, and how long ago they were given.
type GivenGroups = (Vec<String>, Duration);

#[derive(Clone)]
pub struct FakeOperations {
    pub world: Arc<Mutex<World>>,
    pub sessions: Arc<Mutex<HashMap<KeyHash, Person>>>,
    /// Of those whom a provider named.
    pub groups: Arc<Mutex<HashMap<KeyHash, GivenGroups>>>,
    /// Looks and changes, as words.
    pub done: Arc<Mutex<Vec<String>>>,
    /// The forms that acted.
    pub acted: Arc<Mutex<HashSet<Uuid>>>,
    /// What becomes of the next forms, the last one first.
    pub forms: Arc<Mutex<Vec<FormEnd>>>,
    /// What became of the order's refund.
    pub refund: Arc<Mutex<&'static str>>,
}

impl FakeOperations {
    pub fn new(world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            sessions: Arc::default(),
            groups: Arc::default(),
            done: Arc::default(),
            acted: Arc::default(),
            forms: Arc::default(),
            refund: Arc::new(Mutex::new("accepted")),
        }
    }

    pub fn world(&self) -> World {
        *self.world.lock().unwrap()
    }

    pub fn reached(&self) -> Result<World, StoreError> {
        match self.world() {
            World::Away => Err(StoreError::Away("connection refused".to_owned())),
            world => Ok(world),
        }
    }

    pub fn does(&self, what: String) {
        self.done.lock().unwrap().push(what);
    }
}

pub fn hostile() -> String {
    HOSTILE.to_owned()
}

impl Operations for FakeOperations {
    async fn enter(&self, entry: ConsoleEntry) -> Result<Option<Person>, StoreError> {
        self.reached()?;
        let person = self.sessions.lock().unwrap().remove(&entry.login);
        if let Some(person) = &person {
            self.sessions.lock().unwrap().insert(entry.session, person.clone());
            self.does(format!("enter {} from {}", person.audited(), entry.from));
        }
        Ok(person)
    }

    async fn session(&self, key: KeyHash) -> Result<Option<SessionView>, StoreError> {
        self.reached()?;
        let person = self.sessions.lock().unwrap().get(&key).cloned();
        let groups = self.groups.lock().unwrap().get(&key).cloned();
        Ok(person.map(|person| SessionView { person, groups }))
    }

    async fn leave(&self, key: KeyHash, person: &Person, _from: &str) -> Result<(), StoreError> {
        self.reached()?;
        self.sessions.lock().unwrap().remove(&key);
        self.does(format!("leave {}", person.audited()));
        Ok(())
    }

    async fn service(&self) -> ServiceView {
        match self.world() {
            World::Empty => ServiceView::default(),
            World::Hostile => ServiceView {
                pauses: vec![PauseView {
                    scope: "*".to_owned(),
                    since: sample::at(0),
                    reason: Some(hostile()),
                    paused_by: Some(hostile()),
                }],
                breakers: vec![StopView {
                    merchant: "shop".to_owned(),
                    since: sample::at(0),
                    detail: hostile(),
                }],
                faults: vec![("broker", hostile())],
            },
            World::Away => ServiceView {
                faults: vec![("postgres", "connection refused".to_owned())],
                ..Default::default()
            },
        }
    }

    async fn figures(&self) -> FiguresView {
        let waiting = Waiting { count: 3, rupiah: Some(150_000), oldest: Some(Duration::from_secs(90_000)) };
        let dependencies = vec![("postgres", true, "up".to_owned()), ("broker", false, hostile())];
        let figures = Figures {
            review: waiting,
            in_doubt: waiting,
            submitting: waiting,
            outbox: waiting,
            dead: Some(7),
            balance: Some(-1),
            ..Figures::default()
        };
        match self.world() {
            World::Empty => {
                let figures = Figures { queued: Some(4), ..Figures::default() };
                FiguresView { figures: Some((sample::at(50), figures)), ..Default::default() }
            }
            World::Hostile => {
                FiguresView { figures: Some((sample::at(50), figures)), fault: None, dependencies }
            }
            World::Away => FiguresView {
                figures: Some((sample::at(0), figures)),
                fault: Some("connection refused".to_owned()),
                dependencies,
            },
        }
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<OrderPage, StoreError> {
        let order = hostile_order().order;
        let count = usize::try_from(filter.limit).unwrap();
        let world = self.reached()?;
        if filter.declined.is_some() {
            let stopped = Some(StoppedAt { key: order.key, at: order.created_at, read: 10_000 });
            return Ok(OrderPage { orders: vec![order], stopped, is_search_cut: false });
        }
        let orders = if world == World::Empty { Vec::new() } else { vec![order; count] };
        // A beginning of one character is always too short.
        let is_search_cut = filter.search.as_ref().is_some_and(|text| text.len() == 1);
        Ok(OrderPage { orders, stopped: None, is_search_cut })
    }

    async fn order(
        &self,
        _merchant: &MerchantName,
        _invoice: &InvoiceNumber,
    ) -> Result<Option<OrderView>, StoreError> {
        let mut order = hostile_order();
        if let Some(refund) = &mut order.order.refund {
            refund.state = (*self.refund.lock().unwrap()).to_owned();
        }
        Ok((self.reached()? != World::Empty).then_some(order))
    }

    async fn customer(
        &self,
        _merchant: &MerchantName,
        _invoice: &InvoiceNumber,
    ) -> Result<Option<OrderCustomer>, StoreError> {
        let customer = OrderCustomer {
            name: format!("Ratna{HOSTILE}"),
            phone: "6281234567890".to_owned(),
            email: Some("ratna@shop.test".to_owned()),
        };
        Ok((self.reached()? != World::Empty).then_some(customer))
    }

    async fn show_customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<CustomerLook, StoreError> {
        self.reached()?;
        if !self.acted.lock().unwrap().insert(act.mark.action_id) {
            return Ok(CustomerLook::Repeated);
        }
        self.does(format!("show_customer {invoice} by {} from {}: {}", act.by, act.mark.from, act.reason));
        Ok(CustomerLook::Shown(self.customer(merchant, invoice).await?))
    }

    async fn hold(&self, order_key: i64, by: &str) -> Result<(), StoreError> {
        self.reached()?;
        self.does(format!("hold {order_key} by {by}"));
        Ok(())
    }

    async fn holds(&self, order_keys: &[i64]) -> Result<Vec<Hold>, StoreError> {
        self.reached()?;
        let hold = |key: &i64| Hold { order_key: *key, by: hostile(), until: sample::at(90) };
        Ok(order_keys.iter().map(hold).collect())
    }

    async fn proposal(&self, _order_key: i64) -> Result<Option<ProposalView>, StoreError> {
        let proposal = ProposalView {
            state: "paid".to_owned(),
            checked_doku: true,
            reason: hostile(),
            proposed_by: hostile(),
            is_verified: false,
            until: sample::at(90),
        };
        Ok(Some(proposal).filter(|_| self.world() == World::Hostile))
    }

    async fn foresee(&self, _decision: Decision) -> Result<Resolved, StoreError> {
        self.reached()?;
        Ok(match self.forms.lock().unwrap().last() {
            Some(FormEnd::Resolved(resolved)) => resolved.clone(),
            _ => Resolved::Done(vec![EventType::OrderPaid]),
        })
    }

    async fn decide(&self, decision: Decision, form: SentForm) -> Result<FormEnd, StoreError> {
        self.reached()?;
        let Decision { invoice_number, verdict, reason, decided_by, checked_doku, .. } = decision;
        let by = decided_by.unwrap();
        self.does(format!(
            "decide {invoice_number} {} at {} by {by}, checked {checked_doku}: {reason}",
            verdict.state().name(),
            form.revision
        ));
        let set = self.forms.lock().unwrap().pop();
        Ok(set.unwrap_or(FormEnd::Resolved(Resolved::Done(vec![EventType::OrderPaid]))))
    }

    async fn ask_doku(
        &self,
        _merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<Asked, StoreError> {
        self.reached()?;
        self.does(format!("ask {invoice} by {} from {}: {}", act.by, act.mark.from, act.reason));
        Ok(Asked::Answered(hostile()))
    }

    async fn publish_again(
        &self,
        _merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<Option<u64>, StoreError> {
        self.reached()?;
        self.does(format!("publish {invoice} by {}: {}", act.by, act.reason));
        Ok(Some(2))
    }

    async fn sends(&self) -> Result<Vec<SendsView>, StoreError> {
        self.reached()?;
        let shop = Scope::Merchant(MerchantName::parse("shop").unwrap());
        let view = |scope| SendsView { scope, waiting: 3, first_end: Some(sample::at(90)) };
        Ok([Scope::AllMerchants, shop].map(view).into())
    }

    async fn pause(&self, scope: Scope, act: Act) -> Result<(), StoreError> {
        self.reached()?;
        self.does(format!("pause {} by {}: {}", scope.name(), act.by, act.reason));
        Ok(())
    }

    async fn resume(&self, scope: Scope, since: Time, act: Act) -> Result<PauseLift, StoreError> {
        if since != sample::at(0) {
            return Ok(PauseLift::Another);
        }
        self.does(format!("resume {} by {}: {}", scope.name(), act.by, act.reason));
        Ok(PauseLift::Lifted)
    }

    async fn breaks(&self, filter: &BreakFilter) -> Result<Vec<BreakView>, StoreError> {
        let is_other = filter.cause.as_deref().is_some_and(|cause| cause != "missing_here");
        let is_none = is_other || self.reached()? == World::Empty;
        Ok(if is_none { Vec::new() } else { vec![settlement::open_break()] })
    }

    async fn settlement_files(&self, _limit: u32) -> Result<Vec<FileView>, StoreError> {
        Ok(if self.reached()? == World::Empty { Vec::new() } else { vec![settlement::file("done")] })
    }

    async fn settlement_file(&self, number: i64) -> Result<Option<FileView>, StoreError> {
        let state = settlement::STATES.get(usize::try_from(number).unwrap_or_default());
        Ok(state.filter(|_| self.world() == World::Hostile).map(|state| settlement::file(state)))
    }

    async fn batch(&self, name: &str) -> Result<BatchSums, StoreError> {
        self.reached().map(|world| settlement::sums(world, name))
    }

    async fn bring_in(
        &self,
        file: NewFile,
        mut bytes: impl AsyncRead + Send + Unpin,
        act: Act,
    ) -> Result<BroughtIn, StoreError> {
        let mut text = String::new();
        let read = bytes.read_to_string(&mut text).await;
        let came = read.map_or_else(|_| "broken off".to_owned(), |count| format!("{count} bytes"));
        let NewFile { name, merchant, profile } = file;
        self.does(format!("bring {name} of {merchant} as {profile:?} by {}: {}: {came}", act.by, act.reason));
        Ok(if text.starts_with("%PDF") { BroughtIn::Refused(hostile()) } else { BroughtIn::Begun(3) })
    }

    async fn match_file(&self, number: i64, seen: SeenFile, act: Act) -> Result<BroughtIn, StoreError> {
        if number == 2 && !seen.is_held {
            return Ok(BroughtIn::ReadMeanwhile);
        }
        self.does(format!("match {number} by {}: {}", act.by, act.reason));
        let begun = if number == 3 { BroughtIn::Begun(3) } else { BroughtIn::Busy };
        Ok(if seen.sha256 == "ab".repeat(32) { begun } else { BroughtIn::Another })
    }

    async fn close_break(&self, number: i64, name: &str, act: Act) -> Result<BreakEnd, StoreError> {
        self.reached()?;
        self.does(format!("close {number} by {}: {}", act.by, act.reason));
        let end = if number == 7 { BreakEnd::Closed } else { BreakEnd::Unknown };
        Ok(if name == settlement::open_break().name() { end } else { BreakEnd::Another })
    }

    async fn actions(&self, filter: &ActionFilter) -> Result<ActionPage, StoreError> {
        if self.reached()? == World::Empty {
            return Ok(ActionPage::default());
        }
        let next = ActionPlace { action: 7, decision: 3 };
        Ok(ActionPage { actions: actions(), next: Some(next).filter(|next| filter.before != Some(*next)) })
    }
}
