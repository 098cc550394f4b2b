//! The model of one order that the store is held against: the domain's decisions, folded in memory. It has
//! no SQL; what it adds to the domain is what the store adds: who holds a claim, and what is due.

use super::{evidence::report, *};
use crate::domain::{
    Time,
    attempt::{AttemptOf, AttemptTime, after_inquiry, after_lost, after_send},
    change::{Change, DueChange},
    command::CommandRef,
    event::OrderEvent,
    finding::{AttemptKind, DokuError},
    notification::Notification,
    order::{OrderState, Verdict},
    record::{OrderRecord, Progress},
    schedule::{Due, LostAttempt},
};
use proptest::{
    prelude::{Just, any},
    prop_oneof,
    sample::{Index, select},
    strategy::Strategy,
};

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Refund {
        amount: u64,
    },
    /// Follow-up takes the order on, if its time has come.
    Take,
    /// An operator asks.
    Inquire,
    /// Whoever holds, or held, a claim brings what was learned.
    Record {
        claim: Index,
        finding: Index,
    },
    GiveBack {
        claim: Index,
    },
    Notify {
        word: &'static str,
        amount: u64,
        request: Option<&'static str>,
    },
    Decide {
        verdict: Verdict,
        checked_doku: bool,
    },
    Wait {
        seconds: u32,
    },
}

const WORDS: [&str; 7] = ["SUCCESS", "FAILED", "EXPIRED", "REFUNDED", "PENDING", "TIMEOUT", "BOGUS"];
/// Most reports of these stories do not say which request they are about; some are about another.
const REQUESTS: [Option<&str>; 4] = [None, None, None, Some("VA-1")];
/// Within a lease, past it, past the budget, the grace, the afterwards, and the give-up.
const WAITS: [u32; 6] = [1, 50, 1000, 5000, 90_000, 260_000];

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Mostly the right amount: another one is the end of all but an operator's stories.
    let amount = || prop_oneof![15 => Just(50_000_u64), 1 => Just(49_999)];
    let op = prop_oneof![
        2 => amount().prop_map(|amount| Op::Refund { amount }),
        3 => Just(Op::Take),
        1 => Just(Op::Inquire),
        6 => (any::<Index>(), any::<Index>()).prop_map(|(claim, finding)| Op::Record { claim, finding }),
        1 => any::<Index>().prop_map(|claim| Op::GiveBack { claim }),
        3 => (select(WORDS.to_vec()), amount(), select(REQUESTS.to_vec()))
            .prop_map(|(word, amount, request)| Op::Notify { word, amount, request }),
        2 => (select(Verdict::ALL.to_vec()), any::<bool>())
            .prop_map(|(verdict, checked_doku)| Op::Decide { verdict, checked_doku }),
        3 => select(WAITS.to_vec()).prop_map(|seconds| Op::Wait { seconds }),
    ];
    (select(beginnings()), proptest::collection::vec(op, 1..25))
        .prop_map(|(beginning, then)| beginning.into_iter().chain(then).collect())
}

/// Where chance alone seldom comes: paid, refunding, a refund in doubt after its end, a long wait.
fn beginnings() -> Vec<Vec<Op>> {
    let notify = |word| Op::Notify { word, amount: 50_000, request: None };
    let refund = || Op::Refund { amount: 50_000 };
    let wait = |seconds| Op::Wait { seconds };
    vec![
        vec![],
        vec![notify("SUCCESS")],
        vec![notify("SUCCESS"), refund()],
        vec![notify("SUCCESS"), refund(), wait(1000), Op::Take],
        vec![notify("PENDING"), wait(260_000), Op::Take],
        vec![wait(1000), Op::Take],
    ]
}

