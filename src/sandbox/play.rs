//! Plays a fault: turns the true answer, or its absence, into what the client gets to see.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use serde_json::Value;

use super::answer::{AnswerSigner, JSON, SandboxAnswer, Seal};
use super::fault_script::ScriptedFault;
use super::faults::{Canned, Fault};
use super::raw_connection::RawConnection;

/// Where a redirect leads; no client may follow it.
pub(super) const REDIRECTED_PATH: &str = "/redirected";
const RETRY_AFTER_DEFAULT_S: u64 = 1;
const UNKNOWN_STATUS: &str = "BOGUS";
const OTHER_REQUEST: &str = "VA-1";

/// What the ledger says the client got: `None` if no whole answer leaves.
pub(super) fn status_shown(play: &ScriptedFault, answer: Option<&SandboxAnswer>) -> Option<u16> {
    match play.word.fault {
        Fault::Drop | Fault::Reset | Fault::CutHeaders | Fault::Hang | Fault::HangThenAct => None,
        Fault::Canned(canned) => Some(canned.status),
        Fault::CutJson
        | Fault::WrongSignature
        | Fault::NoSignature
        | Fault::OtherAmount
        | Fault::OtherInvoice
        | Fault::OtherStatus
        | Fault::OtherRequest
        | Fault::Wrapped => answer.map(|answer| answer.status),
    }
}

/// `answer` is the true one, where DOKU acted; `seal` how it would have been signed. Waiting is over.
pub(super) fn perform(
    play: &ScriptedFault,
    answer: Option<SandboxAnswer>,
    seal: Seal,
    signer: &AnswerSigner<'_>,
    wire: &RawConnection,
) -> Response<Body> {
    let answer = answer.unwrap_or_else(|| SandboxAnswer::ok(Bytes::from_static(b"{}")));
    let spoiled = |body, seal| signer.respond(answer.status, JSON, body, seal);
    match play.word.fault {
        Fault::Drop | Fault::Hang | Fault::HangThenAct => {
            wire.cut();
            Response::new(Body::empty())
        }
        Fault::Reset => {
            wire.reset();
            Response::new(Body::empty())
        }
        Fault::CutHeaders => {
            wire.cut_after_headers();
            spoiled(answer.body.clone(), seal)
        }
        Fault::Canned(canned) => self::canned(canned, play, seal, signer),
        Fault::CutJson => spoiled(answer.body.slice(..answer.body.len() / 2), seal),
        Fault::WrongSignature => spoiled(answer.body.clone(), Seal::Wrong),
        Fault::NoSignature => spoiled(answer.body.clone(), Seal::Missing),
        Fault::OtherAmount => spoiled(altered(&answer.body, "/order/amount", other_amount), seal),
        Fault::OtherInvoice => spoiled(altered(&answer.body, "/order/invoice_number", other_invoice), seal),
        Fault::OtherStatus => {
            let word = play.text().unwrap_or(UNKNOWN_STATUS);
            let body = altered(&answer.body, "/internet_banking_payment/status", |_| word.into());
            spoiled(altered(&body, "/transaction/status", |_| word.into()), seal)
        }
        Fault::OtherRequest => {
            let id = play.text().unwrap_or(OTHER_REQUEST);
            spoiled(altered(&answer.body, "/transaction/original_request_id", |_| id.into()), seal)
        }
        Fault::Wrapped => {
            let text = String::from_utf8_lossy(&answer.body);
            spoiled(format!(r#"{{"message":["SUCCESS"],"response":{text}}}"#).into(), seal)
        }
    }
}

fn canned(canned: Canned, play: &ScriptedFault, seal: Seal, signer: &AnswerSigner<'_>) -> Response<Body> {
    let seal = if canned.signed { seal } else { Seal::Missing };
    let body = Bytes::from_static(canned.body.as_bytes());
    let mut response = signer.respond(canned.status, canned.content_type, body, seal);
    if canned.status == 429 {
        let seconds = play.number().unwrap_or(RETRY_AFTER_DEFAULT_S);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if canned.status == 307 {
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(REDIRECTED_PATH));
    }
    response
}

fn other_amount(amount: &Value) -> Value {
    let digits = amount.as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    digits.saturating_add(1).to_string().into()
}

fn other_invoice(invoice: &Value) -> Value {
    format!("{}-OTHER", invoice.as_str().unwrap_or_default()).into()
}

/// `body` with the member at `pointer` replaced; unchanged where it has none.
fn altered(body: &Bytes, pointer: &str, change: impl Fn(&Value) -> Value) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.clone() };
    let Some(member) = value.pointer_mut(pointer) else { return body.clone() };
    *member = change(member);
    value.to_string().into()
}
