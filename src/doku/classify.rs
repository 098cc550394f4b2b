//! What one answer of DOKU's teaches us. Pure; the default arm of every classification is *in doubt* (for
//! an inquiry: nothing learned).

use super::{
    answer::{Answer, Authenticity},
    body::{ErrorBody, OrderFields, StatusIn, bounded_text, parse_error_body, parse_order_fields},
    mask::{mask, mask_code},
};
use crate::{
    config::ResponseSignature,
    domain::{
        command::{CommandKind, StoredRequest},
        finding::{
            DokuError, DokuHealth, InquiryFinding, InquiryFindingKind, Report, ReportedStatus, SendFinding,
            SendFindingKind,
        },
        ids::InvoiceNumber,
        money::ReportedAmount,
    },
};

/// DOKU refuses the key, the clock or the headers: so it would every order of this account.
pub const KEY_REFUSED_CODES: [&str; 6] = [
    "invalid_signature",
    "invalid_client_id",
    "invalid_header_request",
    "request_time_out_of_range",
    "invalid_token",
    "merchant_not_active",
];

/// DOKU knows the Request-Id or the invoice already: something acted.
const REPLAY_CODES: [&str; 2] = ["idempotent_request", "duplicate_transaction"];

/// Check Status says so where it does not say 404.
const NOT_FOUND_CODES: [&str; 5] =
    ["not_found", "data_not_found", "order_not_found", "transaction_not_found", "invoice_not_found"];

/// What an answer says about the request, and about DOKU and our standing with it.
struct AnswerMeaning {
    kind: SendFindingKind,
    health: DokuHealth,
}

/// What the answer to a send teaches. Whether an earlier send may have acted is not known here: a refusal
/// is final only where the order's record has no doubt.
pub fn classify_send(request: &StoredRequest, answer: &Answer, mode: ResponseSignature) -> SendFinding {
    let AnswerMeaning { kind, health } = match answer.status {
        200 => success(request, answer, mode),
        408 => in_doubt("HTTP 408: DOKU gave up waiting", DokuHealth::Unwell),
        409 => replay(request, answer, mode),
        429 => not_acted("HTTP 429: too many requests", DokuHealth::AccountUnwell),
        401 => not_acted("HTTP 401", DokuHealth::KeyRefused),
        403 | 405 | 413 => refused_on_the_way(request, answer),
        400..=499 => refusal(request, answer),
        500..=599 => in_doubt(format!("HTTP {}", answer.status), DokuHealth::Unwell),
        other => in_doubt(format!("HTTP {other} is no answer DOKU gives"), DokuHealth::Unwell),
    };
    SendFinding { kind, http_status: Some(answer.status), retry_after: answer.retry_after, health }
}

fn success(request: &StoredRequest, answer: &Answer, mode: ResponseSignature) -> AnswerMeaning {
    let Some(fields) = read(answer, StatusIn::Answer) else {
        return in_doubt("HTTP 200 with an unreadable body", DokuHealth::Unwell);
    };
    match (answer.authenticity, mode) {
        (Authenticity::Signed, _) | (Authenticity::Unsigned, ResponseSignature::TlsOnly) => {}
        (Authenticity::Unsigned, ResponseSignature::Required) => {
            return in_doubt("HTTP 200 without a signature", DokuHealth::AccountUnwell);
        }
        (Authenticity::Wrong, _) => {
            return in_doubt("HTTP 200 with a wrong signature", DokuHealth::AccountUnwell);
        }
    }
    let OrderFields { invoice_number: Some(invoice), amount: Some(amount), status: Some(status), .. } =
        fields
    else {
        return in_doubt("HTTP 200 without invoice number, amount or status", DokuHealth::Unwell);
    };
    if invoice != request.invoice_number.as_str() {
        return contradiction("DOKU answered for another invoice number");
    }
    if !ReportedAmount::read(&amount).is(request.amount) {
        return contradiction("DOKU answered for another amount");
    }
    well(by_status(request, status))
}

