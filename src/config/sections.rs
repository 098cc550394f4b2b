//! From texts to checked values, a section at a time. Each section reads all its keys before it gives up,
//! so that every fault is found in one go.

use super::{
    Amqp, BreakerConfig, Config, Database, Doku, Environment, RequiredSections, SnapConfig, TokenRule,
    console,
    database_url::database_url,
    load::Reader,
    merchants,
    parse::{self, DURATION_MAX_MS, millis, number, whole},
    settlement,
};
use crate::domain::{retry::RetryPolicy, schedule::CheckSchedule, senders::Senders};
use std::sync::Arc;

/// The longest timeout of one HTTP exchange that can be configured.
const TIMEOUT_MAX_MS: u64 = 600_000;
/// More inquiries afterwards would be a poll.
const AFTERWARDS_MAX: usize = 16;
/// Upstream services, each with a user of the broker.
const SOURCES_MAX: usize = 1000;
/// Nodes of a cluster, each with a URL.
const URLS_MAX: usize = 16;
/// DOKU's key, and those before it.
const PUBLIC_KEYS_MAX: usize = 8;
/// Paths that were in use before.
const PATHS_MAX: usize = 16;

pub fn read(r: &mut Reader<'_>, needs: RequiredSections) -> Option<Config> {
    let database = read_database(r, needs.database);
    let amqp = read_amqp(r, needs.amqp);
    let doku = read_doku(r);
    let merchants = merchants::read(r, needs.merchants);
    let retry = read_retry(r);
    let payment_budget = r.get("retry.payment_max_elapsed_ms", millis(1..=DURATION_MAX_MS));
    let refund_budget = r.get("retry.refund_max_elapsed_ms", millis(1..=DURATION_MAX_MS));
    let check = read_check(r);
    let failures = r.get("breaker.failures", whole(1..=1_000_000));
    let open = r.get("breaker.open_ms", millis(1..=DURATION_MAX_MS));
    let ingress_listen = r.get("ingress.listen", parse::listen);
    let admin_listen = r.get("admin.listen", parse::listen);
    let console = console::read(r);
    let settlement = settlement::read(r);
    let shutdown_drain = r.get("shutdown.drain_ms", millis(0..=DURATION_MAX_MS));
    let time_zone = r.get("time_zone", parse::time_zone);
    Some(Config {
        database,
        amqp,
        doku: doku?,
        merchants,
        retry: retry?,
        payment_budget: payment_budget?,
        refund_budget: refund_budget?,
        check: check?,
        breaker: BreakerConfig { failures: failures?, open: open? },
        ingress_listen: ingress_listen?,
        admin_listen: admin_listen?,
        console: Arc::new(console?),
        shutdown_drain: shutdown_drain?,
        settlement: settlement?,
        time_zone: time_zone?,
        snapshot: r.given.clone(),
    })
}

fn read_database(r: &mut Reader<'_>, needed: bool) -> Option<Database> {
    let url = r.secret("database.url", needed, database_url);
    let authorities = r.file("database.ca_file", parse::authorities);
    let max_connections = r.get("database.max_connections", whole(1..=1_000));
    Some(Database { url: url?, authorities, max_connections: max_connections? })
}

fn read_amqp(r: &mut Reader<'_>, needed: bool) -> Option<Amqp> {
    let urls = r.secrets("amqp.url", needed, URLS_MAX, parse::amqp_url);
    let ca_file = r.file("amqp.ca_file", parse::authorities);
    let prefix = r.get("amqp.prefix", parse::prefix);
    let prefetch = r.get("amqp.prefetch", whole(1..=u16::MAX));
    let sources = r.list("amqp.sources", SOURCES_MAX, parse::sender);
    let mut senders = Senders::default();
    sources?.into_iter().for_each(|sender| senders.bind(sender));
    Some(Amqp { urls: urls?, authorities: ca_file, prefix: prefix?, prefetch: prefetch?, senders })
}

