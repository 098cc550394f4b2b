//! An order as people and programs are shown it: the objects of `orders list|show --json`. Plain words and
//! times; reading these decides nothing.

pub mod csv;
pub mod letters;
pub mod settlement;
mod timeline;

pub use timeline::{StepKind, TimelineStep, steps};

use crate::domain::Time;
use serde::Serialize;

/// An order without its lists: a row of `orders list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderSummary {
    /// Grows from order to order: where a page of a list ends.
    #[serde(skip)]
    pub key: i64,
    /// Grows with every write: a form that shows another one shows an order that is not so any more.
    #[serde(skip)]
    pub revision: i64,
    pub merchant: String,
    pub invoice_number: String,
    /// Whole rupiah, in digits.
    pub amount: String,
    pub state: String,
    /// For people: why a person must decide.
    #[serde(skip)]
    pub review_cause: Option<String>,
    /// For people: it ended long ago, and its request, attempts and notifications were taken away.
    #[serde(skip)]
    pub pruned: bool,
    /// When it was claimed, and since when it is what it is.
    pub created_at: Time,
    pub state_since: Time,
    pub version: u32,
    /// The payment's; `None`: it was imported, no command asked for it.
    pub command: Option<CommandView>,
    /// `None`: it was imported from a file without it.
    pub request_id: Option<String>,
    /// DOKU's own word, the last one believed.
    pub doku_status: Option<String>,
    pub evidence: Option<String>,
    pub due: Option<DueView>,
    /// What keeps its due send from going.
    pub blocked: Option<BlockedView>,
    /// The latest refund, where one was asked for.
    pub refund: Option<RefundView>,
}

/// All that is known of an order: `orders show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderView {
    #[serde(flatten)]
    pub order: OrderSummary,
    /// The payment's.
    pub attempts: Vec<AttemptView>,
    pub history: Vec<HistoryView>,
    pub notifications: Vec<NotificationView>,
    /// DOKU's rows of it, once a settlement file has them.
    pub settlement: Vec<SettlementRowView>,
    /// For people: what operators decided, and why.
    #[serde(skip)]
    pub decisions: Vec<DecisionView>,
    /// For people: what else operators did to it.
    #[serde(skip)]
    pub actions: Vec<ActionView>,
}

/// Which command it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandView {
    pub id: String,
    pub source: String,
}

/// What an order waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DueView {
    /// `send` or `inquiry`.
    pub kind: String,
    pub at: Time,
}

/// What keeps a due send from going.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockedView {
    /// `pause`, `breaker`, `stranded` or `rate`.
    pub by: String,
    pub since: Time,
    /// For a person.
    pub detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundView {
    pub command: CommandView,
    pub request_id: String,
    pub reason: String,
    /// `open`, or its outcome.
    pub state: String,
    /// Absent in a list of orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
}

/// One round trip to DOKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// Within its command, from 1.
    pub number: u32,
    /// `send` or `inquiry`.
    pub kind: String,
    pub started_at: Time,
    /// `None`: nothing was recorded.
    pub finished_at: Option<Time>,
    pub http_status: Option<u16>,
    pub result: String,
    /// For people: why, where the result does not say it.
    #[serde(skip)]
    pub detail: Option<String>,
}

/// One published change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryView {
    pub version: u32,
    pub state: String,
    pub evidence: String,
    pub at: Time,
    pub event_id: String,
    pub event_type: String,
    /// `None`: it waits in the outbox.
    pub published_at: Option<Time>,
}

/// One verified notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotificationView {
    pub received_at: Time,
    pub request_id: String,
    pub status: Option<String>,
    pub amount: Option<String>,
    pub applied: bool,
    /// Why it was not applied: `duplicate`, `no_change`, `amount_mismatch`, `incomplete`, `other_request`, `not_bound`.
    pub reason: Option<String>,
    /// The request that it is about; for a person to find it at DOKU.
    #[serde(skip)]
    pub about: Option<String>,
    /// `jenius` or `snap`: in which form DOKU sent it; for a person.
    #[serde(skip)]
    pub form: String,
}

/// A row of DOKU's settlement file about an order. Amounts are whole rupiah, in digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettlementRowView {
    /// When its file was read here.
    pub seen_at: Time,
    pub batch: String,
    pub paid_out_on: String,
    /// `purchase`, `refund` or `unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    pub gross: String,
    pub fee: String,
    pub discount: String,
    pub net: String,
}

/// What an operator decided about an order in review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionView {
    pub at: Time,
    pub review_cause: String,
    /// What the order became.
    pub state: String,
    pub reason: String,
    pub decided_by: Option<String>,
}

/// What one person proposes about an order in review, and a second must agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalView {
    /// What the order would become.
    pub state: String,
    pub checked_doku: bool,
    pub reason: String,
    pub proposed_by: String,
    /// A proxy or a provider gave the name: only then it counts as one of the two.
    pub is_verified: bool,
    pub until: Time,
}

/// What operators did, the latest first, as far as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionPage {
    pub actions: Vec<ActionView>,
    /// Behind the last of them, if there are more.
    pub next: Option<ActionPlace>,
}

/// A place among what operators did: actions and decisions have keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionPlace {
    pub action: i64,
    pub decision: i64,
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionView {
    pub at: Time,
    pub action: String,
    /// What it was done to: an invoice number, a scope, a dead letter.
    pub subject: String,
    pub merchant: Option<String>,
    pub reason: Option<String>,
    pub done_by: Option<String>,
    pub detail: Option<String>,
    /// The address of the browser, where the console did it.
    pub done_from: Option<String>,
}

