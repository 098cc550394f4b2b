//! DOKU's memory and its rules: what was charged, what was refunded, and which Request-Id got which answer.
//! It is the only writer of what the ledger shows. It never talks to anybody and never reads a clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use url::Url;

use super::answer::{SandboxAnswer, StatusReport, order_body};
use super::body;
use super::check::Caller;
use super::fault_script::{FaultScript, ScriptedFault};
use super::faults::{AnswerStatus, NotifyHabit};
use super::ledger::{
    Charge, Ledger, NOTIFICATIONS_KEPT_MAX, NotificationSend, Operation, REQUESTS_KEPT_MAX, Refund, Request,
    TransactionStatus,
};

/// A merchant's Client-Id with an invoice number or a Request-Id of his.
pub(super) type BookKey = (Arc<str>, String);

/// An order's place in the book; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderIndex(usize);

/// What is to happen because DOKU has acted.
pub(super) enum Then {
    CustomerPays { order: OrderIndex, plan: Arc<FaultScript> },
    RefundIsNotified { order: OrderIndex },
}

pub(super) struct Acted {
    pub(super) answer: SandboxAnswer,
    /// Whether DOKU acted now, and not when it was asked the same before.
    pub(super) now: bool,
    pub(super) then: Option<Then>,
}

impl Acted {
    fn not(answer: SandboxAnswer) -> Self {
        Self { answer, now: false, then: None }
    }
}

/// What a notification is made of.
pub(super) struct Facts {
    pub(super) client_id: Arc<str>,
    pub(super) invoice_number: String,
    pub(super) amount: u64,
    pub(super) original_request_id: String,
    pub(super) notify_url: Option<Url>,
}

struct BookedOrder {
    charge: Charge,
    client_id: Arc<str>,
    changed_at: DateTime<Utc>,
    notify_url: Option<Url>,
    inquiries: u64,
    /// The script that inquiries follow: the payment's, then the refund's if it has any.
    plan: Arc<FaultScript>,
}

#[derive(Default)]
struct Known {
    sends: u64,
    remembered: Option<Remembered>,
    /// Of an invoice that is not known yet.
    inquiries: u64,
}

/// What makes a Request-Id idempotent.
struct Remembered {
    operation: Operation,
    digest: Option<String>,
    body: Bytes,
    order: OrderIndex,
}

#[derive(Default)]
pub(super) struct Book {
    orders: Vec<BookedOrder>,
    by_invoice: HashMap<BookKey, OrderIndex>,
    known: HashMap<BookKey, Known>,
    refunds: Vec<Refund>,
    requests: VecDeque<Request>,
    notifications: VecDeque<NotificationSend>,
    refused: BTreeMap<&'static str, u64>,
}

impl Book {
    /// How many sends of this Request-Id came before.
    pub(super) fn count_send(&mut self, caller: &Caller) -> u64 {
        let known = self.known.entry(key(caller, &caller.request_id)).or_default();
        known.sends += 1;
        known.sends - 1
    }

    /// The fault of the order's own plan for this inquiry, and how many inquiries came before.
    pub(super) fn count_inquiry(&mut self, caller: &Caller, id: &str) -> (Option<ScriptedFault>, u64) {
        let Some(order) = self.find(caller, id) else {
            let unknown = self.known.entry(key(caller, id)).or_default();
            unknown.inquiries += 1;
            return (None, unknown.inquiries - 1);
        };
        let order = &mut self.orders[order.0];
        let nth = order.inquiries;
        order.inquiries += 1;
        (order.plan.inquiry(nth), nth)
    }

