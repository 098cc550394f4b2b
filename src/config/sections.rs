//! From texts to checked values, a section at a time. A key with a default always has a value here, in place of a bad one
//! too: `?` ends no section before its last key, and every fault is found in one go.

use super::{
    Amqp, BreakerConfig, Config, Database, Doku, Environment, MerchantConfig, RequiredSections, SnapConfig,
    TokenRule, console,
    load::Reader,
    parse::{self, DURATION_MAX_MS, millis, number, whole_number},
    settlement,
};
use crate::domain::{ids::MerchantName, retry::RetryPolicy, schedule::CheckSchedule, senders::Senders};
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
/// Keys that are in rotation at one time.
const PREVIOUS_KEYS_MAX: usize = 16;
/// Every merchant has its own breaker, limits and metrics.
const MERCHANTS_MAX: usize = 1000;

pub fn read(r: &mut Reader<'_>, needs: RequiredSections) -> Option<Config> {
    // What may be missing is read first: nothing ends before all the rest is read too.
    let (database, amqp) = (read_database(r, needs.database), read_amqp(r, needs.amqp));
    let (doku, merchants) = (read_doku(r), read_merchants(r, needs.merchants));
    let console = console::read(r);
    Some(Config {
        database,
        amqp,
        doku: doku?,
        merchants,
        retry: read_retry(r)?,
        payment_budget: r.get("retry.payment_max_elapsed_ms", millis(1..=DURATION_MAX_MS))?,
        refund_budget: r.get("retry.refund_max_elapsed_ms", millis(1..=DURATION_MAX_MS))?,
        check: read_check(r)?,
        breaker: BreakerConfig {
            failures: r.get("breaker.failures", whole_number(1..=1_000_000))?,
            open: r.get("breaker.open_ms", millis(1..=DURATION_MAX_MS))?,
        },
        ingress_listen: r.get("ingress.listen", parse::listen)?,
        admin_listen: r.get("admin.listen", parse::listen)?,
        settlement: settlement::read(r)?,
        shutdown_drain: r.get("shutdown.drain_ms", millis(0..=DURATION_MAX_MS))?,
        time_zone: r.get("time_zone", parse::time_zone)?,
        console: Arc::new(console?),
        snapshot: r.given.clone(),
    })
}

fn read_database(r: &mut Reader<'_>, needed: bool) -> Option<Database> {
    let url = r.secret("database.url", needed, parse::database_url);
    Some(Database {
        authorities: r.file("database.ca_file", parse::authorities),
        max_connections: r.get("database.max_connections", whole_number(1..=1_000))?,
        url: url?,
    })
}

fn read_amqp(r: &mut Reader<'_>, needed: bool) -> Option<Amqp> {
    let urls = r.secrets("amqp.url", needed, URLS_MAX, parse::amqp_url);
    let mut senders = Senders::default();
    r.list("amqp.sources", SOURCES_MAX, parse::sender).into_iter().for_each(|sender| senders.bind(sender));
    Some(Amqp {
        authorities: r.file("amqp.ca_file", parse::authorities),
        prefix: r.get("amqp.prefix", parse::prefix)?,
        prefetch: r.get("amqp.prefetch", whole_number(1..=u16::MAX))?,
        senders,
        urls: urls?,
    })
}

