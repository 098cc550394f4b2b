//! The operators' pages, rendered here and complete without a script. `guard` decides who gets in; a page only extracts,
//! asks `Operations`, and renders.
//!
//! Never: a change by GET; anything of others in a page but through maud, which escapes it; a script, style or picture of
//! another place.

mod assets;
mod begun_logins;
mod browser_key;
mod diagram;
mod guard;
mod layout;
mod pages;
mod params;
mod refusal;
mod rules;
mod runbook;
mod seen;
mod upload;
mod words;

pub use browser_key::BrowserKey;
pub use pages::overview::LATE;
pub use rules::{Access, RULES, RouteRule, Verb};

use super::ServerLimits;
use crate::{
    config::{ConsoleConfig, Environment},
    domain::{
        Time,
        action::REASON_CHARS_MAX,
        console::{ConsoleRole, Permission, Person},
        ids::MerchantName,
    },
    flow::ports::{Act, KeyHash, Mark, Operations},
    shown::Times,
};
use axum::{
    Router, middleware,
    response::Response,
    routing::{get, post},
};
use begun_logins::{BegunLogin, BegunLogins};
use chrono_tz::Tz;
use pages::{
    about, audit, dead, decide, doctor, entry, events, live, login, order, orders, overview, review, sends,
    settlement, settlement_batch, settlement_file, work,
};
use params::Params;
use seen::SeenSessions;
use std::{net::IpAddr, sync::Arc, time::Duration};
use uuid::Uuid;

/// A few people with a few browsers.
pub const LIMITS: ServerLimits = ServerLimits {
    connections: 256,
    unverified_bytes: 8 * 1024 * 1024,
    body_bytes: 128 * 1024,
    request: Duration::from_secs(10),
    answer: Duration::from_secs(20),
    idle: Duration::from_secs(75),
    // As long as a file of the largest size takes by a slow line.
    upload: Some((UPLOAD_PATH, Duration::from_secs(30 * 60))),
};

/// The one path that takes a file.
const UPLOAD_PATH: &str = "/settlement/bring";

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What the console is made with.
pub struct ConsoleSetting {
    pub config: Arc<ConsoleConfig>,
    pub environment: Environment,
    pub zone: Tz,
    /// Whose settlement files may come, and how they may be written.
    pub merchants: Vec<MerchantName>,
    pub profiles: Vec<String>,
    pub now: fn() -> Time,
}

/// What every page needs.
struct Console<O> {
    operations: O,
    setting: ConsoleSetting,
    seen: SeenSessions,
    logins: BegunLogins,
}

impl<O> Console<O> {
    fn times(&self) -> Times {
        Times::new(self.setting.zone, (self.setting.now)())
    }
}

/// One request, once it was let in.
#[derive(Debug, Clone)]
struct Visit {
    /// `None`: this page is for all.
    person: Option<Person>,
    key: Option<KeyHash>,
    path: String,
    query: Params,
    form: Params,
    peer: IpAddr,
    /// Whether the browser came by `http://` from this machine.
    is_local: bool,
    login: Option<BegunLogin>,
    /// Why nothing can be changed now.
    read_only: Option<&'static str>,
}

impl Visit {
    /// Why the person may not do it; `None`: they may.
    fn refusal(&self, permission: Permission) -> Option<String> {
        if let Some(why) = self.read_only {
            return Some(why.to_owned());
        }
        let may = self.person.as_ref().is_some_and(|person| person.may(permission));
        let role = ConsoleRole::needed_for(permission).name();
        (!may).then(|| format!("This needs the role {role}."))
    }

    /// Who acts by this form, and why; every change has both.
    fn act(&self) -> Result<Act, refusal::PageRefusal> {
        let person = self.person.as_ref().ok_or(refusal::PageRefusal::NotKnown)?;
        let reason =
            self.form.get("reason").ok_or(refusal::PageRefusal::Senseless("Say why: the reason is kept."))?;
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(refusal::PageRefusal::Senseless("A reason has at most 500 characters."));
        }
        let action_id = self.form.get("action").and_then(|id| Uuid::try_parse(id).ok());
        let action_id = action_id
            .ok_or(refusal::PageRefusal::Senseless("The form is not whole: open its page again."))?;
        let mark = Mark { action_id, from: self.peer.to_string() };
        Ok(Act { by: person.audited(), reason: reason.to_owned(), mark })
    }
}