    pub(super) fn pay(
        &mut self,
        caller: &Caller,
        payment: &body::Payment,
        plan: &Arc<FaultScript>,
        now: DateTime<Utc>,
    ) -> Acted {
        if let Some(answer) = self.replay(caller, Operation::Payment) {
            return Acted::not(answer);
        }
        if self.by_invoice.contains_key(&key(caller, &payment.invoice_number)) {
            return Acted::not(SandboxAnswer::envelope(
                409,
                "DUPLICATE_TRANSACTION",
                "Invoice number was used",
            ));
        }
        let (word, status) = match plan.answers() {
            None => ("SUCCESS", TransactionStatus::Pending),
            Some(AnswerStatus::Pending) => ("PENDING", TransactionStatus::Pending),
            Some(AnswerStatus::Failed) => ("FAILED", TransactionStatus::Failed),
        };
        let notify_url = payment.notify_url.as_ref().map(Url::as_str);
        let body = order_body(&payment.invoice_number, payment.amount, word, notify_url);
        let charge = Charge {
            at: now,
            client_id: caller.client_id.to_string(),
            request_id: caller.request_id.clone(),
            invoice_number: payment.invoice_number.clone(),
            amount: payment.amount,
            status,
        };
        let order = self.open(&caller.client_id, charge, payment.notify_url.clone(), plan.clone());
        self.remember(caller, Operation::Payment, body.clone(), order);
        let pays = status == TransactionStatus::Pending;
        let then = pays.then(|| Then::CustomerPays { order, plan: plan.clone() });
        Acted { answer: SandboxAnswer::ok(body), now: true, then }
    }

    pub(super) fn refund(
        &mut self,
        caller: &Caller,
        asked: &body::Refund,
        plan: &Arc<FaultScript>,
        now: DateTime<Utc>,
    ) -> Acted {
        if let Some(answer) = self.replay(caller, Operation::Refund) {
            return Acted::not(answer);
        }
        let found = self.by_invoice.get(&key(caller, &asked.invoice_number)).copied();
        let index =
            match found.ok_or("order_not_found").and_then(|index| self.refundable(index, asked.amount)) {
                Ok(index) => index,
                Err(code) => {
                    return Acted::not(SandboxAnswer::envelope(400, code, "The order cannot be refunded"));
                }
            };
        let (word, status) = match plan.answers() {
            None => ("SUCCESS", TransactionStatus::Success),
            Some(AnswerStatus::Pending) => ("PENDING", TransactionStatus::Success),
            Some(AnswerStatus::Failed) => ("FAILED", TransactionStatus::Failed),
        };
        if status == TransactionStatus::Success {
            self.change(index, TransactionStatus::Refunded, now);
        }
        if plan.has_inquiries() {
            let order = &mut self.orders[index.0];
            order.plan = plan.clone();
            order.inquiries = 0;
        }
        self.refunds.push(Refund {
            at: now,
            client_id: caller.client_id.to_string(),
            request_id: caller.request_id.clone(),
            invoice_number: asked.invoice_number.clone(),
            amount: asked.amount,
            status,
        });
        let body = order_body(&asked.invoice_number, asked.amount, word, None);
        self.remember(caller, Operation::Refund, body.clone(), index);
        let then = plan.notifies(NotifyHabit::Refunded).then_some(Then::RefundIsNotified { order: index });
        Acted { answer: SandboxAnswer::ok(body), now: true, then }
    }

