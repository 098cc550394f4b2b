//! The routes: DOKU's three, and the sandbox's own. `request.rs` has what a request meets.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::routing::{any, get, post};
use bytes::Bytes;

use super::answer::{self, JSON};
use super::face;
use super::fast;
use super::faults;
use super::ledger::Operation;
use super::play::REDIRECTED_PATH;
use super::raw_connection::RawConnection;
use super::request;
use super::settlement::{self, SettlementRequest};
use super::switch::{Faults, Switch};
use super::world::World;

pub const PAYMENT_PATH: &str = "/jenius-digital-banking/v2/ServiceRequestPayment";
pub const REFUND_PATH: &str = "/jenius-digital-banking/v2/ServiceRequestRefund";
/// Followed by an invoice number or a Request-Id, percent-encoded.
pub const CHECK_PATH: &str = "/orders/v1/status/";

const BODY_BYTES_MAX: usize = 256 * 1024;
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn router(world: Arc<World>) -> Router {
    let router = if world.config.fast { fast_routes() } else { all_routes() };
    router
        .route("/faults", get(show_faults).post(set_faults))
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(world)
}

fn fast_routes() -> Router<Arc<World>> {
    Router::new().route(PAYMENT_PATH, post(fast::payment)).route("/ledger", get(fast::counts))
}

fn all_routes() -> Router<Arc<World>> {
    Router::new()
        .route(PAYMENT_PATH, post(payment))
        .route(REFUND_PATH, post(refund))
        .route(&format!("{CHECK_PATH}{{*id}}"), get(inquiry))
        .route("/", get(face::home))
        .route("/app", get(face::app).post(face::answer_payment))
        .route("/app/hand", post(face::set_hand))
        .route("/faults/form", post(face::set_faults))
        .route("/help", get(help))
        .route("/ledger", get(ledger))
        .route("/settlement", get(settlement))
        .route(REDIRECTED_PATH, any(redirected))
}

type SharedWorld = State<Arc<World>>;

async fn payment(
    State(world): SharedWorld,
    ConnectInfo(wire): ConnectInfo<RawConnection>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    request::serve(world, Operation::Payment, wire, uri, headers, body).await
}

async fn refund(
    State(world): SharedWorld,
    ConnectInfo(wire): ConnectInfo<RawConnection>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    request::serve(world, Operation::Refund, wire, uri, headers, body).await
}

async fn inquiry(
    State(world): SharedWorld,
    ConnectInfo(wire): ConnectInfo<RawConnection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    request::serve(world, Operation::Check, wire, uri, headers, Bytes::new()).await
}

async fn help() -> Response<Body> {
    answer::unsigned(200, TEXT, faults::help())
}

async fn ledger(State(world): SharedWorld) -> Response<Body> {
    let ledger = world.book.lock().snapshot();
    json(&ledger)
}

async fn settlement(State(world): SharedWorld, uri: Uri) -> Response<Body> {
    let ledger = world.book.lock().snapshot();
    let request = SettlementRequest::parse(uri.query().unwrap_or_default());
    let file = request.and_then(|request| {
        settlement::settlement_file(&ledger, &request, world.now()).map_err(|error| error.to_string())
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => return answer::unsigned(400, TEXT, error),
    };
    let planted = file
        .planted
        .iter()
        .map(|planted| format!("{} {}", planted.cause, planted.invoice_number.as_deref().unwrap_or("-")));
    let planted = planted.collect::<Vec<_>>().join("; ");
    let mut response = answer::unsigned(200, "text/csv; charset=utf-8", file.csv);
    if let Ok(planted) = HeaderValue::from_str(&planted) {
        response.headers_mut().insert("x-planted", planted);
    }
    response
}

async fn show_faults(State(world): SharedWorld) -> Response<Body> {
    json(&world.switch().faults)
}

async fn set_faults(State(world): SharedWorld, body: Bytes) -> Response<Body> {
    let read = serde_json::from_slice::<Faults>(&body).map_err(|error| error.to_string());
    match read.and_then(|faults| Switch::parse(faults).map_err(|error| error.to_string())) {
        Ok(switch) => {
            world.set_switch(switch);
            json(&world.switch().faults)
        }
        Err(message) => answer::unsigned(400, TEXT, message),
    }
}

async fn redirected(State(world): SharedWorld) -> Response<Body> {
    world.book.lock().note_refused("followed_redirect");
    answer::unsigned(200, JSON, "{}")
}

/// A gateway's answer, not DOKU's.
async fn no_route(uri: Uri) -> Response<Body> {
    let body = serde_json::json!({"status": 404, "error": "Not Found", "path": uri.path()});
    answer::unsigned(404, JSON, body.to_string())
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => answer::unsigned(200, JSON, body),
        Err(error) => answer::unsigned(500, TEXT, error.to_string()),
    }
}