fn read_doku(r: &mut Reader<'_>) -> Option<Doku> {
    let environment = r.get("doku.environment", parse::environment);
    let base_url = if r.says("doku.base_url") {
        r.get("doku.base_url", parse::base_url)
    } else {
        environment.map(|environment| environment.base_url().to_owned())
    };
    let insecure_http = r.get("doku.insecure_http", parse::flag);
    if let (Some(environment), Some(base_url), Some(insecure_http)) = (environment, &base_url, insecure_http)
        && let Some(problem) = unsafe_place(environment, base_url, insecure_http)
    {
        r.fault("doku.base_url", problem);
    }
    let connect_timeout = r.get("doku.connect_timeout_ms", millis(1..=TIMEOUT_MAX_MS));
    let timeout = r.get("doku.timeout_ms", millis(1..=TIMEOUT_MAX_MS));
    if connect_timeout.zip(timeout).is_some_and(|(connect, whole)| connect > whole) {
        r.fault("doku.connect_timeout_ms", "too long; allowed: at most doku.timeout_ms");
    }
    let notification_path = r.get("doku.notification_path", parse::path);
    let previous_notification_paths = r.list("doku.previous_notification_paths", PATHS_MAX, parse::path);
    let trust_response = r.get("doku.trust_response", parse::flag);
    let match_request_id = r.get("doku.match_request_id", parse::flag);
    let response_signature = r.get("doku.response_signature", parse::response_signature);
    let snap = read_snap(r);
    let requests_per_second = r.get("doku.requests_per_second", whole(0..=100_000));
    let concurrency = r.get("doku.concurrency", whole(1..=10_000));
    Some(Doku {
        environment: environment?,
        base_url: base_url?,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
        notification_path: notification_path?,
        previous_notification_paths: previous_notification_paths?,
        trust_response: trust_response?,
        match_request_id: match_request_id?,
        response_signature: response_signature?,
        snap: snap?,
        requests_per_second: requests_per_second?,
        concurrency: concurrency?,
    })
}

fn read_snap(r: &mut Reader<'_>) -> Option<SnapConfig> {
    let public_keys = r.files("doku.snap.public_key_files", PUBLIC_KEYS_MAX, parse::rsa_key);
    let token = r.get("doku.snap.token", parse::token_rule);
    if token == Some(TokenRule::Issued) && public_keys.as_deref().is_some_and(<[_]>::is_empty) {
        r.fault(
            "doku.snap.token",
            "no token can be issued without DOKU's public key; allowed: any, or doku.snap.public_key_files too",
        );
    }
    Some(SnapConfig { public_keys: public_keys?, token: token? })
}

/// Why this environment may not be asked there.
fn unsafe_place(environment: Environment, base_url: &str, insecure_http: bool) -> Option<&'static str> {
    match environment {
        Environment::Production if !base_url.starts_with("https://") => {
            Some("not https; allowed with `production`: https only")
        }
        Environment::Production => None,
        Environment::Sandbox if parse::is_production(base_url) => Some(
            "DOKU's production host, with `sandbox`; allowed: doku.environment = production, or a host for trying",
        ),
        Environment::Sandbox if parse::is_open(base_url) && !insecure_http => Some(
            "plain http over the network: keys and customers' data could be changed and read on the way; allowed: https, \
             http to this machine (localhost, 127.0.0.1, [::1]), or doku.insecure_http = true",
        ),
        Environment::Sandbox => None,
    }
}

fn read_retry(r: &mut Reader<'_>) -> Option<RetryPolicy> {
    let initial = r.get("retry.initial_ms", millis(1..=DURATION_MAX_MS));
    let multiplier = r.get("retry.multiplier", number(1.0..=100.0));
    let jitter = r.get("retry.jitter", number(0.0..=1.0));
    let max_interval = r.get("retry.max_interval_ms", millis(1..=DURATION_MAX_MS));
    if initial.zip(max_interval).is_some_and(|(initial, max)| initial > max) {
        r.fault("retry.initial_ms", "too long; allowed: at most retry.max_interval_ms");
    }
    Some(RetryPolicy {
        initial: initial?,
        multiplier: multiplier?,
        jitter: jitter?,
        max_interval: max_interval?,
    })
}

fn read_check(r: &mut Reader<'_>) -> Option<CheckSchedule> {
    let first_after = r.get("check.first_after_ms", millis(1..=DURATION_MAX_MS));
    let max_interval = r.get("check.max_interval_ms", millis(1..=DURATION_MAX_MS));
    let not_found_grace = r.get("check.not_found_grace_ms", millis(0..=DURATION_MAX_MS));
    let give_up_after = r.get("check.give_up_after_ms", millis(1..=DURATION_MAX_MS));
    let afterwards = r.list("check.afterwards_ms", AFTERWARDS_MAX, millis(1..=DURATION_MAX_MS));
    if afterwards.as_deref().is_some_and(|waits| !waits.is_sorted()) {
        r.fault("check.afterwards_ms", "not in order; allowed: each at least as long as the one before");
    }
    Some(CheckSchedule {
        first_after: first_after?,
        max_interval: max_interval?,
        not_found_grace: not_found_grace?,
        give_up_after: give_up_after?,
        afterwards: afterwards?,
    })
}

impl Environment {
    /// DOKU's own hosts (specification, API endpoints).
    fn base_url(self) -> &'static str {
        match self {
            Self::Sandbox => "https://api-sandbox.doku.com",
            Self::Production => "https://api.doku.com",
        }
    }
}