    fn refundable(&self, index: OrderIndex, amount: u64) -> Result<OrderIndex, &'static str> {
        let charge = &self.orders[index.0].charge;
        match charge.status {
            TransactionStatus::Refunded => Err("already_refunded"),
            TransactionStatus::Pending | TransactionStatus::Failed | TransactionStatus::Expired => {
                Err("order_not_paid")
            }
            TransactionStatus::Success if charge.amount != amount => Err("amount_mismatch"),
            TransactionStatus::Success => Ok(index),
        }
    }

    /// Check Status, by invoice number or by the Request-Id of a request that was acted on.
    pub(super) fn inquire(&self, caller: &Caller, id: &str) -> SandboxAnswer {
        let Some(index) = self.find(caller, id) else { return SandboxAnswer::not_found() };
        let order = &self.orders[index.0];
        let report = StatusReport {
            invoice_number: &order.charge.invoice_number,
            amount: &format!("\"{}\"", order.charge.amount),
            status: order.charge.status.as_str(),
            date: order.changed_at,
            original_request_id: &order.charge.request_id,
        };
        SandboxAnswer::ok(report.body())
    }

    /// A known Request-Id: the same body gets the same answer as 409, another body an error.
    fn replay(&self, caller: &Caller, operation: Operation) -> Option<SandboxAnswer> {
        let remembered = self.known.get(&key(caller, &caller.request_id))?.remembered.as_ref()?;
        if remembered.operation == operation && remembered.digest == caller.digest {
            return Some(SandboxAnswer { status: 409, body: remembered.body.clone() });
        }
        Some(SandboxAnswer::envelope(409, "idempotent_request", "Request-Id was used with another request"))
    }

    fn remember(&mut self, caller: &Caller, operation: Operation, body: Bytes, order: OrderIndex) {
        let remembered = Remembered { operation, digest: caller.digest.clone(), body, order };
        self.known.entry(key(caller, &caller.request_id)).or_default().remembered = Some(remembered);
    }

    fn find(&self, caller: &Caller, id: &str) -> Option<OrderIndex> {
        let key = key(caller, id);
        self.by_invoice.get(&key).copied().or_else(|| Some(self.known.get(&key)?.remembered.as_ref()?.order))
    }

    /// Opens an order; one that exists already is left as it is.
    pub(super) fn open(
        &mut self,
        client_id: &Arc<str>,
        charge: Charge,
        notify_url: Option<Url>,
        plan: Arc<FaultScript>,
    ) -> OrderIndex {
        let next = OrderIndex(self.orders.len());
        let index =
            *self.by_invoice.entry((client_id.clone(), charge.invoice_number.clone())).or_insert(next);
        if index == next {
            let changed_at = charge.at;
            let client_id = client_id.clone();
            self.orders.push(BookedOrder { charge, client_id, changed_at, notify_url, inquiries: 0, plan });
        }
        index
    }

    pub(super) fn order_of(&self, client_id: &Arc<str>, invoice_number: &str) -> Option<OrderIndex> {
        self.by_invoice.get(&(client_id.clone(), invoice_number.to_owned())).copied()
    }

    pub(super) fn change(&mut self, index: OrderIndex, status: TransactionStatus, now: DateTime<Utc>) {
        let order = &mut self.orders[index.0];
        order.charge.status = status;
        order.changed_at = now;
    }

    pub(super) fn status(&self, index: OrderIndex) -> TransactionStatus {
        self.orders[index.0].charge.status
    }

    pub(super) fn facts(&self, index: OrderIndex) -> Facts {
        let order = &self.orders[index.0];
        Facts {
            client_id: order.client_id.clone(),
            invoice_number: order.charge.invoice_number.clone(),
            amount: order.charge.amount,
            original_request_id: order.charge.request_id.clone(),
            notify_url: order.notify_url.clone(),
        }
    }

    pub(super) fn note_request(&mut self, request: Request) {
        if self.requests.len() == REQUESTS_KEPT_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    pub(super) fn note_notification(&mut self, sent: NotificationSend) {
        if self.notifications.len() == NOTIFICATIONS_KEPT_MAX {
            self.notifications.pop_front();
        }
        self.notifications.push_back(sent);
    }

    pub(super) fn note_refused(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    pub(super) fn snapshot(&self) -> Ledger {
        Ledger {
            charges: self.orders.iter().map(|order| order.charge.clone()).collect(),
            refunds: self.refunds.clone(),
            requests: self.requests.iter().cloned().collect(),
            notifications: self.notifications.iter().cloned().collect(),
            refused: self.refused.clone(),
        }
    }
}

fn key(caller: &Caller, id: &str) -> BookKey {
    (caller.client_id.clone(), id.to_owned())
}
