//! What is in flight when the process is killed: one invoice for each fault of the sandbox, for each thing a
//! notification can say, and for each way to be turned away.

use crate::harness::{
    World,
    commands::{self, Message, refund_data},
    reports::Report,
    world::{CLIENT_ID, OTHER_CLIENT_ID},
};
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Payment,
    Refund,
    Notification,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Notification => "notification",
        }
    }
}

/// Strike alone, and again after DOKU has acted.
const BOTH_WAYS: [&str; 15] = [
    "drop",
    "reset",
    "cut_headers",
    "hang:900",
    "500",
    "503",
    "408",
    "429:0",
    "gateway_500",
    "empty_200",
    "html_200",
    "html_502",
    "redirect",
    "bare_409",
    "duplicate_409",
];
/// DOKU always acts, or has answered for good: a lie about that is no fault that anybody could see through.
const ONE_WAY: [&str; 14] = [
    "hang_then_act:900",
    "cut_json",
    "wrong_signature",
    "no_signature",
    "other_amount",
    "other_invoice",
    "status",
    "wrapped",
    "declined",
    "declined_message",
    "declined_list",
    "already_refunded",
    "not_found",
    "not_found_unsigned",
];
/// They stop a merchant's sends: that of the other one's, so that ours are in the window.
const KEY_REFUSED: [&str; 10] = [
    "401",
    "403",
    "405",
    "413",
    "html_403",
    "gateway_404",
    "invalid_signature",
    "invalid_client_id",
    "invalid_header_request",
    "request_time_out_of_range",
];
const PAYMENTS_ONLY: [&str; 10] = [
    "pending",
    "failed",
    "pay_fails",
    "expires",
    "never_pays",
    "check_drop*2",
    "check_500*2",
    "check_not_found*2",
    "check_html_200*2",
    "check_wrong_signature*2",
];
const REFUNDS_ONLY: [&str; 6] = [
    "pending",
    "failed",
    "act_then_drop,check_drop*2",
    "act_then_drop,check_not_found*2",
    "drop,check_500*2",
    "act_then_drop,check_wrong_signature",
];
/// They last until the command's sends have ended.
const TO_THE_END: [&str; 3] = ["429*", "drop*", "act_then_drop*"];

/// What must become of a case in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What DOKU's ledger says, and an outcome.
    Ledger,
    /// The same, or a person decides: DOKU contradicts itself, or nobody can find out.
    LedgerOrReview,
    Rejected,
    /// This state, whatever DOKU's ledger says: notifications alone decide.
    State(&'static str),
    /// Paid by what was parked before its claim: DOKU is not asked.
    PaidUnasked,
}

/// One invoice of a cell.
#[derive(Debug, Clone)]
pub struct Case {
    pub words: String,
    pub invoice: String,
    pub merchant: &'static str,
    pub command: Option<Message>,
    pub reports: Vec<Report>,
    pub end: End,
    /// The order that must be there before.
    pub needs: Option<Message>,
}

impl Case {
    fn new(words: &str, invoice: String, end: End) -> Self {
        let words = words.to_owned();
        let (command, reports, needs) = (None, Vec::new(), None);
        Self { words, invoice, merchant: "default", command, reports, end, needs }
    }

    fn needing(mut self, order: Message) -> Self {
        self.needs = Some(order.with("merchant", self.merchant));
        self
    }

    fn commanded(mut self, command: Message) -> Self {
        self.command = Some(command.with("merchant", self.merchant));
        self
    }

    pub fn client_id(&self) -> &'static str {
        if self.merchant == "default" { CLIENT_ID } else { OTHER_CLIENT_ID }
    }
}

/// What is put straight onto a queue, and ends in the dead one.
#[derive(Debug, Clone)]
pub struct Letter {
    pub exchange: &'static str,
    pub routing_key: &'static str,
    pub body: Vec<u8>,
}

/// Everything of one cell.
#[derive(Debug, Clone)]
pub struct Plays {
    pub cases: Vec<Case>,
    pub dead: Vec<Letter>,
}

impl Plays {
    pub fn new(world: &World, kind: Kind) -> Self {
        let mut cases = match kind {
            Kind::Payment => commanded(world, &PAYMENTS_ONLY, commands::payment_with),
            Kind::Refund => commanded(world, &REFUNDS_ONLY, commands::refund_with),
            Kind::Notification => notified(world),
        };
        if kind == Kind::Refund {
            let refunded = |case: Case| match case.end {
                End::Rejected => case,
                End::Ledger | End::LedgerOrReview | End::State(_) | End::PaidUnasked => {
                    let order = commands::payment(&case.invoice);
                    case.needing(order)
                }
            };
            cases = cases.into_iter().map(refunded).collect();
        }
        Self { cases, dead: dead(world, kind) }
    }

    /// When the sends of those end that play to the end.
    pub fn sends_end(&mut self, at: &str) {
        for case in self.cases.iter_mut().filter(|case| TO_THE_END.contains(&case.words.as_str())) {
            case.command = case.command.take().map(|command| command.with("expirytime", at));
        }
    }

