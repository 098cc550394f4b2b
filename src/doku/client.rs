//! Asks DOKU, once per call. It must never retry, never follow a redirect, and never sign a request anew
//! that it did not also time anew. Whatever happens is something learned.

pub mod probe;

use super::{
    account::{Accounts, KeyedAccount},
    answer::{self, Answer, Authenticity, OwnRequest},
    body::StatusIn,
    classify::{classify_inquiry, classify_send, unknown_word},
    drift::Drift,
    mask::{mask, without_keys},
    signature::{AccountKeys, Signed, Timestamp, digest},
};
use crate::{
    config,
    domain::{
        command::{CommandKind, StoredRequest},
        finding::{DokuError, DokuHealth, InquiryFinding, InquiryFindingKind, SendFinding, SendFindingKind},
        ids::{InvoiceNumber, MerchantName},
    },
    flow::ports::{Account, Clock, Gateway, Inquiry},
    metric::{self, DokuOperation, Oddity},
    startup,
    telemetry::span::Span,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Request, Url, header::CONTENT_TYPE};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

const PAYMENT_PATH: &str = "/jenius-digital-banking/v2/ServiceRequestPayment";
const REFUND_PATH: &str = "/jenius-digital-banking/v2/ServiceRequestRefund";
const CHECK_PATH: &str = "/orders/v1/status/";

/// Everything but what `InvoiceNumber::is_plain` allows.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Below the keep-alive of common gateways: a connection they close under a request would make a doubt.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// No description of an error is carried further than this.
const WHY_CHARS_MAX: usize = 300;

/// DOKU, through HTTP.
pub struct Client<C> {
    http: reqwest::Client,
    pub(super) accounts: Accounts,
    pub(super) base_url: String,
    response_signature: config::ResponseSignature,
    pub(super) clock: C,
    drift: Drift,
}

/// One request that is about to be made.
struct Call<'a> {
    operation: DokuOperation,
    account: &'a KeyedAccount,
    request_id: &'a str,
    url: String,
    /// `None`: a GET.
    body: Option<&'a [u8]>,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Not a byte of the request left.
    NotSent {
        why: String,
        health: DokuHealth,
    },
    Lost {
        why: String,
    },
}

/// Why DOKU cannot be asked by https from this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "https to DOKU cannot be set up: {0}; allowed: the system's CA certificates (package ca-certificates), or a file \
     of them that SSL_CERT_FILE names"
)]
pub struct NoTls(String);

