//! The operators' listener: `/metrics`, `/livez`, `/readyz`. It answers while everything else is away.

use super::ServerLimits;
use axum::{
    Router,
    extract::RawQuery,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Probes and scrapes are few and small.
pub const LIMITS: ServerLimits = ServerLimits {
    connections: 64,
    unverified_bytes: 1024 * 1024,
    body_bytes: 16 * 1024,
    request: Duration::from_secs(10),
    answer: Duration::from_secs(5),
    idle: Duration::from_secs(90),
    upload: None,
};

/// What `/readyz` answers, member by member as JSON: monitoring reads these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    /// Sends are paused by an operator; that alone makes no process unready.
    pub paused: bool,
    /// `postgres`, `broker`, `doku`.
    pub dependencies: BTreeMap<&'static str, ComponentStatus>,
    /// The roles this process runs, by the names `run --role` has.
    pub roles: BTreeMap<&'static str, ComponentStatus>,
    /// Whether sends go, and else why and since when; that alone makes no process unready: what comes is claimed.
    pub sends: ComponentStatus,
    /// Background tasks that were restarted lately; none of them makes anybody unready.
    pub tasks: BTreeMap<&'static str, ComponentStatus>,
    /// Orders made for an account or host that is not configured any more.
    pub stranded_orders: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentStatus {
    pub ok: bool,
    /// For a person: what is waited for. Never an address with a password.
    pub detail: String,
}

impl ComponentStatus {
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

/// What the application knows of itself, without asking anybody: a probe must not wait.
pub trait Snapshot: Send + Sync + 'static {
    fn readiness(&self) -> Readiness;
}

impl<F: Fn() -> Readiness + Send + Sync + 'static> Snapshot for F {
    fn readiness(&self) -> Readiness {
        self()
    }
}

/// The operators' routes; another path is 404, another method 405.
pub fn router(snapshot: impl Snapshot) -> Router {
    let snapshot: Arc<dyn Snapshot> = Arc::new(snapshot);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(async move |RawQuery(query)| readyz(&*snapshot, query.as_deref())))
}

type AdminAnswer = (StatusCode, [(HeaderName, &'static str); 1], String);

const JSON: &str = "application/json";

async fn metrics() -> AdminAnswer {
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], crate::metric::render())
}

fn readyz(snapshot: &dyn Snapshot, query: Option<&str>) -> AdminAnswer {
    let readiness = snapshot.readiness();
    let asked = match role(query) {
        None => readiness,
        Some(role) => match role_readiness(readiness, role) {
            Some(readiness) => readiness,
            None => {
                let error = serde_json::json!({ "error": "no such role here" });
                return (StatusCode::NOT_FOUND, [(CONTENT_TYPE, JSON)], error.to_string());
            }
        },
    };
    let status = if asked.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&asked) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], e.to_string()),
    }
}

fn role(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("role="))
}

/// The same answer, ready where that one role is: the ingress needs the broker only.
fn role_readiness(readiness: Readiness, role: &str) -> Option<Readiness> {
    let (name, health) = readiness.roles.get_key_value(role)?;
    let (name, health) = (*name, health.clone());
    Some(Readiness { ready: health.ok, roles: BTreeMap::from([(name, health)]), ..readiness })
}

#[cfg(test)]
mod tests;
