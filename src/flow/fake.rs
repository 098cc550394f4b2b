//! The ports without an outside, for stories about the order of steps: calls are written down, and the answers
//! are set beforehand. The truth about each edge is tested against real servers.

use super::{
    attempt::Attempts,
    gate::{Gate, GateLimits},
    ports::*,
    process_command::{Budgets, Worker},
    store_outage::{StoreOutage, StoreState},
};
use crate::domain::{
    command::{Command, CommandKind, Rejection, StoredRequest, TraceContext},
    document::Document,
    finding::{AttemptKind, DokuHealth, InquiryFinding, InquiryFindingKind, SendFinding, SendFindingKind},
    ids::{CommandId, CommandSource, Identity, InvoiceNumber, MerchantName, payment_request_id},
    money::Rupiah,
    notification::Notification,
    pause::Paused,
    validate::Rules,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What was called, in order.
pub type Steps = Arc<Mutex<Vec<&'static str>>>;

#[derive(Default)]
pub struct FakeStore {
    pub steps: Steps,
    /// Claims are answered with an error so many times first.
    pub away: Mutex<u32>,
    /// A notification had come before the order, and decided it.
    pub decided_by_parked: bool,
    /// Answered first by the look for parked notifications and by the record, the last one first.
    pub parked_errors: Mutex<Vec<ClaimError>>,
    pub record_errors: Mutex<Vec<ClaimError>>,
    /// What is given back is not known any more.
    pub forgets: bool,
    /// What every look finds due, and when the next order is.
    pub due: Vec<DueOrder>,
    pub next_due_in: Option<Duration>,
    /// Every due order is gone when it is to be taken.
    pub takes_none: bool,
    /// The order an operator asks about; its claim is given away once.
    pub inquired_now: Mutex<Option<Claim>>,
}

pub struct FakeGateway {
    pub steps: Steps,
}

impl FakeStore {
    fn note(&self, step: &'static str) {
        self.steps.lock().unwrap().push(step);
    }
}

impl Store for FakeStore {
    async fn claim(&self, new: NewCommand) -> Result<Claimed, StoreError> {
        let mut away = self.away.lock().unwrap();
        if *away > 0 {
            *away -= 1;
            self.note("claim away");
            return Err(StoreError::Away("gone".to_owned()));
        }
        self.note(if new.lease.is_some() { "claim" } else { "claim without a lease" });
        Ok(match new.lease {
            Some(lease) => Claimed::Granted(Box::new(claim(AttemptKind::Send, lease, lease))),
            None => Claimed::Deferred,
        })
    }
    async fn reject(&self, _: Rejection) -> Result<Claimed, StoreError> {
        self.note("reject");
        Ok(Claimed::Rejected)
    }
    async fn apply_parked(&self, _: &Claim) -> Result<bool, ClaimError> {
        self.note("parked");
        next(&self.parked_errors).map_or(Ok(self.decided_by_parked), Err)
    }
    async fn record(&self, _: &Claim, _: &Finding, _: Duration) -> Result<(), ClaimError> {
        self.note("record");
        next(&self.record_errors).map_or(Ok(()), Err)
    }
    async fn reconcile(&self, _: &MerchantName, _: &Notification) -> Result<Reconciled, StoreError> {
        Ok(Reconciled::Parked)
    }
    async fn ask_about(&self, _: &MerchantName, _: &Notification) -> Result<Reconciled, StoreError> {
        self.note("ask about");
        Ok(Reconciled::NoChange)
    }
    async fn sweep_parked(&self) -> Result<(), StoreError> {
        self.note("tend parked");
        Ok(())
    }
    async fn release_claim(&self, _: &Claim) -> Result<(), ClaimError> {
        self.note("give back");
        if self.forgets { Err(ClaimError::Forgotten) } else { Ok(()) }
    }
    async fn due(&self, _: &DueFilter) -> Result<Vec<DueOrder>, StoreError> {
        self.note("look");
        Ok(self.due.clone())
    }
    async fn claim_due(&self, _: &DueOrder, what: DueNeed, lease: Duration) -> Result<DueClaim, StoreError> {
        self.note(match what {
            DueNeed::Send { inquiry_held_back: true } => "take without its inquiry",
            DueNeed::Lost => "take up what was lost",
            DueNeed::Send { .. } | DueNeed::Inquiry => "take",
        });
        let kind = match what {
            _ if self.takes_none => return Ok(DueClaim::Gone),
            DueNeed::Lost => return Ok(DueClaim::Gone),
            DueNeed::Send { .. } => AttemptKind::Send,
            DueNeed::Inquiry => AttemptKind::Inquiry,
        };
        Ok(DueClaim::Attempt(Box::new(claim(kind, lease, lease))))
    }
    async fn next_due_in(&self, _: &DueFilter) -> Result<Option<Duration>, StoreError> {
        Ok(self.next_due_in)
    }
}

impl OperatorStore for FakeStore {
    async fn inquire_now(
        &self,
        _: &MerchantName,
        _: &InvoiceNumber,
        _: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        Ok(self.inquired_now.lock().unwrap().take())
    }
    async fn resolve(&self, _: Decision) -> Result<Resolved, StoreError> {
        Ok(Resolved::UnknownOrder)
    }
}

fn next(errors: &Mutex<Vec<ClaimError>>) -> Option<ClaimError> {
    errors.lock().unwrap().pop()
}

impl Gateway for FakeGateway {
    fn account(&self, merchant: &MerchantName) -> Option<Account> {
        (merchant.as_str() == "default").then(|| Account {
            merchant: merchant.clone(),
            client_id: "C".to_owned(),
            base_url: "http://doku".to_owned(),
        })
    }
    fn accounts(&self) -> Vec<Account> {
        self.account(&MerchantName::default_account()).into_iter().collect()
    }
    async fn send(&self, _: &StoredRequest) -> SendFinding {
        self.steps.lock().unwrap().push("send");
        let finding = SendFindingKind::Accepted { status: "SUCCESS".to_owned() };
        SendFinding { kind: finding, http_status: Some(200), retry_after: None, health: DokuHealth::Well }
    }
    async fn inquire(&self, _: Inquiry<'_>) -> InquiryFinding {
        self.steps.lock().unwrap().push("inquire");
        InquiryFinding {
            kind: InquiryFindingKind::NotFound { proves: true },
            http_status: None,
            retry_after: None,
        }
    }
}

/// A claim whose lease and sends end after so long.
pub fn claim(kind: AttemptKind, lease: Duration, sends: Duration) -> Claim {
    let invoice_number = InvoiceNumber::parse("INV-1").unwrap();
    Claim {
        order_key: 1,
        command_key: 1,
        kind,
        token: Uuid::nil(),
        birth: Uuid::nil(),
        lease_ends: Instant::now() + lease,
        sends_end: Instant::now() + sends,
        traceparent: None,
        fresh: None,
        request: Arc::new(StoredRequest {
            merchant: MerchantName::default_account(),
            kind: CommandKind::Refund,
            amount: Rupiah::new(50_000).unwrap(),
            request_id: payment_request_id(&invoice_number),
            invoice_number,
            client_id: "C".to_owned(),
            base_url: "http://doku".to_owned(),
            body: Vec::new(),
            payment_body: Vec::new(),
        }),
    }
}

/// A refund command whose `data` keeps every rule.
pub fn refund() -> Incoming {
    let text = |t: &str| Document::String(t.to_owned());
    let order = ["invoice_number", "amount", "reason"].into_iter().zip(["INV-1", "50000", "why"]);
    let order = order.map(|(name, value)| (name.to_owned(), text(value))).collect();
    let identity =
        Identity { source: CommandSource::parse("/s").unwrap(), id: CommandId::parse("1").unwrap() };
    Incoming {
        command: Command {
            identity,
            kind: CommandKind::Refund,
            merchant: "default".to_owned(),
            invoice_number: None,
            digest: [0; 32],
            expires_at: None,
            dated_at: None,
            published_at: None,
            came_before: 0,
            budget_from_time: None,
            trace: TraceContext::default(),
        },
        data: Document::Object(vec![("order".to_owned(), Document::Object(order))]),
        body: Vec::new(),
        violations: Vec::new(),
    }
}

/// The schedule of one merchant, with no other process.
#[derive(Default)]
pub struct FakeSchedule(Mutex<Option<Instant>>);

impl RateLimitStore for FakeSchedule {
    async fn take_block(
        &self,
        _: &MerchantName,
        tokens: u32,
        per_second: u32,
    ) -> Result<Option<Duration>, StoreError> {
        let (now, mut given_until) = (Instant::now(), self.0.lock().unwrap());
        let starts = given_until.map_or(now, |until| until.max(now));
        *given_until = Some(starts + Duration::from_secs(1) * tokens / per_second);
        Ok(Some(starts - now))
    }
}

/// A worker over the fakes, the steps it takes, and its stop.
pub fn worker(
    store: impl FnOnce(&mut FakeStore),
    concurrency: u32,
) -> (Worker<FakeStore, FakeGateway>, Steps, CancellationToken) {
    let (steps, stop) = (Steps::default(), CancellationToken::new());
    let mut fake = FakeStore { steps: Arc::clone(&steps), ..FakeStore::default() };
    store(&mut fake);
    let limits = GateLimits {
        prefetch: 16,
        concurrency,
        requests_per_second: 0,
        breaker_failures: 20,
        breaker_open: Duration::from_secs(15),
    };
    let attempts = Attempts {
        store: Arc::new(fake),
        gateway: Arc::new(FakeGateway { steps: Arc::clone(&steps) }),
        timeout: Duration::from_secs(30),
        stop: stop.clone(),
    };
    let gate = Gate::new(&limits, [MerchantName::default_account()]);
    gate.set_paused(Paused::default());
    let worker = Worker {
        store: Arc::clone(&attempts.store),
        gateway: Arc::clone(&attempts.gateway),
        attempts: Arc::new(attempts),
        gate,
        rules: Rules { notification_path: "/n".to_owned(), production: false },
        budgets: Budgets { payment: Duration::from_secs(900), refund: Duration::from_secs(900) },
        outage: StoreOutage {
            store_state: watch::Sender::new(StoreState::Up),
            stalled: Arc::default(),
            stop: stop.clone(),
        },
    };
    (worker, steps, stop)
}
