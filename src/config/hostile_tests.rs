//! Whatever is written into the configuration is refused without being shown, or can be run with.

use super::*;
use crate::domain::mutation_tests::mutated;
use proptest::prelude::*;
use std::path::PathBuf;

const CANARY: &str = "sk_canary";

/// Every key of every section, each with something that is allowed.
const FILE: &str = "
[database]\nurl = \"postgres://u:sk_canary@h/d\"\nmax_connections = 5
[amqp]\nurl = \"amqp://u:sk_canary@h:5672/%2f\"\nprefix = \"jenius\"\nprefetch = 100
[doku]\nenvironment = \"sandbox\"\nclient_id = \"MCH-1\"\nsecret_key = \"sk_canary\"
previous_secret_keys = [\"sk_canary2\"]\ntimeout_ms = 5000\nconcurrency = 10
notification_path = \"/n\"\nprevious_notification_paths = [\"/o\"]\nresponse_signature = \"required\"
[merchants.shop]\nclient_id = \"MCH-2\"\nsecret_key = \"sk_canary3\"
[retry]\ninitial_ms = 100\nmultiplier = 2.0\njitter = 0.5
[check]\nfirst_after_ms = 60000\nafterwards_ms = [1000, 2000]
[breaker]\nfailures = 3
";

fn load(file: &str, environment: Vec<(String, String)>) -> Result<Config, ConfigFaults> {
    let file = file.to_owned();
    let source = Source::new(Some(PathBuf::from("f")), environment, move |_| Ok(file.clone()));
    Config::load(&source, RequiredSections::EVERYTHING)
}

fn can_be_run_with(config: &Config) -> bool {
    config.need_amqp().is_ok_and(|amqp| amqp.prefetch >= 1)
        && config.need_database().is_ok_and(|database| database.max_connections >= 1)
        && config.doku.concurrency >= 1
        && config.doku.connect_timeout <= config.doku.timeout
        && !config.doku.timeout.is_zero()
        && config.doku.notification_path.starts_with('/')
        && !config.merchants.is_empty()
        && config.breaker.failures >= 1
        && !config.retry.initial.is_zero()
        && config.retry.initial <= config.retry.max_interval
}

#[test]
fn the_file_that_is_mutated_is_a_good_one() {
    assert!(load(FILE, Vec::new()).is_ok_and(|config| can_be_run_with(&config)));
}

proptest! {
    #[test]
    fn a_mutated_file_is_refused_or_can_be_run_with(file in mutated(vec![FILE.into()])) {
        match load(&String::from_utf8_lossy(&file), Vec::new()) {
            Ok(config) => {
                let shown = format!("{config:?}");
                prop_assert!(can_be_run_with(&config) && !shown.contains(CANARY), "{}", shown);
            },
            Err(faults) => prop_assert!(!faults.0.is_empty()),
        }
    }

    #[test]
    fn any_text_under_any_key_is_refused_without_being_shown_or_can_be_run_with(
        at in any::<prop::sample::Index>(),
        value in prop_oneof!["\\PC{0,20}", "-?[0-9]{1,40}", "[0-9.,eE-]{1,12}", "(https?|amqps?|postgres)://\\PC{0,20}", "/[!-~]{0,20}"],
    ) {
        let key = at.get(keys());
        let variable = format!("JENIUS_PAY__{}", key.name.replace("<name>", "shop").replace('.', "__").to_uppercase());
        let value = format!("{value}{CANARY}");
        for value in [value.clone(), value.trim_end_matches(CANARY).to_owned()] {
            match load(FILE, vec![(variable.clone(), value.clone())]) {
                Ok(config) => prop_assert!(can_be_run_with(&config), "{} = {}", variable, value),
                Err(faults) => prop_assert!(!faults.to_string().contains(CANARY), "{}", faults),
            }
        }
    }

    #[test]
    fn no_input_panics(
        file in "(\\[(doku|amqp|merchants\\.a|x)\\]\n([a-z_]{1,8} = [-0-9a-z\"'\\[\\]., ]{0,9}\n){0,3}){0,3}|\\PC*",
        names in prop::collection::vec("[A-Z_]{1,12}|DATABASE_URL(_FILE)?|DOKU__TIMEOUT_MS|MERCHANTS__\\PC{0,9}", 0..6),
        value in "\\PC*",
    ) {
        let environment: Vec<_> = names.iter().map(|n| (format!("JENIUS_PAY__{n}"), value.clone())).collect();
        let read = |_: &std::path::Path| Ok(file.clone());
        let source = Source::new(Some(PathBuf::from("f")), environment, read);
        for needs in [RequiredSections::EVERYTHING, RequiredSections::DATABASE, RequiredSections::BROKER] {
            let _ = Config::load(&source, needs).map_err(|faults| faults.to_string());
        }
    }

    #[test]
    fn no_value_of_a_known_key_panics(index in 0..keys().len(), value in "\\PC*|-?[0-9.e]{1,30}") {
        let key = &keys()[index];
        let variable = key.variable().replace("<NAME>", "SHOP");
        let _ = load(FILE, vec![(variable, value)]).map_err(|faults| faults.to_string());
    }
}
