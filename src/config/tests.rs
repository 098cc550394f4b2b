//! Faults first: what is refused, what the refusal names, and that it never shows a secret.

use super::*;
use secrecy::ExposeSecret;
use std::{io, path::PathBuf};

const COMPLETE: [(&str, &str); 4] = [
    ("DATABASE_URL", "postgres://u:p@localhost/jenius"),
    ("AMQP_URL", "amqp://u:p@localhost:5672/%2f"),
    ("DOKU_CLIENT_ID", "MCH-1"),
    ("DOKU_SECRET_KEY", "SK-1"),
];

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    Config::load(&source(file, environment), RequiredSections::EVERYTHING)
}

fn source(file: &str, environment: &[(&str, &str)]) -> Source<'static> {
    let file = file.to_owned();
    let environment: Vec<_> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Source::new(Some(PathBuf::from("pay.toml")), environment, move |path| match path.to_str() {
        Some("pay.toml") => Ok(file.clone()),
        Some("/run/secret") => Ok("from-a-file\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    })
}

/// With everything that is needed, and `more`.
fn with(more: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    let kept = COMPLETE.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    let all: Vec<_> = kept.chain(more).copied().collect();
    load("", &all)
}

fn faults(result: Result<Config, ConfigFaults>) -> Vec<String> {
    result.unwrap_err().0.iter().map(ConfigFault::to_string).collect()
}

#[test]
fn a_bad_value_is_refused_with_its_key_its_variable_and_what_is_allowed() {
    for (key, bad, allowed) in [
        ("database.url", "mysql://h/d", "postgres://"),
        ("database.url", "", "postgres://"),
        ("database.max_connections", "0", "1 to 1000"),
        ("amqp.url", "localhost:5672", "amqp://"),
        ("amqp.url", "http://h", "amqp://"),
        ("amqp.url", "", "amqp://"),
        ("amqp.url", "amqp://h,http://h", "amqp://"),
        ("amqp.url", "amqp://u:p#w@h/", "%23"),
        ("amqp.url", "amqp://u:1#w@h/", "%23"),
        (
            "amqp.url",
            "amqps://h?cacertfile=/ca.pem",
            "unknown parameter `cacertfile`; allowed: auth_mechanism",
        ),
        ("amqp.url", "amqps://h?heartbeat=5&verify=verify_none", "unknown parameter `verify`"),
        ("amqp.url", "amqp://user?the_rest_of_a_password@h", "unknown parameter; allowed: auth_mechanism"),
        ("amqp.url", "amqp://user?the_rest_of_a_password", "unknown parameter; allowed: auth_mechanism"),
        ("amqp.ca_file", "/nowhere", "/nowhere cannot be read"),
        ("amqp.ca_file", "/run/secret", "no certificates"),
        ("amqp.sources", "checkout", "user=source"),
        ("amqp.sources", "checkout=/checkout;Shop", "user=source"),
        ("amqp.sources", "checkout=/checkout;payment;refund", "user=source"),
        ("amqp.prefix", "a b", "A-Z"),
        ("amqp.prefetch", "0", "1 to 65535"),
        ("amqp.prefetch", "65536", "1 to 65535"),
        ("doku.environment", "prod", "sandbox, production"),
        ("doku.base_url", "api.doku.com", "https://host:port"),
        ("doku.base_url", "https://api.doku.com/v2", "nothing after it"),
        ("doku.base_url", "https://u:p@api.doku.com", "nothing after it"),
        ("doku.base_url", "ftp://api.doku.com", "https://host:port"),
        ("doku.client_id", "a b", "visible ASCII"),
        ("doku.secret_key", "", "1 to 4096"),
        ("doku.secret_key", "k\n", "visible ASCII"),
        ("doku.connect_timeout_ms", "30001", "at most doku.timeout_ms"),
        ("doku.timeout_ms", "0", "1 to 600000 milliseconds"),
        ("doku.timeout_ms", "30s", "1 to 600000 milliseconds"),
        ("doku.notification_path", "payments", "starts with `/`"),
        ("doku.notification_path", "/p?x=1", "without query"),
        ("doku.previous_notification_paths", "/a,b", "starts with `/`"),
        ("doku.trust_response", "yes", "true, false"),
        ("doku.response_signature", "none", "required, tls_only"),
        ("doku.requests_per_second", "-1", "0 to 100000"),
        ("doku.concurrency", "0", "1 to 10000"),
        ("retry.initial_ms", "300001", "at most retry.max_interval_ms"),
        ("retry.multiplier", "0.99", "1.0 to 100.0"),
        ("retry.multiplier", "NaN", "1.0 to 100.0"),
        ("retry.multiplier", "inf", "1.0 to 100.0"),
        ("retry.jitter", "1.01", "0.0 to 1.0"),
        ("retry.jitter", "-0.1", "0.0 to 1.0"),
        ("retry.payment_max_elapsed_ms", "18446744073709551616", "milliseconds"),
        ("check.first_after_ms", "0", "milliseconds"),
        ("check.afterwards_ms", "1000,soon", "milliseconds"),
        ("check.afterwards_ms", "2000,1000", "each at least as long"),
        ("breaker.failures", "0", "1 to 1000000"),
        ("ingress.listen", "localhost:8080", "IP:port"),
        ("admin.listen", "9464", "IP:port"),
        ("shutdown.drain_ms", "-5", "milliseconds"),
    ] {
        let variable = format!("JENIUS_PAY__{}", key.replace('.', "__").to_uppercase());
        let faults = faults(with(&[(&variable, bad)]));
        let start = format!("{key} (from {variable}): ");
        assert_eq!(faults.len(), 1, "{key}={bad}: {faults:?}");
        assert!(faults[0].starts_with(&start) && faults[0].contains(allowed), "{key}={bad}: {faults:?}");
    }
}

#[test]
fn a_name_nobody_knows_is_refused() {
    for (file, variable, named) in [
        ("", "JENIUS_PAY__DOKU__TIMEOUT", "JENIUS_PAY__DOKU__TIMEOUT: unknown variable"),
        ("", "JENIUS_PAY__doku__timeout_ms", "JENIUS_PAY__doku__timeout_ms: unknown variable"),
        ("", "JENIUS_PAY__DOKU__TIMEOUT_MS_FILE", "JENIUS_PAY__DOKU__TIMEOUT_MS_FILE: no secret"),
        ("", "JENIUS_PAY__MERCHANTS__A-B__CLIENT_ID", "JENIUS_PAY__MERCHANTS__A-B__CLIENT_ID: unknown"),
        ("", "JENIUS_PAY__MERCHANTS__A__KEY", "JENIUS_PAY__MERCHANTS__A__KEY: unknown variable"),
        ("[doku]\ntimeout = 1", "X", "doku.timeout (from pay.toml): unknown key; allowed: environment"),
        ("[redis]\nurl = 'x'", "X", "redis (from pay.toml): unknown section; allowed: database, amqp"),
        ("doku = 1", "X", "doku (from pay.toml): not a section"),
        ("[merchants.Shop]\nclient_id = 'x'", "X", "merchants.Shop (from pay.toml): not a merchant's name"),
        ("[merchants]\nshop = 1", "X", "merchants.shop (from pay.toml): not a merchant; allowed: a table"),
        ("[settlement.profile]\ntoko = 1", "X", "settlement.profile.toko (from pay.toml): not a profile"),
        ("[settlement]\nprofile = 1", "X", "settlement.profile (from pay.toml): not a section; allowed: a"),
        ("[doku]\ntimeout_ms = '1'", "X", "doku.timeout_ms (from pay.toml): wrong type; allowed: a whole"),
        ("[check]\nafterwards_ms = ['1']", "X", "check.afterwards_ms (from pay.toml): wrong type"),
        ("[doku]\nclient_id = 2021-01-01", "X", "doku.client_id (from pay.toml): wrong type"),
        ("[doku\n", "X", "--config (from pay.toml): not TOML, line 1"),
    ] {
        let environment: Vec<_> = COMPLETE.into_iter().chain([(variable, "1")]).collect();
        let faults = faults(load(file, &environment));
        assert!(faults.len() == 1 && faults[0].starts_with(named), "{named}: {faults:?}");
    }
}

#[test]
fn every_fault_is_reported_at_once() {
    let faults = faults(load(
        "[doku]\ntimeout_ms = 0\nnope = 1\n[retry]\njitter = 7.0",
        &[("JENIUS_PAY__AMQP__PREFETCH", "none"), ("JENIUS_PAY__WHAT", "1")],
    ));
    let keys: Vec<_> = faults.iter().map(|f| f.split([' ', ':']).next().unwrap()).collect();
    for key in [
        "doku.timeout_ms",
        "doku.nope",
        "retry.jitter",
        "amqp.prefetch",
        "JENIUS_PAY__WHAT",
        "database.url",
        "amqp.url",
        "doku.client_id",
        "doku.secret_key",
    ] {
        assert!(keys.contains(&key), "{key} is not in {keys:?}");
    }
    assert_eq!(keys.len(), 9, "{keys:?}");
}

#[test]
fn accounts_are_refused_where_they_are_half_twice_or_none() {
    let base = [COMPLETE[0], COMPLETE[1]];
    for (file, named) in [
        ("", "doku.client_id: missing; set it in the file or DOKU_CLIENT_ID or JENIUS_PAY__DOKU__CLIENT_ID"),
        ("[doku]\nclient_id = 'A'", "doku.secret_key: missing"),
        ("[doku]\nsecret_key = 'A'", "doku.client_id: missing"),
        ("[merchants.shop]\nclient_id = 'A'", "merchants.shop.secret_key: missing"),
        ("[merchants.shop]", "merchants.shop.client_id: missing"),
        (
            "[doku]\nclient_id='A'\nsecret_key='k'\n[merchants.default]\nclient_id='B'\nsecret_key='k'",
            "doku.client_id (from pay.toml): given twice",
        ),
        (
            "[merchants.a]\nclient_id='A'\nsecret_key='k'\n[merchants.b]\nclient_id='A'\nsecret_key='k'",
            "merchants.b.client_id (from pay.toml): another merchant has this Client-Id",
        ),
    ] {
        let faults = faults(load(file, &base));
        assert!(faults[0].starts_with(named), "{named}: {faults:?}");
    }
}

#[test]
fn production_speaks_https_only() {
    let production = ("JENIUS_PAY__DOKU__ENVIRONMENT", "production");
    let faults = faults(with(&[production, ("DOKU_BASE_URL", "http://127.0.0.1:1")]));
    assert!(faults[0].contains("doku.base_url (from DOKU_BASE_URL): not https"), "{faults:?}");
    assert_eq!(with(&[production]).unwrap().doku.base_url, "https://api.doku.com");
    assert_eq!(with(&[]).unwrap().doku.base_url, "https://api-sandbox.doku.com");
    let trimmed = with(&[("DOKU_BASE_URL", "http://127.0.0.1:1/")]).unwrap();
    assert_eq!(trimmed.doku.base_url, "http://127.0.0.1:1");
}

#[test]
fn only_what_is_on_this_machine_is_asked_by_http_unless_somebody_says_so() {
    let insecure = ("JENIUS_PAY__DOKU__INSECURE_HTTP", "true");
    for (base_url, more, refused) in [
        ("http://127.0.0.1:1", None, None),
        ("http://localhost:1", None, None),
        ("http://[::1]:1", None, None),
        ("http://127.9.9.9", None, None),
        ("https://doku.example.com", None, None),
        ("http://sandbox:8081", None, Some("plain http over the network")),
        ("http://10.0.0.7", None, Some("plain http over the network")),
        ("http://localhost.example.com", None, Some("plain http over the network")),
        ("http://sandbox:8081", Some(insecure), None),
        ("https://api.doku.com", None, Some("DOKU's production host")),
        ("https://API.doku.com.", None, Some("DOKU's production host")),
        ("http://api.doku.com", Some(insecure), Some("DOKU's production host")),
        ("https://api-sandbox.doku.com", None, None),
    ] {
        let changes: Vec<_> = [("DOKU_BASE_URL", base_url)].into_iter().chain(more).collect();
        let found = with(&changes).map(|_| ()).map_err(|faults| faults.to_string());
        match refused {
            None => assert_eq!(found, Ok(()), "{base_url}"),
            Some(why) => {
                let said = found.expect_err(base_url);
                assert!(said.contains("doku.base_url") && said.contains(why), "{base_url}: {said}");
            }
        }
    }
    let production = ("JENIUS_PAY__DOKU__ENVIRONMENT", "production");
    let faults = faults(with(&[production, insecure, ("DOKU_BASE_URL", "http://api.doku.com")]));
    assert!(faults[0].contains("not https"), "{faults:?}");
}

#[test]
fn a_key_with_a_character_that_nobody_sees_is_refused_without_being_shown() {
    for (key, said) in [
        ("SK-can\u{200b}ary", "character 7 is U+200B"),
        ("SK-canary\u{a0}", "character 10 is U+00A0"),
        ("SK canary", "character 3 is U+0020"),
        ("\u{feff}SK-canary", "character 1 is U+FEFF"),
        ("SK-canary\n", "character 10 is U+000A"),
    ] {
        for variable in ["DOKU_SECRET_KEY", "JENIUS_PAY__DOKU__PREVIOUS_SECRET_KEYS"] {
            // A list drops the space around its entries.
            if variable.ends_with("KEYS") && key.trim() != key {
                continue;
            }
            let faults = faults(with(&[(variable, key)]));
            assert!(faults[0].contains(said) && !faults[0].contains("SK"), "{variable}: {faults:?}");
        }
    }
}

#[test]
fn long_beats_short_and_the_environment_beats_the_file() {
    let file = "[doku]\nbase_url = 'https://file'\n[amqp]\nprefix = 'file'";
    let of = |more: &[(&str, &str)]| {
        let all: Vec<_> = COMPLETE.iter().chain(more).copied().collect();
        load(file, &all).unwrap()
    };
    assert_eq!(of(&[]).doku.base_url, "https://file");
    assert_eq!(of(&[("DOKU_BASE_URL", "https://short")]).doku.base_url, "https://short");
    let long = ("JENIUS_PAY__DOKU__BASE_URL", "https://long");
    assert_eq!(of(&[long, ("DOKU_BASE_URL", "https://short")]).doku.base_url, "https://long");
    assert_eq!(of(&[("DOKU_BASE_URL", "https://short"), long]).doku.base_url, "https://long");
    assert_eq!(of(&[]).need_amqp().unwrap().prefix, "file");
}

#[test]
fn a_secret_is_read_from_the_file_its_variable_names() {
    let key = |name| {
        let environment = [COMPLETE[0], COMPLETE[1], COMPLETE[2], (name, "/run/secret")];
        let config = load("", &environment).unwrap();
        config.merchants[&MerchantName::default_account()].secret_key.expose_secret().to_owned()
    };
    assert_eq!(key("DOKU_SECRET_KEY_FILE"), "from-a-file");
    assert_eq!(key("JENIUS_PAY__DOKU__SECRET_KEY_FILE"), "from-a-file");

    let twice = faults(with(&[("DOKU_SECRET_KEY_FILE", "/run/secret")]));
    assert!(twice[0].contains("given twice"), "{twice:?}");
    let lost = faults(with(&[("JENIUS_PAY__DATABASE__URL_FILE", "/nowhere")]));
    let named = "database.url (from JENIUS_PAY__DATABASE__URL_FILE): its file cannot be read";
    assert!(lost[0].starts_with(named), "{lost:?}");
    let lost = [("JENIUS_PAY__DATABASE__URL_FILE", "/nowhere"), COMPLETE[1], COMPLETE[2], COMPLETE[3]];
    assert_eq!(faults(load("", &lost)).len(), 1, "it is not missing too");
}

#[test]
fn lists_and_further_merchants_come_from_the_environment_too() {
    let config = with(&[
        ("JENIUS_PAY__CHECK__AFTERWARDS_MS", ""),
        ("JENIUS_PAY__DOKU__PREVIOUS_NOTIFICATION_PATHS", "/a, /b"),
        ("JENIUS_PAY__MERCHANTS__SHOP__TWO__CLIENT_ID", "MCH-2"),
        ("JENIUS_PAY__MERCHANTS__SHOP__TWO__SECRET_KEY", "SK-2"),
        ("JENIUS_PAY__MERCHANTS__SHOP__TWO__PREVIOUS_SECRET_KEYS", "old,older"),
    ])
    .unwrap();
    assert!(config.check.afterwards.is_empty());
    assert_eq!(config.doku.previous_notification_paths, ["/a", "/b"]);
    let shop = &config.merchants[&MerchantName::parse("shop__two").unwrap()];
    assert_eq!((shop.client_id.as_str(), shop.previous_secret_keys.len()), ("MCH-2", 2));
    assert_eq!(config.merchants.len(), 2);
}

#[test]
fn a_command_asks_only_for_what_it_needs() {
    assert!(Database::load(&source("", &COMPLETE[..1])).is_ok());
    assert!(Amqp::load(&source("", &COMPLETE[1..2])).is_ok());
    let ingress = Config::load(&source("", &COMPLETE[1..]), RequiredSections::INGRESS).unwrap();
    assert!(ingress.database.is_none() && ingress.amqp.is_some());
    assert_eq!(RequiredSections::for_roles(&BTreeSet::from([Role::Ingress])), RequiredSections::INGRESS);
    let relay = RequiredSections::for_roles(&BTreeSet::from([Role::Relay]));
    let relay = Config::load(&source("", &COMPLETE[..2]), relay).unwrap();
    assert!(relay.need_database().is_ok() && relay.need_amqp().is_ok() && relay.merchants.is_empty());
    assert_eq!(
        RequiredSections::for_roles(&BTreeSet::from([Role::Ingress, Role::Relay])),
        RequiredSections::EVERYTHING
    );
    // What is not needed may be missing, but not wrong.
    let bad = Database::load(&source("", &[COMPLETE[0], ("AMQP_URL", "nonsense")])).unwrap_err();
    assert_eq!(bad.0[0].key, "amqp.url");
}

#[test]
fn the_broker_may_have_several_urls() {
    let urls = |config: Config| -> Vec<String> {
        config.need_amqp().unwrap().urls.iter().map(|url| url.expose_secret().to_owned()).collect()
    };
    let both = ["amqp://one", "amqps://two:5671/x"];
    assert_eq!(urls(with(&[("AMQP_URL", "amqp://one, amqps://two:5671/x")]).unwrap()), both);
    let without: Vec<_> = COMPLETE.iter().filter(|(name, _)| *name != "AMQP_URL").copied().collect();
    assert_eq!(urls(load("[amqp]\nurl = ['amqp://one', 'amqps://two:5671/x']", &without).unwrap()), both);
    assert_eq!(urls(load("[amqp]\nurl = 'amqp://one'", &without).unwrap()), ["amqp://one"]);
    // A parameter's value may be a secret, its name is not.
    let refused = with(&[("AMQP_URL", "amqp://h?password=c4n4ry")]).unwrap_err().to_string();
    assert!(refused.contains("`password`") && !refused.contains("c4n4ry"), "{refused}");
}

#[test]
fn every_default_of_the_table_is_what_is_read() {
    // A variable cannot name any merchant or profile.
    let named = keys().iter().filter(|key| !key.variable().contains('<'));
    let defaults: Vec<_> = named.filter_map(|key| Some((key.variable(), key.default?))).collect();
    let written: Vec<_> = defaults.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let read = |values: &[(&str, &str)]| {
        let mut config = with(values).unwrap();
        // It names where each value comes from.
        config.snapshot = ConfigSnapshot::default();
        format!("{config:?}")
    };
    assert_eq!(read(&[]), read(&written));
    let config = with(&[]).unwrap();
    assert_eq!(config.doku.timeout, Duration::from_secs(30));
    assert_eq!(config.check.afterwards.len(), 3);
    assert_eq!(config.need_amqp().unwrap().prefetch, 256);
}

#[test]
fn every_key_of_the_table_is_read() {
    let variable = |key: &ConfigKey| key.variable().replace("<NAME>", "SHOP");
    let is_named = |key: &ConfigKey, faults: &[String]| {
        let start = format!("{} (from", key.name.replace("<name>", "shop"));
        faults.iter().any(|fault| fault.starts_with(&start))
    };
    for key in keys() {
        // U+0001 is in no value, whatever its key.
        let faults = faults(with(&[(&variable(key), "\u{1}")]));
        assert!(is_named(key, &faults), "{} is in the table, and nobody reads it: {faults:?}", key.name);
    }
    // All at once: no fault hides another, whoever the console asks.
    for auth in ["local", "proxy", "oidc"] {
        let others: Vec<_> = keys().iter().filter(|key| key.name != "console.auth").collect();
        let variables: Vec<String> = others.iter().map(|key| variable(key)).collect();
        let bad = variables.iter().map(|variable| (variable.as_str(), "\u{1}"));
        let faults = faults(with(&bad.chain([("JENIUS_PAY__CONSOLE__AUTH", auth)]).collect::<Vec<_>>()));
        for key in others {
            assert!(is_named(key, &faults), "{} is hidden, {auth}: {faults:?}", key.name);
        }
        // Each once, with nothing that only follows from another.
        assert_eq!(faults.len(), variables.len(), "{auth}: {faults:?}");
    }
}

#[test]
fn no_secret_is_ever_shown() {
    const CANARY: &str = "c4n4ry";
    let url = |scheme: &str| format!("{scheme}://u:{CANARY}@h:x y/");
    let (good, bad) = (format!("postgres://u:{CANARY}@h/d"), url("postgres"));
    let bad_key = format!("{CANARY}\u{1}x");
    let shown = [
        format!("{:?}", with(&[("DATABASE_URL", &good), ("DOKU_SECRET_KEY", CANARY)]).unwrap()),
        format!("{:?}", with(&[("DATABASE_URL", &bad), ("AMQP_URL", &url("amqp"))]).unwrap_err()),
        with(&[("DATABASE_URL", &bad), ("DOKU_SECRET_KEY", &bad_key)]).unwrap_err().to_string(),
        with(&[("JENIUS_PAY__DOKU__PREVIOUS_SECRET_KEYS", &bad_key)]).unwrap_err().to_string(),
        // Under the wrong key, and in a file that cannot be read.
        with(&[("JENIUS_PAY__DOKU__TIMEOUT_MS", CANARY)]).unwrap_err().to_string(),
        load(&format!("[doku]\nsecret_key = '{CANARY}"), &COMPLETE).unwrap_err().to_string(),
        load(&format!("[doku]\nsecret_key = {CANARY}"), &COMPLETE).unwrap_err().to_string(),
        load(&format!("[doku]\nsecret_key = ['{CANARY}']"), &COMPLETE).unwrap_err().to_string(),
        load(&format!("doku = '{CANARY}'"), &COMPLETE).unwrap_err().to_string(),
    ];
    for text in shown {
        assert!(!text.contains(CANARY), "{text}");
    }
}