type Shared<O> = Arc<Console<O>>;

/// Dead letters, events, and the service itself.
fn service_pages<O: Operations>() -> Router<Shared<O>> {
    Router::new()
        .route("/dead", get(dead::list::<O>))
        .route("/dead/look", post(dead::look::<O>))
        .route("/dead/group", get(dead::group::<O>))
        .route("/dead/letter", get(dead::letter::<O>))
        .route("/dead/replay/confirm", post(dead::confirm_replay::<O>))
        .route("/dead/replay", post(dead::replay::<O>))
        .route("/dead/drop/confirm", post(dead::confirm_drop::<O>))
        .route("/dead/drop", post(dead::drop::<O>))
        .route("/events", get(events::list::<O>))
        .route("/events/publish/confirm", post(events::confirm::<O>))
        .route("/events/publish", post(events::publish::<O>))
        .route("/work", get(work::show::<O>))
        .route("/live", get(live::show::<O>))
        .route("/live/stream", get(live::stream_events::<O>))
        .route("/doctor", get(doctor::show::<O>))
        .route("/doctor/look", post(doctor::look::<O>))
        .route("/about", get(about::show::<O>))
}

/// Every page, behind the guard.
pub fn router<O: Operations>(operations: O, setting: ConsoleSetting) -> Router {
    let logins = BegunLogins::from_config(&setting.config);
    let console: Shared<O> = Arc::new(Console { operations, setting, seen: SeenSessions::default(), logins });
    Router::new()
        .route("/", get(overview::show::<O>))
        .route("/orders", get(orders::list::<O>))
        .route("/orders.csv", get(orders::csv::<O>))
        .route("/order", get(order::show::<O>))
        .route("/order/customer", post(order::show_customer::<O>))
        .route("/order/ask", post(order::ask_doku::<O>))
        .route("/order/publish", post(order::publish_again::<O>))
        .route("/review", get(review::list::<O>))
        .route("/order/decide", get(decide::show::<O>).post(decide::decide::<O>))
        .route("/order/hold", post(decide::hold::<O>))
        .route("/order/decide/confirm", post(decide::confirm::<O>))
        .route("/sends", get(sends::show::<O>))
        .route("/sends/pause", post(sends::pause::<O>))
        .route("/sends/resume", post(sends::resume::<O>))
        .merge(service_pages())
        .route("/settlement", get(settlement::show::<O>))
        .route("/settlement.csv", get(settlement::csv::<O>))
        .route("/settlement/batch", get(settlement_batch::show::<O>))
        .route("/settlement/file", get(settlement_file::show::<O>))
        .route(UPLOAD_PATH, post(settlement_file::bring_in::<O>))
        .route("/settlement/match", post(settlement_file::match_file::<O>))
        .route("/settlement/close", post(settlement::close::<O>))
        .route("/audit", get(audit::list::<O>))
        .route("/audit.csv", get(audit::csv::<O>))
        .route("/enter", get(entry::ask::<O>).post(entry::enter::<O>))
        .route("/leave", post(entry::leave::<O>))
        .route("/login", get(login::begin::<O>))
        .route("/login/back", get(login::back::<O>))
        .route(&assets::STYLE.path, get(async || assets::STYLE.answer()))
        .route(&assets::SCRIPT.path, get(async || assets::SCRIPT.answer()))
        .route(&assets::ICON.path, get(async || assets::ICON.answer()))
        .fallback(refusal::no_such_page::<O>)
        .layer(middleware::from_fn_with_state(Arc::clone(&console), guard::guard::<O>))
        .with_state(console)
}

/// What a page's handler answers.
type PageAnswer = Result<Response, refusal::PageRefusal>;

#[cfg(test)]
mod tests;
