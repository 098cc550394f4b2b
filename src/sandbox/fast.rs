//! The fast mode: DOKU's side of a load test. Payments are verified, counted and answered with a signature, and a
//! Request-Id that is known gets its answer again, as ever; that is all. It remembers no requests, has no
//! customers, sends no notifications and plays no faults but latency.
//!
//! It must never charge twice or forget a charge: what a load test did is held against these counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::answer::{self, AnswerSigner, JSON, SandboxAnswer, Seal, order_body};
use super::body;
use super::check::{self, Caller};
use super::world::World;

/// What was done since the start: the answer of `GET /ledger` in this mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Payment requests with right headers and signature.
    pub requests: u64,
    pub charges: u64,
    /// Requests that were answered as an earlier one was.
    pub replayed: u64,
    /// Requests that did not get past the checks of headers or body, or had another body for a Request-Id.
    pub refused: u64,
}

/// The digest of the body that came with a Request-Id, which is the invoice number too.
type Charged = HashMap<(Arc<str>, String), Option<String>>;

#[derive(Default)]
pub(super) struct Tally {
    charged: Mutex<Charged>,
    requests: AtomicU64,
    replayed: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        let charges = self.charged.lock().len();
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            charges: u64::try_from(charges).unwrap_or(u64::MAX),
            replayed: self.replayed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Charges unless this Request-Id was charged; the answer is what the normal mode gives.
    fn pay(&self, caller: &Caller, payment: &body::Payment) -> SandboxAnswer {
        let key = (caller.client_id.clone(), caller.request_id.clone());
        let mut charged = self.charged.lock();
        let known = charged.get(&key).map(|digest| *digest == caller.digest);
        if known.is_none() {
            charged.insert(key, caller.digest.clone());
        }
        drop(charged);
        if known == Some(false) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return SandboxAnswer::envelope(
                409,
                "idempotent_request",
                "Request-Id was used with another request",
            );
        }
        let notify_url = payment.notify_url.as_ref().map(url::Url::as_str);
        let body = order_body(&payment.invoice_number, payment.amount, "SUCCESS", notify_url);
        if known == Some(true) {
            self.replayed.fetch_add(1, Ordering::Relaxed);
            return SandboxAnswer { status: 409, body };
        }
        SandboxAnswer::ok(body)
    }
}

pub(super) async fn payment(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let tally = &world.tally;
    let now = world.now();
    let caller = match check::verify(&world.merchants(), now, &headers, uri.path(), Some(&body)) {
        Ok(caller) => caller,
        Err(refusal) => {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            let answer = SandboxAnswer::refusal(refusal);
            return answer::unsigned(answer.status, JSON, answer.body);
        }
    };
    tally.requests.fetch_add(1, Ordering::Relaxed);
    let answer = match body::payment(&body, &caller.request_id) {
        Ok(payment) => tally.pay(&caller, &payment),
        Err(messages) => {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            SandboxAnswer::messages(&messages)
        }
    };
    let latency = world.switch().faults.latency_ms;
    world.sleep(Duration::from_millis(latency)).await;
    let signer = AnswerSigner { key: &caller.key, caller: &caller, target: uri.path(), now: world.now() };
    signer.respond(answer.status, JSON, answer.body, Seal::Right)
}

pub(super) async fn counts(State(world): State<Arc<World>>) -> Response<Body> {
    match serde_json::to_vec(&world.tally.counts()) {
        Ok(body) => answer::unsigned(200, JSON, body),
        Err(error) => answer::unsigned(500, "text/plain; charset=utf-8", error.to_string()),
    }
}
