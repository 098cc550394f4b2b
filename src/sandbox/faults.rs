//! The tables of misbehaviour: each word, what it means, and what it does. Parsing, choosing, the listing of
//! `GET /help` and the random faults all read these tables; a word that is not here does not exist.

use super::ledger::TransactionStatus;
use super::snap::SnapSignature;

/// What takes the place of a true answer, or spoils it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Drop,
    Reset,
    CutHeaders,
    Hang,
    HangThenAct,
    Canned(Canned),
    CutJson,
    WrongSignature,
    NoSignature,
    OtherAmount,
    OtherInvoice,
    OtherStatus,
    OtherRequest,
    Wrapped,
}

/// An answer that does not depend on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canned {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: &'static str,
    pub(super) signed: bool,
}

/// Whether DOKU does what it was asked to do before the fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acts {
    /// Only as `act_then_<word>`.
    IfPrefixed,
    /// The fault spoils the true answer, so there must be one.
    Always,
    /// After the client has long stopped waiting.
    Later,
}

pub(super) struct FaultWord {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) fault: Fault,
    pub(super) acts: Acts,
    /// Whether a random fault may be this one: those that end soon, and that a right client gets over.
    pub(super) random: bool,
}

/// What an order does beyond the answers to its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderScript {
    /// The status the request is answered with, in place of SUCCESS.
    Answers(AnswerStatus),
    /// The transaction's statuses, one every `pay_after_ms`.
    Goes(&'static [TransactionStatus]),
    Notifies(NotifyHabit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerStatus {
    Pending,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotifyHabit {
    Never,
    Twice,
    Late,
    Reordered,
    WrongAmount,
    Number,
    Decimal,
    Refunded,
    Snap(SnapSignature),
    Both,
}

pub(super) struct HabitWord {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) habit: OrderScript,
}

const fn json(status: u16, body: &'static str, signed: bool) -> Fault {
    Fault::Canned(Canned { status, content_type: "application/json", body, signed })
}

const fn html(status: u16, body: &'static str) -> Fault {
    Fault::Canned(Canned { status, content_type: "text/html", body, signed: false })
}

const fn empty(status: u16) -> Fault {
    Fault::Canned(Canned { status, content_type: "text/plain", body: "", signed: false })
}

const fn word(
    name: &'static str,
    acts: Acts,
    random: bool,
    fault: Fault,
    meaning: &'static str,
) -> FaultWord {
    FaultWord { name, meaning, fault, acts, random }
}

const GATEWAY_500: &str =
    r#"{"timestamp":"2021-07-07T08:45:42.000+0000","status":500,"error":"Internal Server Error","path":"/"}"#;
const GATEWAY_404: &str =
    r#"{"timestamp":"2021-07-07T08:45:42.000+0000","status":404,"error":"Not Found","path":"/"}"#;
const NOT_FOUND: &str =
    r#"{"error":{"code":"data_not_found","message":"Order not found","type":"invalid_request_error"}}"#;
const SERVER_ERROR: &str =
    r#"{"error":{"code":"internal_server_error","message":"Internal Server Error","type":"server_error"}}"#;

use Acts::{Always, IfPrefixed, Later};

#[rustfmt::skip]
pub(super) const FAULT_WORDS: &[FaultWord] = &[
    word("drop", IfPrefixed, true, Fault::Drop, "close the connection without a byte of an answer"),
    word("reset", IfPrefixed, true, Fault::Reset, "the same, with a TCP reset"),
    word("cut_headers", IfPrefixed, true, Fault::CutHeaders, "close the connection after a 200's headers"),
    word("hang", IfPrefixed, false, Fault::Hang, "keep the connection open without an answer for :MS milliseconds, then drop it"),
    word("hang_then_act", Later, false, Fault::HangThenAct, "keep silent for :MS milliseconds, and act only then, whether or not the client waits"),
    word("500", IfPrefixed, true, json(500, SERVER_ERROR, false), "500 with an error envelope"),
    word("503", IfPrefixed, true, empty(503), "503 without a body"),
    word("408", IfPrefixed, true, empty(408), "408 without a body"),
    word("429", IfPrefixed, true, empty(429), "429 with Retry-After: N (:N, default 1)"),
    word("401", IfPrefixed, false, empty(401), "401 without a body"),
    word("403", IfPrefixed, false, empty(403), "403 without a body"),
    word("405", IfPrefixed, false, empty(405), "405 without a body"),
    word("413", IfPrefixed, false, empty(413), "413 without a body"),
    word("gateway_500", IfPrefixed, true, json(500, GATEWAY_500, false), "500 with a gateway's envelope (timestamp, status, error, path)"),
    word("gateway_404", IfPrefixed, false, json(404, GATEWAY_404, false), "404 with a gateway's envelope"),
    word("empty_200", IfPrefixed, true, empty(200), "200 without a body or a signature"),
    word("html_200", IfPrefixed, true, html(200, "<html><body>Maintenance</body></html>"), "200 with an HTML page"),
    word("html_403", IfPrefixed, false, html(403, "<html><body>Forbidden</body></html>"), "403 with an HTML page, as a firewall sends it"),
    word("html_502", IfPrefixed, true, html(502, "<html><body>Bad Gateway</body></html>"), "502 with an HTML page"),
    word("redirect", IfPrefixed, false, empty(307), "307 to /redirected; the ledger counts who follows it"),
    word("cut_json", Always, true, Fault::CutJson, "act; the answer is cut within its JSON (and signed so)"),
    word("wrong_signature", Always, true, Fault::WrongSignature, "act; the true answer with a wrong signature"),
    word("no_signature", Always, true, Fault::NoSignature, "act; the true answer without a signature"),
    word("other_amount", Always, false, Fault::OtherAmount, "act; the answer names an amount that is 1 higher"),
    word("other_invoice", Always, false, Fault::OtherInvoice, "act; the answer names another invoice"),
    word("status", Always, false, Fault::OtherStatus, "act; the answer's status is :WORD (default BOGUS)"),
    word("other_request", Always, false, Fault::OtherRequest, "act; the answer of an inquiry is about another request, :ID (default VA-1)"),
    word("wrapped", Always, false, Fault::Wrapped, r#"act; the answer inside {"message":["SUCCESS"],"response":...}"#),
    word("bare_409", IfPrefixed, false, json(409, r#"{"error":{"code":"idempotent_request","message":"Request-Id was used","type":"idempotent_error"}}"#, true), "409 idempotent_request, in place of the first answer"),
    word("duplicate_409", IfPrefixed, false, json(409, r#"{"error":{"code":"DUPLICATE_TRANSACTION","message":"Duplicate transaction","type":"invalid_request_error"}}"#, true), "409 DUPLICATE_TRANSACTION"),
    word("declined", IfPrefixed, false, json(400, r#"{"error":{"code":"transaction_declined","message":"Declined","type":"invalid_request_error"}}"#, true), "400 with DOKU's error envelope"),
    word("declined_message", IfPrefixed, false, json(400, r#"{"message":["CASH TAG NOT FOUND"]}"#, true), r#"400 with {"message":[...]}"#),
    word("declined_list", IfPrefixed, false, json(422, r#"{"error_messages":["cash tag not found"]}"#, true), r#"422 with {"error_messages":[...]}"#),
    word("already_refunded", IfPrefixed, false, json(400, r#"{"error":{"code":"already_refunded","message":"Order was refunded already","type":"invalid_request_error"}}"#, true), "400 already_refunded"),
    word("invalid_signature", IfPrefixed, false, json(400, r#"{"error":{"code":"invalid_signature","message":"Invalid Header Signature","type":"invalid_request_error"}}"#, false), "400 invalid_signature, though it was right"),
    word("invalid_client_id", IfPrefixed, false, json(400, r#"{"error":{"code":"invalid_client_id","message":"Invalid Client-Id","type":"invalid_request_error"}}"#, false), "400 invalid_client_id, though it was right"),
    word("invalid_header_request", IfPrefixed, false, json(400, r#"{"error":{"code":"invalid_header_request","message":"Invalid header","type":"invalid_request_error"}}"#, false), "400 invalid_header_request, though it was right"),
    word("request_time_out_of_range", IfPrefixed, false, json(400, r#"{"error":{"code":"request_time_out_of_range","message":"Request-Timestamp out of range","type":"invalid_request_error"}}"#, false), "400 request_time_out_of_range, though it was right"),
    word("not_found", IfPrefixed, false, json(404, NOT_FOUND, true), "404 with DOKU's envelope, signed"),
    word("not_found_unsigned", IfPrefixed, false, json(404, NOT_FOUND, false), "404 with DOKU's envelope, unsigned"),
];

use TransactionStatus::{Expired, Failed, Refunded, Success};

#[rustfmt::skip]
pub(super) const HABIT_WORDS: &[HabitWord] = &[
    HabitWord { name: "pending", habit: OrderScript::Answers(AnswerStatus::Pending), meaning: "the request is answered PENDING; all else as usual" },
    HabitWord { name: "failed", habit: OrderScript::Answers(AnswerStatus::Failed), meaning: "the request is answered FAILED, and that is final" },
    HabitWord { name: "pay_fails", habit: OrderScript::Goes(&[Failed]), meaning: "the transaction becomes FAILED" },
    HabitWord { name: "expires", habit: OrderScript::Goes(&[Expired]), meaning: "the transaction becomes EXPIRED" },
    HabitWord { name: "never_pays", habit: OrderScript::Goes(&[]), meaning: "the transaction stays PENDING" },
    HabitWord { name: "fails_then_pays", habit: OrderScript::Goes(&[Failed, Success]), meaning: "FAILED, then SUCCESS" },
    HabitWord { name: "expires_then_pays", habit: OrderScript::Goes(&[Expired, Success]), meaning: "EXPIRED, then SUCCESS" },
    HabitWord { name: "pays_then_refunded", habit: OrderScript::Goes(&[Success, Refunded]), meaning: "SUCCESS, then REFUNDED, as from the back office" },
    HabitWord { name: "notify_never", habit: OrderScript::Notifies(NotifyHabit::Never), meaning: "no notification" },
    HabitWord { name: "notify_twice", habit: OrderScript::Notifies(NotifyHabit::Twice), meaning: "every notification twice, each with a Request-Id of its own" },
    HabitWord { name: "notify_late", habit: OrderScript::Notifies(NotifyHabit::Late), meaning: "every notification notify_late_ms later" },
    HabitWord { name: "notify_reordered", habit: OrderScript::Notifies(NotifyHabit::Reordered), meaning: "one for PENDING too, and all of them at the end, the last one first" },
    HabitWord { name: "notify_wrong_amount", habit: OrderScript::Notifies(NotifyHabit::WrongAmount), meaning: "notifications name an amount that is 1 higher" },
    HabitWord { name: "notify_number", habit: OrderScript::Notifies(NotifyHabit::Number), meaning: "amounts in notifications as 50000" },
    HabitWord { name: "notify_decimal", habit: OrderScript::Notifies(NotifyHabit::Decimal), meaning: "amounts in notifications as 50000.00" },
    HabitWord { name: "notify_snap", habit: OrderScript::Notifies(NotifyHabit::Snap(SnapSignature::Hmac)), meaning: "notifications in the SNAP form" },
    HabitWord { name: "notify_snap_raw", habit: OrderScript::Notifies(NotifyHabit::Snap(SnapSignature::HmacOverRaw)), meaning: "the same, signed over the body as it is sent, not minified" },
    HabitWord { name: "notify_snap_rsa", habit: OrderScript::Notifies(NotifyHabit::Snap(SnapSignature::Rsa)), meaning: "the same, signed by DOKU's RSA key" },
    HabitWord { name: "notify_snap_other_key", habit: OrderScript::Notifies(NotifyHabit::Snap(SnapSignature::OtherKey)), meaning: "the same, signed by a key that is not the merchant's" },
    HabitWord { name: "notify_snap_stale_token", habit: OrderScript::Notifies(NotifyHabit::Snap(SnapSignature::StaleToken)), meaning: "the same, with a token that ended long ago" },
    HabitWord { name: "notify_both", habit: OrderScript::Notifies(NotifyHabit::Both), meaning: "every notification in both forms" },
    HabitWord { name: "notify_refunded", habit: OrderScript::Notifies(NotifyHabit::Refunded), meaning: "refunds only: a notification of REFUNDED follows" },
];

/// The text of `GET /help`.
pub(super) fn help() -> String {
    let mut text = String::from(HELP_HEAD);
    for word in FAULT_WORDS {
        let mark = match word.acts {
            IfPrefixed => "act_then_",
            Always | Later => "",
        };
        text.push_str(&format!("  {:<26} {:<10} {}\n", word.name, mark, word.meaning));
    }
    text.push_str("\nWhat an order does:\n\n");
    for word in HABIT_WORDS {
        text.push_str(&format!("  {:<37} {}\n", word.name, word.meaning));
    }
    text.push_str(HELP_TAIL);
    text.push_str(&super::settlement::help());
    text
}

const HELP_HEAD: &str = "\
jenius-pay sandbox: DOKU's side of Jenius Pay.

A payment's cash tag, or a refund's reason, that consists of the words below makes DOKU misbehave for that
order; any other text is an ordinary cash tag or reason.

  WORD            the first send of that Request-Id
  WORD*3          the first three sends            WORD*      every send
  WORD:ARG        with an argument
  act_then_WORD   DOKU acts first                  check_WORD inquiries (Check Status) of that order
  A,B*2,C         one after the other, mixed with what the order does: act_then_drop,429,notify_twice

Words marked act_then_ do not act without that prefix. The others say what they do.

Faults of requests and inquiries:

";

const HELP_TAIL: &str = r#"
At run time: POST /faults replaces the whole switch, {} turns everything off, GET /faults shows it.

  {"payment":"500","refund":"hang","check":"not_found","client_id":null,"invoices":{"INV-1":"drop,declined"},
   "latency_ms":0,"clock_offset_s":0,"notify_never":false}

  payment, refund, check   words for every request of that kind; without *N they hold until switched off
  client_id                only that merchant's requests
  invoices                 words in place of that invoice's cash tag, of any length

GET /ledger shows what DOKU really did.
"#;