/// A merchant whose sends a breaker stops now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopView {
    pub merchant: String,
    pub since: Time,
    /// For a person.
    pub detail: String,
}

/// A pause of sends that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseView {
    /// `*` for all merchants, or one merchant.
    pub scope: String,
    pub since: Time,
    pub reason: Option<String>,
    pub paused_by: Option<String>,
}

/// A sample order of `orders show`, for the tests of everything that shows one.
#[cfg(test)]
pub mod sample {
    use super::*;

    pub fn at(second: i64) -> Time {
        Time::from_timestamp(1_767_225_600 + second, 0).unwrap_or_default()
    }

    pub fn attempt(number: u32, second: i64, result: &str) -> AttemptView {
        AttemptView {
            number,
            kind: "send".to_owned(),
            started_at: at(second),
            finished_at: Some(at(second + 1)),
            http_status: Some(200),
            result: result.to_owned(),
            detail: None,
        }
    }

    fn history(version: u32, state: &str, evidence: &str, second: i64, event: &str) -> HistoryView {
        HistoryView {
            version,
            state: state.to_owned(),
            evidence: evidence.to_owned(),
            at: at(second),
            event_id: format!("event-{version}"),
            event_type: event.to_owned(),
            published_at: Some(at(second)),
        }
    }

    pub fn order() -> OrderView {
        OrderView {
            order: OrderSummary {
                key: 1,
                revision: 1,
                merchant: "default".to_owned(),
                invoice_number: "INV-1".to_owned(),
                amount: "50000".to_owned(),
                state: "paid".to_owned(),
                review_cause: None,
                pruned: false,
                created_at: at(0),
                state_since: at(10),
                version: 2,
                command: Some(CommandView { id: "c-1".to_owned(), source: "/shop".to_owned() }),
                request_id: Some("INV-1".to_owned()),
                doku_status: Some("SUCCESS".to_owned()),
                evidence: Some("notification".to_owned()),
                due: None,
                blocked: None,
                refund: None,
            },
            attempts: vec![attempt(1, 0, "accepted")],
            history: vec![
                history(1, "awaiting_payment", "response", 1, "jenius.payment.accepted.v1"),
                history(2, "paid", "notification", 10, "jenius.order.paid.v1"),
            ],
            notifications: vec![NotificationView {
                received_at: at(10),
                request_id: "n-1".to_owned(),
                status: Some("SUCCESS".to_owned()),
                amount: Some("50000".to_owned()),
                applied: true,
                reason: None,
                about: None,
                form: "jenius".to_owned(),
            }],
            settlement: vec![],
            decisions: vec![],
            actions: vec![],
        }
    }

    pub fn refund() -> RefundView {
        RefundView {
            command: CommandView { id: "r-1".to_owned(), source: "/shop".to_owned() },
            request_id: "r".to_owned(),
            reason: "cancelled".to_owned(),
            state: "open".to_owned(),
            attempts: Some(vec![attempt(1, 20, "in_doubt")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_is_written_with_every_documented_member() {
        let expected = json!({"merchant":"default","invoice_number":"INV-1","amount":"50000","state":"paid",
            "created_at":"2026-01-01T00:00:00Z","state_since":"2026-01-01T00:00:10Z","version":2,"command":{"id":"c-1","source":"/shop"},"request_id":"INV-1","doku_status":"SUCCESS",
            "evidence":"notification","due":null,"blocked":null,"refund":null,
            "attempts":[{"number":1,"kind":"send","started_at":"2026-01-01T00:00:00Z",
                "finished_at":"2026-01-01T00:00:01Z","http_status":200,"result":"accepted"}],
            "history":[
                {"version":1,"state":"awaiting_payment","evidence":"response","at":"2026-01-01T00:00:01Z",
                 "event_id":"event-1","event_type":"jenius.payment.accepted.v1",
                 "published_at":"2026-01-01T00:00:01Z"},
                {"version":2,"state":"paid","evidence":"notification","at":"2026-01-01T00:00:10Z",
                 "event_id":"event-2","event_type":"jenius.order.paid.v1",
                 "published_at":"2026-01-01T00:00:10Z"}],
            "notifications":[{"received_at":"2026-01-01T00:00:10Z","request_id":"n-1","status":"SUCCESS",
                "amount":"50000","applied":true,"reason":null}],
            "settlement":[]});
        assert_eq!(serde_json::to_value(sample::order()).unwrap(), expected);
    }

    #[test]
    fn a_list_has_no_lists_in_it() {
        let mut order = sample::order().order;
        order.due = Some(DueView { kind: "inquiry".to_owned(), at: sample::at(60) });
        order.refund = Some(RefundView { attempts: None, ..sample::refund() });
        let written = serde_json::to_value(order).unwrap();
        assert_eq!(written["due"], json!({"kind":"inquiry","at":"2026-01-01T00:01:00Z"}));
        let refund = json!({"command":{"id":"r-1","source":"/shop"},"request_id":"r","reason":"cancelled",
            "state":"open"});
        assert_eq!(written["refund"], refund);
        assert!(written.as_object().unwrap().values().all(|member| !member.is_array()), "{written}");
        assert!(serde_json::to_value(sample::refund()).unwrap()["attempts"].is_array());
    }
}