fn read_doku(r: &mut Reader<'_>) -> Option<Doku> {
    let environment = r.get("doku.environment", parse::environment)?;
    let base_url = r.get("doku.base_url", parse::base_url);
    let doku = Doku {
        environment,
        base_url: base_url.unwrap_or_else(|| environment.base_url().to_owned()),
        connect_timeout: r.get("doku.connect_timeout_ms", millis(1..=TIMEOUT_MAX_MS))?,
        timeout: r.get("doku.timeout_ms", millis(1..=TIMEOUT_MAX_MS))?,
        notification_path: r.get("doku.notification_path", parse::path)?,
        previous_notification_paths: r.list("doku.previous_notification_paths", PATHS_MAX, parse::path),
        trust_response: r.get("doku.trust_response", parse::flag)?,
        match_request_id: r.get("doku.match_request_id", parse::flag)?,
        response_signature: r.get("doku.response_signature", parse::response_signature)?,
        snap: SnapConfig {
            public_keys: r.files("doku.snap.public_key_files", PUBLIC_KEYS_MAX, parse::rsa_key),
            token: r.get("doku.snap.token", parse::token_rule)?,
        },
        requests_per_second: r.get("doku.requests_per_second", whole_number(0..=100_000))?,
        concurrency: r.get("doku.concurrency", whole_number(1..=10_000))?,
    };
    let insecure_http = r.get("doku.insecure_http", parse::flag)?;
    if let Some(problem) = unsafe_place(environment, &doku.base_url, insecure_http) {
        r.clash(["doku.base_url", "doku.environment", "doku.insecure_http"], problem);
    }
    if doku.connect_timeout > doku.timeout {
        let problem = "too long; allowed: at most doku.timeout_ms";
        r.clash(["doku.connect_timeout_ms", "doku.timeout_ms"], problem);
    }
    if doku.snap.token == TokenRule::Issued && doku.snap.public_keys.is_empty() {
        let problem = "no token can be issued without DOKU's public key; allowed: any, or doku.snap.public_key_files too";
        r.clash(["doku.snap.token", "doku.snap.public_key_files"], problem);
    }
    Some(doku)
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

/// The accounts at DOKU: `default` through `doku.*`, the others through `merchants.<name>.*`. Where `needed`, there is at least one and each is complete.
fn read_merchants(r: &mut Reader<'_>, needed: bool) -> BTreeMap<MerchantName, MerchantConfig> {
    let default = MerchantName::default_account();
    let named = r.given.names("merchants");
    let in_doku = MEMBERS.iter().any(|member| r.is_given(&format!("doku.{member}")));
    if in_doku && named.contains(&default) {
        let problem =
            "given twice; allowed: the default merchant in `doku` or in `merchants.default`, not both";
        r.fault("doku.client_id", problem);
    }
    if named.len() > MERCHANTS_MAX {
        r.fault("merchants", format!("too many merchants; allowed: at most {MERCHANTS_MAX}"));
    }
    if needed && !in_doku && named.is_empty() {
        r.missing("doku.client_id");
        r.missing("doku.secret_key");
    }
    let mut sections: Vec<_> =
        named.into_iter().map(|name| (format!("merchants.{name}"), name)).take(MERCHANTS_MAX).collect();
    if in_doku {
        sections.push(("doku".to_owned(), default));
    }
    let mut merchants = BTreeMap::new();
    let mut client_ids = BTreeSet::new();
    for (section, name) in sections {
        if let Some(merchant) = read_merchant(r, &section, needed, &mut client_ids) {
            merchants.insert(name, merchant);
        }
    }
    merchants
}

const MEMBERS: [&str; 3] = ["client_id", "secret_key", "previous_secret_keys"];

fn read_merchant(
    r: &mut Reader<'_>,
    section: &str,
    needed: bool,
    client_ids: &mut BTreeSet<String>,
) -> Option<MerchantConfig> {
    let [id, key, previous] = MEMBERS.map(|member| format!("{section}.{member}"));
    if needed && !r.is_given(&id) {
        r.missing(&id);
    }
    let client_id = r.get(&id, parse::client_id);
    // A notification's Client-Id decides which key verifies it: two merchants with one Client-Id would be one.
    if client_id.clone().is_some_and(|client_id| !client_ids.insert(client_id)) {
        r.fault(&id, "another merchant has this Client-Id; allowed: one merchant for each");
    }
    let secret_key = r.secret(&key, needed, parse::secret_key);
    let previous = r.list(&previous, PREVIOUS_KEYS_MAX, parse::secret_key);
    let previous_secret_keys = previous.into_iter().map(SecretString::from).collect();
    Some(MerchantConfig { client_id: client_id?, secret_key: secret_key?, previous_secret_keys })
}

fn read_retry(r: &mut Reader<'_>) -> Option<RetryPolicy> {
    let retry = RetryPolicy {
        initial: r.get("retry.initial_ms", millis(1..=DURATION_MAX_MS))?,
        multiplier: r.get("retry.multiplier", number(1.0..=100.0))?,
        jitter: r.get("retry.jitter", number(0.0..=1.0))?,
        max_interval: r.get("retry.max_interval_ms", millis(1..=DURATION_MAX_MS))?,
    };
    if retry.initial > retry.max_interval {
        let problem = "too long; allowed: at most retry.max_interval_ms";
        r.clash(["retry.initial_ms", "retry.max_interval_ms"], problem);
    }
    Some(retry)
}

fn read_check(r: &mut Reader<'_>) -> Option<CheckSchedule> {
    let check = CheckSchedule {
        first_after: r.get("check.first_after_ms", millis(1..=DURATION_MAX_MS))?,
        max_interval: r.get("check.max_interval_ms", millis(1..=DURATION_MAX_MS))?,
        not_found_grace: r.get("check.not_found_grace_ms", millis(0..=DURATION_MAX_MS))?,
        give_up_after: r.get("check.give_up_after_ms", millis(1..=DURATION_MAX_MS))?,
        afterwards: r.list("check.afterwards_ms", AFTERWARDS_MAX, millis(1..=DURATION_MAX_MS)),
    };
    if !check.afterwards.is_sorted() {
        r.fault("check.afterwards_ms", "not in order; allowed: each at least as long as the one before");
    }
    Some(check)
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