/// The word of an answer for our invoice and amount.
fn by_status(request: &StoredRequest, status: String) -> SendFindingKind {
    let kind = request.kind;
    match (kind, status.to_ascii_lowercase().as_str()) {
        (_, "success") | (CommandKind::Payment, "pending") | (CommandKind::Refund, "refund" | "refunded") => {
            SendFindingKind::Accepted { status }
        }
        (_, "failed") => SendFindingKind::Failed { status },
        (CommandKind::Payment, "refund" | "refunded") | (CommandKind::Refund, "pending") => {
            SendFindingKind::InDoubt { why: format!("status {status} does not answer a {}", kind.name()) }
        }
        _ => SendFindingKind::InDoubt { why: format!("unknown status {}", mask(&status, request)) },
    }
}

/// The status word of an answer, where it is none that DOKU documents there.
pub fn unknown_word(answer: &Answer, status_in: StatusIn) -> Option<String> {
    let known: &[&str] = match status_in {
        StatusIn::Answer => &["pending", "success", "failed", "refund", "refunded"],
        StatusIn::Report => {
            &["pending", "success", "failed", "expired", "refund", "refunded", "timeout", "redirect"]
        }
    };
    let word = read(answer, status_in)?.status?;
    (!known.iter().any(|known| word.eq_ignore_ascii_case(known))).then_some(word)
}

/// The same Request-Id with the same body gets the first answer's body with a 409: then it is the answer.
fn replay(request: &StoredRequest, answer: &Answer, mode: ResponseSignature) -> AnswerMeaning {
    match success(request, answer, mode).kind {
        kind @ (SendFindingKind::Accepted { .. }
        | SendFindingKind::Failed { .. }
        | SendFindingKind::Contradiction { .. }) => well(kind),
        SendFindingKind::Declined(_) | SendFindingKind::NotActed { .. } | SendFindingKind::InDoubt { .. } => {
            in_doubt("HTTP 409 without the answer: DOKU knows the request", DokuHealth::Well)
        }
    }
}

/// By a firewall or a proxy, unless DOKU itself names the account, or refuses a refund: an account may have the refund
/// call switched off, and then DOKU declines it and stops no other send.
fn refused_on_the_way(request: &StoredRequest, answer: &Answer) -> AnswerMeaning {
    let status = answer.status;
    match answer.body.as_deref().map(parse_error_body) {
        Some(ErrorBody::Error { code, message })
            if is_one_of(code.as_deref().unwrap_or(&message), &KEY_REFUSED_CODES) =>
        {
            let code = snake(code.as_deref().unwrap_or(&message));
            not_acted(format!("HTTP {status}: {code}"), DokuHealth::KeyRefused)
        }
        Some(ErrorBody::Error { code: Some(_), .. })
            if request.kind == CommandKind::Refund
                && matches!(status, 403 | 405)
                && answer.authenticity != Authenticity::Wrong =>
        {
            refusal(request, answer)
        }
        Some(ErrorBody::Error { .. } | ErrorBody::Answer | ErrorBody::Unreadable | ErrorBody::Foreign)
        | None => not_acted(format!("HTTP {status}"), DokuHealth::OrderRefused),
    }
}

fn refusal(request: &StoredRequest, answer: &Answer) -> AnswerMeaning {
    let status = answer.status;
    let Some(body) = &answer.body else {
        return in_doubt(format!("HTTP {status}, its body cut off"), DokuHealth::Unwell);
    };
    let (code, message) = match parse_error_body(body) {
        ErrorBody::Error { code, message } => (code, message),
        ErrorBody::Answer => return in_doubt(format!("HTTP {status} with an answer"), DokuHealth::Unwell),
        ErrorBody::Unreadable => {
            return in_doubt(format!("HTTP {status} with an unreadable body"), DokuHealth::Unwell);
        }
        ErrorBody::Foreign => {
            return not_acted(format!("HTTP {status}, not from DOKU itself"), DokuHealth::OrderRefused);
        }
    };
    let named = code.as_deref().unwrap_or(&message);
    if is_one_of(named, &KEY_REFUSED_CODES) {
        return not_acted(format!("HTTP {status}: {}", snake(named)), DokuHealth::KeyRefused);
    }
    if is_one_of(named, &REPLAY_CODES) {
        return in_doubt(format!("HTTP {status}: DOKU knows the request"), DokuHealth::Well);
    }
    // A wrong key of ours makes every signature look wrong, so it is judged after the refusals above.
    if answer.authenticity == Authenticity::Wrong {
        return in_doubt(format!("HTTP {status} with a wrong signature"), DokuHealth::AccountUnwell);
    }
    let error = DokuError {
        code: bounded_text(&mask_code(&code.unwrap_or_else(|| format!("http_{status}")), request)),
        message: bounded_text(&mask(&message, request)),
    };
    well(SendFindingKind::Declined(error))
}