impl<C: Clock> Client<C> {
    /// # Errors
    /// TLS cannot be set up, because the machine has no CA certificates for example. Plain http needs none.
    pub fn new(doku: &config::Doku, accounts: Accounts, clock: C) -> Result<Self, NoTls> {
        startup::install_cryptography();
        let concurrency = usize::try_from(doku.concurrency).unwrap_or(usize::MAX);
        let builder = reqwest::Client::builder();
        let builder = if doku.base_url.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
        let http = builder
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            // As DOKU's pages spell them; HTTP does not care, a gateway might.
            .http1_title_case_headers()
            .connect_timeout(doku.connect_timeout)
            .timeout(doku.timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(concurrency.saturating_mul(accounts.all_accounts().len()))
            .user_agent(concat!("jenius-pay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NoTls(describe(error)))?;
        Ok(Self {
            http,
            accounts,
            base_url: doku.base_url.clone(),
            response_signature: doku.response_signature,
            clock,
            drift: Drift::default(),
        })
    }

    /// Makes the call, and holds its answer against its signature.
    async fn ask(&self, call: Call<'_>) -> Result<Answer, NoAnswer> {
        let url = Url::parse(&call.url).map_err(|error| NoAnswer::misconfigured(error.to_string()))?;
        let target = url.path().to_owned();
        let request =
            self.signed(&call, url, &target).map_err(|error| NoAnswer::misconfigured(describe(error)))?;
        let started = Instant::now();
        let span = span_of(&request, call.operation);
        let answered = span.around(self.http.execute(request)).await;
        let answer = match answered {
            Ok(response) => {
                let now = self.clock.now();
                if let Some(theirs) = answer::response_time(response.headers()) {
                    self.drift.note(theirs, now);
                }
                let asked = OwnRequest {
                    merchant: &call.account.merchant,
                    keys: &call.account.keys,
                    client_id: &call.account.client_id,
                    request_id: call.request_id,
                    target: &target,
                    is_get: call.body.is_none(),
                };
                Ok(answer::read(response, asked, now).await)
            }
            Err(error) if error.is_builder() => Err(NoAnswer::misconfigured(describe(error))),
            Err(error) if error.is_connect() => {
                Err(NoAnswer::NotSent { why: describe(error), health: DokuHealth::Unwell })
            }
            Err(error) => Err(NoAnswer::Lost { why: describe(error) }),
        };
        let took = started.elapsed();
        metric::doku_request(call.operation, took);
        let http_status = answer.as_ref().ok().map(|answer| answer.status);
        match &answer {
            Ok(answer) => span.status(answer.status),
            Err(NoAnswer::NotSent { .. }) => span.failed("not_sent"),
            Err(NoAnswer::Lost { .. }) => span.failed("lost"),
        }
        let merchant = call.account.merchant.as_str();
        tracing::debug!(operation = call.operation.name(), merchant, http_status, ?took, "DOKU was asked");
        answer
    }

    /// One Check Status.
    pub(super) async fn check(
        &self,
        account: &KeyedAccount,
        invoice: &InvoiceNumber,
    ) -> Result<Answer, NoAnswer> {
        let encoded = utf8_percent_encode(invoice.as_str(), NOT_PLAIN);
        let call = Call {
            operation: DokuOperation::Check,
            account,
            request_id: &uuid::Uuid::new_v4().to_string(),
            url: format!("{}{CHECK_PATH}{encoded}", self.base_url),
            body: None,
        };
        self.ask(call).await
    }

    /// Timed and signed for this one call; the body's bytes are those that were stored.
    fn signed(&self, call: &Call<'_>, url: Url, target: &str) -> Result<Request, reqwest::Error> {
        let timestamp = self.clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let digest = call.body.map(digest);
        let client_id = call.account.client_id.as_str();
        let signed = Signed {
            client_id,
            request_id: call.request_id,
            timestamp: Timestamp::Request(&timestamp),
            target,
            digest: digest.as_deref(),
        };
        let signature = signed.sign(&call.account.keys);
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let mut request = self
            .http
            .request(method, url)
            .header("Client-Id", client_id)
            .header("Request-Id", call.request_id)
            .header("Request-Timestamp", timestamp)
            .header("Signature", signature);
        if let Some(body) = call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        request.build()
    }

    /// A stored request goes only to the account and host it was made for.
    fn account_of(&self, request: &StoredRequest) -> Option<Arc<KeyedAccount>> {
        self.accounts.by_client_id(&request.client_id).filter(|_| request.base_url == self.base_url)
    }

    fn public(&self, account: &KeyedAccount) -> Account {
        Account {
            merchant: account.merchant.clone(),
            client_id: account.client_id.clone(),
            base_url: self.base_url.clone(),
        }
    }
}

impl<C: Clock> Gateway for Client<C> {
    fn account(&self, merchant: &MerchantName) -> Option<Account> {
        self.accounts.by_merchant(merchant).map(|account| self.public(&account))
    }

    fn accounts(&self) -> Vec<Account> {
        self.accounts.all_accounts().iter().map(|account| self.public(account)).collect()
    }

    async fn send(&self, request: &StoredRequest) -> SendFinding {
        let Some(account) = self.account_of(request) else {
            let why = "no account is configured that this request was made for".to_owned();
            return NoAnswer::NotSent { why, health: DokuHealth::Unwell }.into_send_finding();
        };
        let path = match request.kind {
            CommandKind::Payment => PAYMENT_PATH,
            CommandKind::Refund => REFUND_PATH,
        };
        let call = Call {
            operation: request.kind.into(),
            account: &account,
            request_id: request.request_id.as_str(),
            url: format!("{}{path}", request.base_url),
            body: Some(&request.body),
        };
        let answer = match self.ask(call).await {
            Ok(answer) => answer,
            Err(no_answer) => return no_answer.into_send_finding(),
        };
        let masked = |text: &str| without_keys(&mask(text, request), &account.keys);
        note_unknown_word(&answer, StatusIn::Answer, &request.invoice_number, masked);
        let mut finding = classify_send(request, &answer, self.response_signature);
        finding.kind = keyless(finding.kind, &account.keys);
        finding
    }

    async fn inquire(&self, inquiry: Inquiry<'_>) -> InquiryFinding {
        let Some(account) = self.accounts.by_merchant(inquiry.merchant) else {
            return NoAnswer::misconfigured("the merchant is not configured".to_owned())
                .into_inquiry_finding();
        };
        let invoice = inquiry.invoice_number;
        let answer = match self.check(&account, invoice).await {
            Ok(answer) => answer,
            Err(no_answer) => return no_answer.into_inquiry_finding(),
        };
        if answer.authenticity == Authenticity::Unsigned {
            metric::doku_oddity(Oddity::UnsignedCheck);
        }
        note_unknown_word(&answer, StatusIn::Report, invoice, |text| without_keys(text, &account.keys));
        classify_inquiry(invoice, &answer)
    }
}

fn span_of(request: &Request, operation: DokuOperation) -> Span {
    let url = request.url();
    let span = Span::request(request.method().as_str(), url.host_str(), url.port_or_known_default());
    span.set_attribute("jenius.operation", operation.name());
    span
}

impl NoAnswer {
    /// The request could not even be built: so it would be for every order of the account.
    fn misconfigured(why: String) -> Self {
        Self::NotSent { why, health: DokuHealth::KeyRefused }
    }

    fn into_send_finding(self) -> SendFinding {
        let (finding, health) = match self {
            Self::NotSent { why, health } => (SendFindingKind::NotActed { why }, health),
            Self::Lost { why } => (SendFindingKind::InDoubt { why }, DokuHealth::Unwell),
        };
        SendFinding { kind: finding, http_status: None, retry_after: None, health }
    }

    pub(super) fn why(self) -> String {
        let (Self::NotSent { why, .. } | Self::Lost { why }) = self;
        why
    }

    fn into_inquiry_finding(self) -> InquiryFinding {
        let finding = InquiryFindingKind::Failed { why: self.why() };
        InquiryFinding { kind: finding, http_status: None, retry_after: None }
    }
}

/// DOKU's words, should they repeat a key of ours.
fn keyless(finding: SendFindingKind, keys: &AccountKeys) -> SendFindingKind {
    match finding {
        SendFindingKind::Declined(DokuError { code, message }) => SendFindingKind::Declined(DokuError {
            code: without_keys(&code, keys),
            message: without_keys(&message, keys),
        }),
        SendFindingKind::InDoubt { why } => SendFindingKind::InDoubt { why: without_keys(&why, keys) },
        other @ (SendFindingKind::Accepted { .. }
        | SendFindingKind::Failed { .. }
        | SendFindingKind::NotActed { .. }
        | SendFindingKind::Contradiction { .. }) => other,
    }
}

fn note_unknown_word(
    answer: &Answer,
    status_in: StatusIn,
    invoice: &InvoiceNumber,
    masked: impl Fn(&str) -> String,
) {
    if let Some(word) = unknown_word(answer, status_in).map(|word| masked(&word)) {
        metric::doku_oddity(Oddity::UnknownStatus);
        tracing::warn!(word, %invoice, "DOKU answered a status that it does not document");
    }
}

/// An error with its causes, without the URL: a path may name an invoice.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let all: Vec<String> =
        std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    all.join(": ").chars().take(WHY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