/// What an attempt of a kind may teach.
pub(super) fn learned(kind: AttemptKind, finding: &Index) -> Finding {
    let error = || DokuError { code: "declined".to_owned(), message: "no".to_owned() };
    let why = || "why".to_owned();
    let sends = [
        SendFindingKind::Accepted { status: "SUCCESS".to_owned() },
        SendFindingKind::Accepted { status: "PENDING".to_owned() },
        SendFindingKind::Failed { status: "FAILED".to_owned() },
        SendFindingKind::Declined(error()),
        SendFindingKind::NotActed { why: why() },
        SendFindingKind::InDoubt { why: why() },
        SendFindingKind::Contradiction { why: why() },
    ];
    let mut inquiries: Vec<_> =
        WORDS.iter().map(|word| InquiryFindingKind::Reported(report(word, 50_000))).collect();
    inquiries.push(InquiryFindingKind::Reported(report("SUCCESS", 49_999)));
    let about_another = |word| Report { request: Some("VA-1".to_owned()), ..report(word, 50_000) };
    inquiries.extend(["SUCCESS", "FAILED"].map(|word| InquiryFindingKind::Reported(about_another(word))));
    inquiries.extend([true, false].map(|proves| InquiryFindingKind::NotFound { proves }));
    inquiries.extend([why(), why()].map(|why| InquiryFindingKind::Failed { why }));
    match kind {
        AttemptKind::Send => send(finding.get(&sends).clone()),
        AttemptKind::Inquiry => {
            let finding = finding.get(&inquiries).clone();
            Finding::Inquiry(InquiryFinding { kind: finding, http_status: None, retry_after: None })
        }
    }
}

/// An attempt under way.
pub(super) struct Holding {
    pub claim: usize,
    pub ends_at: Time,
    kind: AttemptKind,
    claimed_at: Time,
}

/// A claim that was given away.
struct Given {
    /// 0 for the payment, then the refunds.
    command: usize,
    recorded: bool,
}

pub(super) struct Model {
    pub now: Time,
    pub order: OrderRecord,
    /// With the claim that holds it.
    pub due: Option<(Due, Option<Holding>)>,
    pub events: Vec<OrderEvent>,
    /// By notifications.
    told: Vec<Notification>,
    schedule: AttemptSchedule,
    lease: Duration,
    claims: Vec<Given>,
    /// Refunds that were accepted, and those that were asked for.
    refunds: usize,
    asked: usize,
}

impl Model {
    /// A payment that was claimed just now.
    pub fn open(order: OrderRecord, lease: Duration, schedule: AttemptSchedule) -> Self {
        let now = order.payment.claimed_at;
        let due = schedule.open(&order.payment, 0, now);
        let claims = vec![Given { command: 0, recorded: false }];
        let holding = Holding { claim: 0, ends_at: now + lease, kind: AttemptKind::Send, claimed_at: now };
        let due = Some((due, Some(holding)));
        Self { now, order, due, events: vec![], told: vec![], schedule, lease, claims, refunds: 0, asked: 0 }
    }

    fn apply(&mut self, change: Change) {
        self.order = change.order;
        self.events.extend(change.events);
        match change.due {
            DueChange::Keep => {}
            DueChange::Replace(due) => self.due = due.map(|due| (due, None)),
        }
    }

    fn give(&mut self, due: Due, kind: AttemptKind, command: usize) {
        let (claim, claimed_at, ends_at) = (self.claims.len(), self.now, self.now + self.lease);
        self.due = Some((due, Some(Holding { claim, ends_at, kind, claimed_at })));
        self.claims.push(Given { command, recorded: false });
    }

    pub fn refund(&mut self, amount: u64, budget: Duration) {
        self.asked += 1;
        if self.order.refuses_refund(Rupiah::new(amount).unwrap()).is_some() {
            return;
        }
        self.refunds += 1;
        let id = CommandId::parse(format!("r{}-{}", self.asked, self.order.invoice_number)).unwrap();
        let identity = Identity { source: CommandSource::parse("/shop").unwrap(), id };
        let request_id = refund_request_id(&merchant(), &identity);
        let sends_end_at = self.now + budget;
        self.order.state = OrderState::Refunding;
        self.order.state_since = self.now;
        self.order.checks_made = 0;
        self.order.earlier_refunds.extend(self.order.refund.take().map(|refund| refund.command.request_id));
        self.order.refund = Some(Progress {
            kind: CommandKind::Refund,
            command: CommandRef { identity, request_id },
            outcome: None,
            claimed_at: self.now,
            sends_end_at,
            sends: 0,
            last_send_at: None,
            maybe_acted_at: None,
            doubted_at: None,
            inquired_at: None,
            failed_inquiries: 0,
            contradictions: 0,
            ask_first: false,
        });
        let due = self.schedule.opened_refund(self.now, sends_end_at);
        self.give(due, AttemptKind::Send, self.refunds);
    }

    /// What follow-up would take on.
    pub fn ripe(&self) -> Option<DueNeed> {
        let (due, holding) = self.due.as_ref()?;
        match holding {
            Some(holding) => (holding.ends_at <= self.now).then_some(DueNeed::Lost),
            None if due.sends_at(self.now) && !due.asks_first(self.now) => {
                Some(DueNeed::Send { inquiry_held_back: false })
            }
            None => (due.inquiry.at <= self.now).then_some(DueNeed::Inquiry),
        }
    }