/// What the answer to an inquiry teaches. It may come unsigned; a wrong signature is never believed.
pub fn classify_inquiry(invoice: &InvoiceNumber, answer: &Answer) -> InquiryFinding {
    let finding = match (answer.authenticity, answer.status) {
        (Authenticity::Wrong, status) => failed(format!("HTTP {status} with a wrong signature")),
        (_, 404) => not_found(invoice, answer),
        (_, 200) => report(invoice, answer),
        (_, 400 | 422) if names_not_found(answer) => not_found(invoice, answer),
        (_, status) => failed(format!("HTTP {status}")),
    };
    InquiryFinding { kind: finding, http_status: Some(answer.status), retry_after: answer.retry_after }
}

fn report(invoice: &InvoiceNumber, answer: &Answer) -> InquiryFindingKind {
    let Some(fields) = read(answer, StatusIn::Report) else {
        return failed("HTTP 200 with an unreadable body".to_owned());
    };
    match fields {
        OrderFields { invoice_number: Some(named), .. } if named != invoice.as_str() => {
            failed("DOKU answered for another invoice number".to_owned())
        }
        OrderFields { invoice_number: Some(_), amount: Some(amount), status: Some(word), request } => {
            let (status, amount) = (ReportedStatus::read(&word), ReportedAmount::read(&amount));
            InquiryFindingKind::Reported(Report { status, word, amount, request })
        }
        _ if names_not_found(answer) => not_found(invoice, answer),
        _ => failed("HTTP 200 without invoice number, amount or status".to_owned()),
    }
}

fn not_found(invoice: &InvoiceNumber, answer: &Answer) -> InquiryFindingKind {
    let signed = answer.authenticity == Authenticity::Signed;
    InquiryFindingKind::NotFound { proves: signed && invoice.is_plain() }
}

pub fn names_not_found(answer: &Answer) -> bool {
    match answer.body.as_deref().map(parse_error_body) {
        Some(ErrorBody::Error { code, message }) => {
            is_one_of(code.as_deref().unwrap_or(&message), &NOT_FOUND_CODES)
        }
        Some(ErrorBody::Answer | ErrorBody::Unreadable | ErrorBody::Foreign) | None => false,
    }
}

fn read(answer: &Answer, status_in: StatusIn) -> Option<OrderFields> {
    parse_order_fields(answer.body.as_deref()?, status_in)
}

/// Codes come as `invalid_signature`, `INVALID SIGNATURE` and `Invalid-Signature`, and in a list of several messages.
pub fn is_one_of(named: &str, codes: &[&str]) -> bool {
    named.split(';').any(|one| codes.contains(&snake(one).as_str()))
}

pub fn snake(named: &str) -> String {
    named.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn well(kind: SendFindingKind) -> AnswerMeaning {
    AnswerMeaning { kind, health: DokuHealth::Well }
}

fn in_doubt(why: impl Into<String>, health: DokuHealth) -> AnswerMeaning {
    AnswerMeaning { kind: SendFindingKind::InDoubt { why: why.into() }, health }
}

fn not_acted(why: impl Into<String>, health: DokuHealth) -> AnswerMeaning {
    AnswerMeaning { kind: SendFindingKind::NotActed { why: why.into() }, health }
}

fn contradiction(why: &str) -> AnswerMeaning {
    well(SendFindingKind::Contradiction { why: why.to_owned() })
}

fn failed(why: String) -> InquiryFindingKind {
    InquiryFindingKind::Failed { why }
}

#[cfg(test)]
mod tests;
