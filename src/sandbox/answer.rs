//! DOKU's answers: their bodies, and how they are signed. Bodies are built once and kept as bytes, since a
//! replay must repeat them.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::check::{Caller, Refusal};
use super::clock;
use super::signature::{self, SecretKey, SignatureInput, Stamp};

pub(super) const JSON: &str = "application/json";

/// A true answer, before it is signed or spoiled.
#[derive(Clone, Debug)]
pub(super) struct SandboxAnswer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl SandboxAnswer {
    pub(super) fn ok(body: Bytes) -> Self {
        Self { status: 200, body }
    }

    pub(super) fn envelope(status: u16, code: &str, message: &str) -> Self {
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        let body = format!(
            r#"{{"error":{{"code":{},"message":{},"type":"{kind}"}}}}"#,
            quoted(code),
            quoted(message)
        );
        Self { status, body: body.into() }
    }

    pub(super) fn messages(messages: &[String]) -> Self {
        let body = serde_json::json!({ "message": messages }).to_string();
        Self { status: 400, body: body.into() }
    }

    pub(super) fn refusal(refusal: Refusal) -> Self {
        Self::envelope(400, refusal.code(), &refusal.message())
    }

    pub(super) fn not_found() -> Self {
        Self::envelope(404, "data_not_found", "Order not found")
    }
}

/// The body of an answer to a payment or a refund.
pub(super) fn order_body(invoice_number: &str, amount: u64, status: &str, notify_url: Option<&str>) -> Bytes {
    let info = notify_url
        .map(|url| format!(r#","additional_info":{{"override_notification_url":{}}}"#, quoted(url)))
        .unwrap_or_default();
    let invoice = quoted(invoice_number);
    format!(
        r#"{{"order":{{"invoice_number":{invoice},"amount":"{amount}"}},"internet_banking_payment":{{"status":"{status}"}}{info}}}"#
    )
    .into()
}

/// What Check Status and notifications say of a transaction.
pub(super) struct StatusReport<'a> {
    pub(super) invoice_number: &'a str,
    /// As it stands in JSON: `"50000"`, `50000` or `50000.00`.
    pub(super) amount: &'a str,
    pub(super) status: &'a str,
    pub(super) date: DateTime<Utc>,
    pub(super) original_request_id: &'a str,
}

impl StatusReport<'_> {
    pub(super) fn body(&self) -> Bytes {
        format!(
            concat!(
                r#"{{"service":{{"id":"INTERNET_BANKING"}},"acquirer":{{"id":"JENIUS"}},"#,
                r#""channel":{{"id":"INTERNET_BANKING_JENIUS"}},"#,
                r#""order":{{"invoice_number":{invoice},"amount":{amount}}},"#,
                r#""transaction":{{"status":{status},"date":"{date}","original_request_id":{original}}}}}"#
            ),
            invoice = quoted(self.invoice_number),
            amount = self.amount,
            status = quoted(self.status),
            date = clock::stamp(self.date),
            original = quoted(self.original_request_id),
        )
        .into()
    }
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How an answer is to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    Right,
    RightWithoutDigest,
    Wrong,
    Missing,
}

/// Who signs for whom, and when.
pub(super) struct AnswerSigner<'a> {
    pub(super) key: &'a SecretKey,
    pub(super) caller: &'a Caller,
    pub(super) target: &'a str,
    pub(super) now: DateTime<Utc>,
}

impl AnswerSigner<'_> {
    pub(super) fn respond(&self, status: u16, content_type: &str, body: Bytes, seal: Seal) -> Response<Body> {
        let stamp = clock::stamp(self.now);
        let digest = match seal {
            Seal::Right => Some(signature::digest(&body)),
            Seal::Wrong => Some(signature::digest(b"another body")),
            Seal::RightWithoutDigest | Seal::Missing => None,
        };
        let mut builder = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, content_type)
            .header("Client-Id", &*self.caller.client_id)
            .header("Request-Id", &self.caller.request_id)
            .header("Response-Timestamp", &stamp);
        if seal != Seal::Missing {
            let signed = SignatureInput {
                client_id: &self.caller.client_id,
                request_id: &self.caller.request_id,
                stamp: Stamp::Response(&stamp),
                target: self.target,
                digest: digest.as_deref(),
            };
            builder = builder.header("Signature", signature::sign(&signed, self.key));
        }
        finish(builder.body(Body::from(body)))
    }
}

/// An answer without a merchant: refusals, the ledger, help.
pub(super) fn unsigned(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let builder = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
    finish(builder.body(Body::from(body.into())))
}

/// Headers come from a request that had them, so that none of them can be refused.
fn finish(built: Result<Response<Body>, axum::http::Error>) -> Response<Body> {
    built.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be built");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