    pub fn faults(&self) -> usize {
        self.cases.len() + self.dead.len()
    }
}

fn commanded(world: &World, own: &[&str], command: impl Fn(&str, &str) -> Message) -> Vec<Case> {
    let acted = BOTH_WAYS.map(|word| format!("act_then_{word}"));
    // The first is for the consumer, which begins with one delivery at a time.
    let words = ["$admin"].iter().chain(&BOTH_WAYS).chain(&ONE_WAY).chain(own).map(|w| (*w).to_owned());
    let mut cases: Vec<Case> = words
        .chain(acted)
        .map(|words| {
            let contradicts = words.starts_with("other_");
            let end = if contradicts { End::LedgerOrReview } else { End::Ledger };
            let invoice = world.invoice();
            let message = command(&invoice, &words);
            Case::new(&words, invoice, end).commanded(message)
        })
        .collect();
    for words in KEY_REFUSED {
        let invoice = world.invoice();
        let mut case = Case::new(words, invoice.clone(), End::Ledger);
        case.merchant = "other";
        cases.push(case.commanded(command(&invoice, words)));
    }
    for words in TO_THE_END {
        let invoice = world.invoice();
        let message = command(&invoice, words);
        cases.push(Case::new(words, invoice, End::LedgerOrReview).commanded(message));
    }
    for amount in ["0", "many"] {
        let invoice = world.invoice();
        let mut message = command(&invoice, "$admin");
        message.body["data"]["order"]["amount"] = json!(amount);
        cases.push(Case::new("a broken rule", invoice, End::Rejected).commanded(message));
    }
    let stranger = world.invoice();
    let unknown = Message::refund(refund_data(&stranger, "x"));
    cases.push(Case::new("an unknown order", stranger, End::Rejected).commanded(unknown));
    cases
}

/// What notifications say, and what that makes of an order that waits for its customer.
const SAID: [(&[(&str, &str)], &str); 14] = [
    (&[("SUCCESS", "\"50000\"")], "paid"),
    (&[("SUCCESS", "50000")], "paid"),
    (&[("SUCCESS", "50000.00")], "paid"),
    (&[("SUCCESS", "50001")], "review"),
    (&[("FAILED", "50000")], "failed"),
    (&[("EXPIRED", "50000")], "expired"),
    (&[("PENDING", "50000")], "awaiting_payment"),
    (&[("BOGUS", "50000")], "awaiting_payment"),
    (&[("SUCCESS", "50000"), ("SUCCESS", "50000")], "paid"),
    (&[("PENDING", "50000"), ("SUCCESS", "50000")], "paid"),
    (&[("FAILED", "50000"), ("SUCCESS", "50000")], "paid"),
    (&[("SUCCESS", "50000"), ("EXPIRED", "50000")], "paid"),
    (&[("SUCCESS", "50000"), ("REFUNDED", "50000")], "refunded"),
    (&[("REFUNDED", "50000")], "refunded"),
];
fn notified(world: &World) -> Vec<Case> {
    let mut cases: Vec<Case> = SAID
        .iter()
        .map(|(said, state)| {
            let words: Vec<String> =
                said.iter().map(|(status, amount)| format!("{status} {amount}")).collect();
            let mut case = Case::new(&words.join(", "), world.invoice(), End::State(state));
            case.reports = said.iter().map(|(s, amount)| Report::of(&case.invoice, s, amount)).collect();
            waiting(case)
        })
        .collect();
    let mut same = Case::new("the same twice", world.invoice(), End::State("paid"));
    same.reports = vec![Report::success(&same.invoice); 2];
    cases.push(waiting(same));
    for _ in 0..3 {
        let invoice = world.invoice();
        let mut parked = Case::new("parked before its order", invoice.clone(), End::PaidUnasked);
        parked.reports = vec![Report::success(&invoice)];
        cases.push(parked.commanded(commands::payment(&invoice)));
    }
    cases
}

fn waiting(case: Case) -> Case {
    let order = commands::payment_with(&case.invoice, "never_pays");
    case.needing(order)
}

fn dead(world: &World, kind: Kind) -> Vec<Letter> {
    let unsigned = Report { key: "SK-canary-forged".to_owned(), ..Report::success(&world.invoice()) };
    let (exchange, routing_key, others) = match kind {
        Kind::Payment => ("commands", "payment.request", commands::refund(&world.invoice()).bytes()),
        Kind::Refund => ("commands", "refund.request", commands::payment(&world.invoice()).bytes()),
        Kind::Notification => ("notifications", "any", unsigned.event().to_string().into_bytes()),
    };
    let unreadable = format!("{{ {}", world.invoice()).into_bytes();
    [unreadable, others].map(|body| Letter { exchange, routing_key, body }).into()
}

impl Plays {
    /// Those that play until their sends have ended, and the others.
    pub fn split(&self) -> (Self, Self) {
        let to_the_end = |case: &Case| TO_THE_END.contains(&case.words.as_str());
        let (last, others) = self.cases.iter().cloned().partition(to_the_end);
        (Self { cases: last, dead: Vec::new() }, Self { cases: others, dead: Vec::new() })
    }
}
