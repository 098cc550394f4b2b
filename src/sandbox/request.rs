//! The story of one request: check, choose a fault, act, note, answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::answer::{self, AnswerSigner, JSON, SandboxAnswer, Seal};
use super::body;
use super::book::{Acted, Book};
use super::check::{self, Caller};
use super::config::CheckSignature;
use super::customer;
use super::fault_script::{FaultScript, Repeat, ScriptedFault};
use super::faults::{Acts, Fault};
use super::ledger::{Operation, Request};
use super::play;
use super::raw_connection::RawConnection;
use super::server::CHECK_PATH;
use super::switch::Switch;
use super::world::World;

/// What is asked, after the body's own checks.
enum RequestOperation {
    Payment(body::Payment, Arc<FaultScript>),
    Refund(body::Refund, Arc<FaultScript>),
    Check(String),
}

impl RequestOperation {
    fn read(
        operation: Operation,
        caller: &Caller,
        target: &str,
        body: &[u8],
        switch: &Switch,
    ) -> Result<Self, Vec<String>> {
        match operation {
            Operation::Payment => {
                let payment = body::payment(body, &caller.request_id)?;
                let scripted = switch.plan_of(&payment.invoice_number);
                let plan = scripted.unwrap_or_else(|| plan(&payment.cash_tag));
                Ok(Self::Payment(payment, plan))
            }
            Operation::Refund => {
                let refund = body::refund(body)?;
                let plan = plan(&refund.reason);
                Ok(Self::Refund(refund, plan))
            }
            Operation::Check => {
                let id = target.strip_prefix(CHECK_PATH).unwrap_or_default();
                Ok(Self::Check(percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned()))
            }
        }
    }

    fn about(&self) -> &str {
        match self {
            Self::Payment(payment, _) => &payment.invoice_number,
            Self::Refund(refund, _) => &refund.invoice_number,
            Self::Check(id) => id,
        }
    }
}

/// Text that is no plan is an ordinary cash tag or reason.
fn plan(text: &str) -> Arc<FaultScript> {
    Arc::new(FaultScript::parse(text, Repeat::Once).unwrap_or_default())
}

/// `uri` is as it arrived: its path is what was signed.
pub(super) async fn serve(
    world: Arc<World>,
    operation: Operation,
    wire: RawConnection,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let switch = world.switch();
    let now = world.now();
    let target = uri.path();
    let signed_body = (operation != Operation::Check).then_some(&*body);
    let caller = match check::verify(&world.merchants(), now, &headers, target, signed_body) {
        Ok(caller) => caller,
        Err(refusal) => {
            world.book.lock().note_refused(refusal.code());
            let answer = SandboxAnswer::refusal(refusal);
            return answer::unsigned(answer.status, JSON, answer.body);
        }
    };
    let asked = match RequestOperation::read(operation, &caller, target, &body, &switch) {
        Ok(asked) => asked,
        Err(messages) => {
            world.book.lock().note_request(note(operation, &caller, "", Some(400), None, false, now));
            return respond(&world, operation, &caller, target, SandboxAnswer::messages(&messages));
        }
    };
    let (answer, play) = act_and_note(&world, &switch, operation, &caller, &asked, now);
    world.sleep(Duration::from_millis(switch.faults.latency_ms)).await;
    let Some(play) = play else {
        return respond(&world, operation, &caller, target, answer.unwrap_or_else(SandboxAnswer::not_found));
    };
    hang(&world, &play, &caller, asked).await;
    let seal = seal(&world, operation, play::status_shown(&play, answer.as_ref()));
    let signer = AnswerSigner { key: &caller.key, caller: &caller, target, now: world.now() };
    play::perform(&play, answer, seal, &signer, &wire)
}

