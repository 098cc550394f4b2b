//! One signed question that harms nothing, for `doctor`: Check Status of an invoice number that does not exist. DOKU
//! looks at headers, clock, account and signature before it looks for the order, so that "not found" means that it
//! took the key.

use super::{
    super::{
        answer::Answer,
        body::{ErrorBody, parse_error_body},
        classify::{KEY_REFUSED_CODES, is_one_of, names_not_found, snake},
    },
    Client, NoAnswer,
};
use crate::{
    domain::ids::{InvoiceNumber, MerchantName},
    flow::ports::Clock,
};
use chrono::TimeDelta;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub use super::super::answer::Authenticity;

const OUT_OF_TIME: &str = "request_time_out_of_range";

/// What DOKU's answer says about one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeVerdict {
    Accepted,
    /// DOKU refuses key or headers, and says which.
    Refused(String),
    /// Its clock and ours are too far apart. It looks at that before it looks at the key.
    OutOfTime(String),
    /// What answered is not DOKU.
    Foreign(String),
    /// An answer that says nothing about the key.
    Unclear(String),
}

/// An answer to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub verdict: ProbeVerdict,
    pub http_status: u16,
    pub authenticity: Authenticity,
    /// DOKU's clock minus ours.
    pub drift: Option<TimeDelta>,
    pub took: Duration,
}

impl<C: Clock> Client<C> {
    /// Asks once, under a merchant's key. The error says why there was no answer.
    pub async fn probe(&self, merchant: &MerchantName) -> Result<Probed, String> {
        let account = self.accounts.by_merchant(merchant).ok_or("the merchant is not configured")?;
        let nobodys = format!("DOCTOR-{}", Uuid::new_v4().simple());
        let invoice = InvoiceNumber::parse(nobodys).map_err(|e| e.to_string())?;
        let started = Instant::now();
        let answer = self.check(&account, &invoice).await.map_err(NoAnswer::why)?;
        Ok(Probed {
            verdict: verdict(&answer),
            http_status: answer.status,
            authenticity: answer.authenticity,
            drift: answer.time.map(|theirs| theirs - self.clock.now()),
            took: started.elapsed(),
        })
    }
}

fn verdict(answer: &Answer) -> ProbeVerdict {
    let status = answer.status;
    let status_text = format!("HTTP {status}");
    let code = match answer.body.as_deref().map(parse_error_body) {
        _ if names_not_found(answer) => return ProbeVerdict::Accepted,
        Some(ErrorBody::Error { code, message }) => code.unwrap_or(message),
        Some(ErrorBody::Answer | ErrorBody::Unreadable | ErrorBody::Foreign) | None => String::new(),
    };
    match status {
        _ if is_one_of(&code, &[OUT_OF_TIME]) => {
            ProbeVerdict::OutOfTime(format!("{status_text}: {OUT_OF_TIME}"))
        }
        _ if is_one_of(&code, &KEY_REFUSED_CODES) => {
            ProbeVerdict::Refused(format!("{status_text}: {}", snake(&code)))
        }
        401 | 403 => ProbeVerdict::Refused(status_text),
        // A server that signs its answer knows the key.
        200 | 404 if answer.authenticity == Authenticity::Signed => ProbeVerdict::Accepted,
        404 if !code.is_empty() => ProbeVerdict::Accepted,
        404 => ProbeVerdict::Foreign("HTTP 404, which is not DOKU's own".to_owned()),
        200..=399 | 405 | 413 => {
            ProbeVerdict::Foreign(format!("{status_text}, which DOKU never answers here"))
        }
        _ => ProbeVerdict::Unclear(status_text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_what_doku_itself_says_judges_a_key() {
        let foreign = |text: &str| ProbeVerdict::Foreign(text.to_owned());
        let refused = |text: &str| ProbeVerdict::Refused(text.to_owned());
        let unclear = |text: &str| ProbeVerdict::Unclear(text.to_owned());
        let not_doku = || foreign("HTTP 404, which is not DOKU's own");
        let envelope = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"x","type":"y"}}}}"#);
        use Authenticity::{Signed, Unsigned};
        for (status, authenticity, body, expected) in [
            (400, Unsigned, envelope("invalid_signature"), refused("HTTP 400: invalid_signature")),
            (401, Unsigned, envelope("invalid_client_id"), refused("HTTP 401: invalid_client_id")),
            (
                400,
                Unsigned,
                r#"{"message":["INVALID SIGNATURE"]}"#.to_owned(),
                refused("HTTP 400: invalid_signature"),
            ),
            (401, Unsigned, String::new(), refused("HTTP 401")),
            (
                400,
                Unsigned,
                envelope("REQUEST_TIME_OUT_OF_RANGE"),
                ProbeVerdict::OutOfTime("HTTP 400: request_time_out_of_range".to_owned()),
            ),
            (403, Unsigned, "<html>".to_owned(), refused("HTTP 403")),
            (404, Unsigned, "<html>".to_owned(), not_doku()),
            (404, Unsigned, String::new(), not_doku()),
            (302, Unsigned, String::new(), foreign("HTTP 302, which DOKU never answers here")),
            (200, Unsigned, "<html>".to_owned(), foreign("HTTP 200, which DOKU never answers here")),
            (429, Unsigned, String::new(), unclear("HTTP 429")),
            (503, Unsigned, envelope("busy"), unclear("HTTP 503")),
            (400, Unsigned, envelope("strange"), unclear("HTTP 400")),
            (404, Signed, String::new(), ProbeVerdict::Accepted),
            (404, Unsigned, envelope("data_not_found"), ProbeVerdict::Accepted),
            (404, Unsigned, envelope("another_word"), ProbeVerdict::Accepted),
            (400, Unsigned, envelope("order_not_found"), ProbeVerdict::Accepted),
            (200, Signed, "{}".to_owned(), ProbeVerdict::Accepted),
        ] {
            let answer = Answer {
                status,
                authenticity,
                time: None,
                retry_after: None,
                body: Some(Bytes::from(body.clone())),
            };
            assert_eq!(verdict(&answer), expected, "{status} {body}");
        }
    }
}