    /// The order, with an attempt made up for whose lease ran out; `None` if one is under way.
    fn found(&self) -> Option<(OrderRecord, Due)> {
        let (due, holding) = self.due.as_ref()?;
        let Some(holding) = holding else { return Some((self.order.clone(), *due)) };
        if holding.ends_at > self.now {
            return None;
        }
        let (kind, started_at, lease_ended_at) = (holding.kind, holding.claimed_at, holding.ends_at);
        let lost = LostAttempt { kind, started_at, lease_ended_at, now: self.now };
        let order = after_lost(self.order.clone(), &lost).0;
        let due = self.schedule.after_lost(&order, &lost, due, 0.5);
        Some((order, due))
    }

    pub fn take(&mut self, wanted: DueNeed) {
        let Some((order, due)) = self.found() else { return };
        self.order = order;
        match wanted {
            DueNeed::Lost => self.due = Some((due, None)),
            DueNeed::Send { .. } => self.give(due, AttemptKind::Send, self.asked_about()),
            DueNeed::Inquiry => self.give(due, AttemptKind::Inquiry, self.asked_about()),
        }
    }

    /// Only a send's command matters: it is the open one.
    fn asked_about(&self) -> usize {
        if self.order.state == OrderState::Refunding { self.refunds } else { 0 }
    }

    pub fn inquire(&mut self) {
        match self.found().filter(|(_, due)| due.inquiry.at <= self.now) {
            Some((order, due)) => {
                self.order = order;
                self.give(due, AttemptKind::Inquiry, self.asked_about());
            }
            None => self.claims.push(Given { command: 0, recorded: false }),
        }
    }

    fn holds(&self, claim: usize) -> bool {
        let holding = self.due.as_ref().and_then(|(_, holding)| holding.as_ref());
        holding.is_some_and(|holding| holding.claim == claim)
    }

    pub fn record(&mut self, claim: usize, learned: &Finding) {
        let claim_held = self.holds(claim);
        let given = &mut self.claims[claim];
        if given.recorded && !claim_held {
            return;
        }
        given.recorded = true;
        let of = match given.command {
            0 => AttemptOf::Payment,
            number if number == self.refunds => AttemptOf::Refund,
            _ => AttemptOf::EarlierRefund,
        };
        let due = self.due.as_ref().map(|(due, _)| *due);
        let send_at = due.and_then(|due| due.send).map(|send| send.at);
        let (inquiry, now) = (due.map(|due| due.inquiry.rank), self.now);
        let time = AttemptTime { started_at: now, now, claim_held, send_at, inquiry, chance: 0.5 };
        let order = self.order.clone();
        let attempted = match learned {
            Finding::Send(learned) => after_send(order, of, learned, time, &self.schedule),
            Finding::Inquiry(learned) => after_inquiry(order, learned, time, &self.schedule),
        };
        self.apply(attempted.change);
    }

    pub fn give_back(&mut self, claim: usize) {
        let now = self.now;
        if self.holds(claim)
            && let Some((due, holding)) = &mut self.due
            && let Some(given) = holding.take()
        {
            match (given.kind, &mut due.send) {
                (AttemptKind::Send, Some(send)) => send.at = now,
                (AttemptKind::Send, None) => {}
                (AttemptKind::Inquiry, _) => due.inquiry.at = now,
            }
        }
    }

    pub fn notify(&mut self, notification: &Notification) {
        let already_reported = self.told.iter().any(|told| told.report_key() == notification.report_key());
        let (change, _) =
            self.order.clone().apply_notification(notification, already_reported, &self.schedule, self.now);
        self.told.push(notification.clone());
        self.apply(change);
    }

    /// Whether the decision was taken.
    pub fn decide(&mut self, verdict: Verdict, checked_doku: bool) -> bool {
        let is_of_cause =
            self.order.state.review_cause().is_some_and(|cause| cause.verdicts().contains(&verdict));
        let allows_refund = verdict == Verdict::Paid && self.order.refund_is_unresolved();
        if !is_of_cause || allows_refund && !checked_doku {
            return false;
        }
        let change = self.order.clone().after_verdict(verdict, &self.schedule, self.now);
        self.apply(change);
        true
    }
}