/// Under one lock, so that what the ledger shows is what was done: the fault is chosen, DOKU acts unless the
/// fault keeps it from acting, and the request is noted.
fn act_and_note(
    world: &Arc<World>,
    switch: &Switch,
    operation: Operation,
    caller: &Caller,
    asked: &RequestOperation,
    now: DateTime<Utc>,
) -> (Option<SandboxAnswer>, Option<ScriptedFault>) {
    let mut book = world.book.lock();
    let (own, nth) = match asked {
        RequestOperation::Payment(_, plan) | RequestOperation::Refund(_, plan) => {
            let nth = book.count_send(caller);
            (plan.send(nth), nth)
        }
        RequestOperation::Check(id) => book.count_inquiry(caller, id),
    };
    let dice = || match operation {
        Operation::Payment | Operation::Refund => world.random(&caller.request_id, nth),
        Operation::Check => world.random(asked.about(), nth),
    };
    let play = switch.strike(operation, &caller.client_id).or(own).or_else(dice);
    let acted = match &play {
        Some(play) if !play.acts => None,
        Some(_) | None => Some(act(&mut book, caller, asked, now)),
    };
    let did = acted.as_ref().is_some_and(|acted| acted.now);
    let (answer, then) = acted.map_or((None, None), |acted| (Some(acted.answer), acted.then));
    let status = match &play {
        Some(play) => play::status_shown(play, answer.as_ref()),
        None => answer.as_ref().map(|answer| answer.status),
    };
    book.note_request(note(operation, caller, asked.about(), status, play.as_ref(), did, now));
    drop(book);
    if let Some(then) = then {
        customer::start(world, then);
    }
    (answer, play)
}

fn act(book: &mut Book, caller: &Caller, asked: &RequestOperation, now: DateTime<Utc>) -> Acted {
    match asked {
        RequestOperation::Payment(payment, plan) => book.pay(caller, payment, plan, now),
        RequestOperation::Refund(refund, plan) => book.refund(caller, refund, plan, now),
        RequestOperation::Check(id) => Acted { answer: book.inquire(caller, id), now: false, then: None },
    }
}

/// Waits where the fault is to hang; where it acts afterwards, it does so though the client be gone.
async fn hang(world: &Arc<World>, play: &ScriptedFault, caller: &Caller, asked: RequestOperation) {
    let wait = Duration::from_millis(play.number().unwrap_or(world.config.hang_ms));
    if play.word.fault == Fault::Hang {
        world.sleep(wait).await;
    }
    if play.word.acts == Acts::Later {
        let task = world.clone();
        let caller = caller.clone();
        let acting = world.tasks.spawn(async move {
            if !task.sleep(wait).await {
                return;
            }
            let acted = act(&mut task.book.lock(), &caller, &asked, task.now());
            if let Some(then) = acted.then {
                customer::start(&task, then);
            }
        });
        if let Err(error) = acting.await {
            tracing::error!(%error, "a late request could not be acted on");
        }
    }
}

fn respond(
    world: &World,
    operation: Operation,
    caller: &Caller,
    target: &str,
    answer: SandboxAnswer,
) -> Response<Body> {
    let seal = seal(world, operation, Some(answer.status));
    let signer = AnswerSigner { key: &caller.key, caller, target, now: world.now() };
    signer.respond(answer.status, JSON, answer.body, seal)
}

fn seal(world: &World, operation: Operation, status: Option<u16>) -> Seal {
    let error = status.is_some_and(|status| status >= 400 && status != 409);
    if error && !world.config.sign_errors {
        return Seal::Missing;
    }
    match (operation, world.config.check_signature) {
        (Operation::Payment | Operation::Refund, _) | (Operation::Check, CheckSignature::WithDigest) => {
            Seal::Right
        }
        (Operation::Check, CheckSignature::WithoutDigest) => Seal::RightWithoutDigest,
        (Operation::Check, CheckSignature::Unsigned) => Seal::Missing,
    }
}

fn note(
    operation: Operation,
    caller: &Caller,
    about: &str,
    http_status: Option<u16>,
    play: Option<&ScriptedFault>,
    acted: bool,
    at: DateTime<Utc>,
) -> Request {
    Request {
        at,
        operation,
        client_id: caller.client_id.to_string(),
        request_id: caller.request_id.clone(),
        invoice_number: about.to_owned(),
        body_digest: caller.digest.clone(),
        http_status,
        fault: play.map(ScriptedFault::name),
        acted,
    }
}
