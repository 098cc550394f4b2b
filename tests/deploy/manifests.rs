//! The image, Compose, Kubernetes and systemd: every variable they set is a key, every role has its place, and ports,
//! probes, queues and waits are the program's own. That they are well formed is checked by `deploy/local/check`.

use crate::{file, read};
use clap::Parser;
use jenius_pay::{
    cli::Cli,
    config::{self, Config, ConfigKey, RequiredSections, Role, Source},
    rabbit::TopologyNames,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const PREFIX: &str = "JENIUS_PAY__";
const FILE_SUFFIX: &str = "_FILE";
/// Stands in the build, before there is a program to configure.
const REVISION: &str = "JENIUS_PAY_REVISION";

fn texts() -> Vec<(String, String)> {
    let mut paths = vec![file("Dockerfile"), file("compose.yaml")];
    for folder in [
        "kubernetes/base",
        "kubernetes/keda",
        "kubernetes/pod-monitor",
        "kubernetes/prune",
        "kubernetes/operator",
        "kubernetes/console",
        "kubernetes/example",
        "systemd",
        "systemd/jenius-pay@relay.service.d",
        "systemd/jenius-pay@ingress.service.d",
        "systemd/jenius-pay@console.service.d",
    ] {
        let entries = fs::read_dir(file(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.is_file()));
    }
    paths.into_iter().map(|path| (name_of(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(file("")).unwrap().display().to_string()
}

fn default_of(name: &str) -> &'static str {
    config::keys().iter().find(|key| key.name == name).and_then(|key| key.default).unwrap()
}

fn port_of(name: &str) -> &'static str {
    default_of(name).rsplit_once(':').unwrap().1
}

/// The numbers that follow a word, as far as they are numbers.
fn numbers_after(text: &str, word: &str) -> Vec<u64> {
    let after = text.match_indices(word).map(|(at, _)| &text[at + word.len()..]);
    let digits =
        after.map(|rest| rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.map(|digits| digits.parse().unwrap_or_else(|_| panic!("no number after {word}"))).collect()
}

/// Words in capitals that are ours, or a short name of a key.
fn variables(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let shorts: Vec<&str> = config::keys().iter().filter_map(|key| key.short).collect();
    text.split(|c| !is_word(c))
        .filter(|word| *word != REVISION)
        .filter(|word| {
            word.starts_with("JENIUS_PAY_") || shorts.contains(&word.trim_end_matches(FILE_SUFFIX))
        })
        .map(str::to_owned)
        .collect()
}

fn key_of(variable: &str) -> Option<&'static ConfigKey> {
    // The account that the examples add.
    let general = variable.replace("__SHOP__", "__<NAME>__");
    config::keys().iter().find(|key| key.short == Some(variable) || key.variable() == general)
}

#[test]
fn every_variable_is_a_key_and_only_secrets_come_from_files() {
    let mut seen = 0;
    for (name, text) in texts() {
        for variable in variables(&text) {
            let stem = match variable.strip_suffix(FILE_SUFFIX) {
                Some(stem) if key_of(&variable).is_none() => stem,
                Some(_) | None => &variable,
            };
            let key = key_of(stem).unwrap_or_else(|| panic!("{name}: {variable} is no key"));
            let from_file = stem != variable;
            let sandboxed = name == "compose.yaml" && variable == "DOKU_SECRET_KEY";
            assert!(key.secret == from_file || sandboxed, "{name}: {variable} is a secret, or none");
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen}");
}

/// The roles that run in all of them, and the one that is added.
fn roles() -> impl Iterator<Item = Role> {
    Role::UNNAMED.into_iter().chain([Role::Console])
}

/// `- name: X` and `value: Y` of a pod; `KEY=VALUE` of kustomize's literals.
fn environment(role: Role) -> BTreeMap<String, String> {
    let folder = if role == Role::Console { "console" } else { "base" };
    let pod = read(&format!("kubernetes/{folder}/{}.yaml", role.name()));
    let lines: Vec<&str> = pod.lines().map(str::trim).collect();
    let named = lines.windows(2).filter_map(|pair| {
        Some((pair[0].strip_prefix("- name: ")?.to_owned(), pair[1].strip_prefix("value: ")?.to_owned()))
    });
    let kustomization = read("kubernetes/base/kustomization.yaml");
    let literals: Vec<(String, String)> = kustomization
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    named.chain(literals).collect()
}

#[test]
fn every_role_starts_with_what_its_pod_gives_it() {
    for role in roles() {
        let secret = |path: &Path| match path.file_name().unwrap().to_str().unwrap() {
            "database-url" => Ok("postgres://u:p@postgres/d\n".to_owned()),
            "amqp-url" => Ok("amqps://u:p@rabbitmq/%2f\n".to_owned()),
            "doku-secret-key" => Ok("SK-1\n".to_owned()),
            "console-client-secret" => Ok("secret\n".to_owned()),
            "doku-previous-secret-keys" => Ok(String::new()),
            other => panic!("{}: nothing makes the secret {other}", role.name()),
        };
        let environment = environment(role);
        let source = Source::new(None, environment.clone(), secret);
        let config = Config::load(&source, RequiredSections::for_roles(&BTreeSet::from([role])));
        let config = config.unwrap_or_else(|faults| panic!("{}: {faults}", role.name()));
        assert!(config.admin_listen.ip().is_unspecified(), "{}: nobody could probe it", role.name());
        assert_eq!(config.database.is_some(), role != Role::Ingress, "{}", role.name());
    }
}

/// The services of Compose that run the program, each with its lines.
fn services() -> Vec<String> {
    let compose = read("compose.yaml");
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let mut blocks: Vec<String> = Vec::new();
    for line in services.lines() {
        if line.starts_with("  ") && !line[2..].starts_with([' ', '#']) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(&format!("{line}\n"));
        }
    }
    blocks.retain(|block| block.contains("    <<: *jenius\n"));
    blocks
}

/// An authority, a prefix or DOKU's environment that is set for all is for the jobs too.
#[test]
fn everybody_who_runs_the_program_takes_what_is_set_for_all() {
    let mut seen = 0;
    for (name, text) in texts() {
        let pods = text.matches("image: jenius-pay:").count();
        let take = text.matches("configMapRef:\n").count();
        assert_eq!(pods, take, "{name}");
        let starts = text.matches("\nExecStart=").count();
        assert_eq!(
            starts,
            text.matches("\nEnvironmentFile=-/etc/jenius-pay/environment\n").count(),
            "{name}"
        );
        seen += pods + starts;
    }
    // The roles, the console, `migrate`, `prune` and the operator's; three units.
    assert_eq!(seen, Role::UNNAMED.len() + 4 + 3);

    let compose = read("compose.yaml");
    assert!(compose.contains("  environment: &environment\n    <<: *settings\n"));
    let takes = ["      <<: *settings\n", "      <<: *environment\n"];
    let services = services();
    assert_eq!(
        services.len(),
        Role::UNNAMED.len() + 4,
        "and the console, `migrate`, the operator's, the sandbox"
    );
    for service in services.iter().filter(|service| !service.contains("command: [sandbox,")) {
        let is_own = service.contains("\n    environment:\n");
        assert!(!is_own || takes.iter().any(|take| service.contains(take)), "{service}");
    }
}

#[test]
fn every_role_has_its_deployment_its_service_and_its_scrape() {
    let compose = read("compose.yaml");
    let kustomization = read("kubernetes/base/kustomization.yaml");
    let admin = port_of("admin.listen");
    for name in Role::UNNAMED.map(Role::name) {
        let pod = read(&format!("kubernetes/base/{name}.yaml"));
        for part in [
            format!("\n  name: jenius-pay-{name}\n"),
            format!("args: [run, --role, {name}]\n"),
            "path: /livez\n".to_owned(),
            format!("path: /readyz?role={name}\n"),
            format!("containerPort: {admin}\n"),
        ] {
            assert!(pod.contains(&part), "{name}: no `{part}`");
        }
        assert!(kustomization.contains(&format!("- {name}.yaml\n")));
        assert!(
            compose.contains(&format!("\n  {name}:\n"))
                && compose.contains(&format!("[run, --role, {name}]"))
        );
        assert!(compose.contains(&format!("\"{name}:{admin}\"")), "nobody scrapes {name}");
    }
}

#[test]
fn ports_are_those_that_the_program_listens_on_by_default() {
    let (admin, ingress) = (port_of("admin.listen"), port_of("ingress.listen"));
    let console = port_of("console.listen");
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("EXPOSE {ingress} {admin}\n")));
    for (name, text) in texts() {
        for (key, port) in [("ADMIN", admin), ("INGRESS", ingress), ("CONSOLE", console)] {
            for set in numbers_after(&text, &format!("{PREFIX}{key}__LISTEN=0.0.0.0:")) {
                assert_eq!(set.to_string(), port, "{name}: {key}");
            }
        }
        let offered = numbers_after(&text, "containerPort:");
        let known = |port: &u64| [admin, ingress, console].contains(&port.to_string().as_str());
        assert!(offered.iter().all(known), "{name}");
    }
    assert!(read("kubernetes/base/ingress.yaml").contains(&format!("containerPort: {ingress}\n")));
    let path = default_of("doku.notification_path");
    assert!(read("kubernetes/example/route.yaml").contains(&format!("- path: {path}\n")));
    assert!(read("compose.yaml").contains(&format!("http://ingress:{ingress}{path}")));
}

/// A command line of the program: a list in brackets, or what follows the program's path.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let lists = text.lines().filter_map(|line| {
        let line = line.trim();
        let list = line.strip_prefix("args: [").or_else(|| line.strip_prefix("command: ["))?;
        let words = list.strip_suffix(']').unwrap().split(", ");
        Some(words.map(|word| word.trim_matches('"').to_owned()).collect())
    });
    let starts = text.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/jenius-pay "));
    // One unit is for each role.
    lists
        .chain(starts.map(|line| line.replace("%i", "worker").split(' ').map(str::to_owned).collect()))
        .collect()
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let mut seen = 0;
    for (name, text) in texts() {
        for line in command_lines(&text) {
            let parsed = Cli::try_parse_from(std::iter::once("jenius-pay".to_owned()).chain(line));
            assert!(parsed.is_ok(), "{name}: {}", parsed.unwrap_err());
            seen += 1;
        }
    }
    // The roles, the console, `migrate` and the operator's twice each, the sandbox, `prune`, and the three units.
    assert_eq!(seen, 2 * (Role::UNNAMED.len() + 3) + 5);
    let healthcheck = read("Dockerfile").contains(r#"CMD ["/usr/bin/jenius-pay", "health"]"#);
    assert!(healthcheck && Cli::try_parse_from(["jenius-pay", "health"]).is_ok());
}

/// Who is killed before the drain has ended leaves work to leases that must run out first.
#[test]
fn everybody_waits_longer_than_the_drain() {
    let drain: u64 = default_of("shutdown.drain_ms").parse::<u64>().unwrap() / 1000;
    let mut seen = 0;
    for (name, text) in texts() {
        let before: u64 =
            if text.contains("preStop:") { numbers_after(&text, "seconds:").into_iter().sum() } else { 0 };
        for word in ["terminationGracePeriodSeconds:", "TimeoutStopSec="] {
            for wait in numbers_after(&text, word) {
                assert!(
                    wait >= drain + before + 5,
                    "{name}: {word} {wait}, the drain takes {drain} s after {before} s"
                );
                seen += 1;
            }
        }
        if name == "compose.yaml" {
            assert!(numbers_after(&text, "stop_grace_period:")[0] >= drain + 5, "{name}");
        }
    }
    assert_eq!(
        seen,
        Role::UNNAMED.len() + 3,
        "a Deployment for each role, the console's too, and the units that run"
    );
}

#[test]
fn replicas_follow_the_queues_that_are_worked_on() {
    let names = TopologyNames::new(default_of("amqp.prefix")).unwrap();
    let scaled = read("kubernetes/keda/scaled-objects.yaml");
    let queues: BTreeSet<&str> =
        scaled.lines().filter_map(|line| line.trim().strip_prefix("queueName: ")).collect();
    assert_eq!(queues, BTreeSet::from(names.work_queues()));
    // What waits while sends are stopped is in no queue.
    let asked: Vec<&str> = scaled.lines().filter_map(|line| line.trim().strip_prefix("query: ")).collect();
    assert!(asked.len() == 1 && asked[0].contains("jenius_due_sends{"), "{asked:?}");
    assert_eq!(crate::queries::faults(asked[0]), Vec::<String>::new());
    let policies = read("compose/rabbitmq.json");
    assert!(policies.contains(&format!(r#""^{}\\.(dead|unrouted)$""#, default_of("amqp.prefix"))));
}

/// Deliveries that are taken beforehand are memory, as large as the broker lets a message be.
#[test]
fn the_broker_takes_no_message_much_larger_than_ours() {
    let ours = u64::try_from(jenius_pay::rabbit::wire::BODY_BYTES_MAX).unwrap();
    for name in ["compose.yaml", "RUNBOOK.md"] {
        let sizes = numbers_after(&read(name), "max_message_size =");
        assert!(sizes.len() == 1 && (ours..=4 * ours).contains(&sizes[0]), "{name}: {sizes:?}");
    }
}

#[test]
fn the_version_is_this_one_and_the_image_is_built_with_a_rust_that_can() {
    let image = format!("jenius-pay:{}", env!("CARGO_PKG_VERSION"));
    for (name, text) in texts() {
        let named: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("image: jenius-pay")).map(|l| l.1).collect();
        for tag in named {
            assert_eq!(format!("jenius-pay{tag}"), image, "{name}");
        }
    }
    assert!(
        read("kubernetes/example/kustomization.yaml")
            .contains(&format!("newTag: {}\n", env!("CARGO_PKG_VERSION")))
    );
    let wanted: u64 = env!("CARGO_PKG_RUST_VERSION").split('.').nth(1).unwrap().parse().unwrap();
    assert!(numbers_after(&read("Dockerfile"), "ARG RUST=1.")[0] >= wanted);
}

/// What RUNBOOK and Compose import is what a role with the permission declares.
#[test]
fn the_imported_definitions_are_the_exchanges_and_queues_of_the_program() {
    use jenius_pay::rabbit::topology::{Argument, ExchangeType};
    use serde_json::{Map, Value, json};
    let names = TopologyNames::new(default_of("amqp.prefix")).unwrap();
    let exchanges: Vec<Value> = names
        .exchanges()
        .iter()
        .map(|it| {
            let kind = match it.kind {
                ExchangeType::Topic => "topic",
                ExchangeType::Fanout => "fanout",
            };
            let arguments = it.alternate.map_or(json!({}), |to| json!({"alternate-exchange": to}));
            json!({"name": it.name, "vhost": "/", "type": kind, "durable": true, "auto_delete": false,
                   "internal": false, "arguments": arguments})
        })
        .collect();
    let argument = |(name, value): &(&str, Argument<'_>)| {
        let value = match value {
            Argument::Text(text) => json!(text),
            Argument::Number(number) => json!(number),
        };
        ((*name).to_owned(), value)
    };
    let queues: Vec<Value> = names
        .queues()
        .iter()
        .map(|it| {
            let arguments: Map<String, Value> = it.arguments.iter().map(argument).collect();
            json!({"name": it.name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments})
        })
        .collect();
    let bindings: Vec<Value> = names
        .bindings()
        .iter()
        .map(|it| {
            json!({"source": it.exchange, "vhost": "/", "destination": it.queue, "destination_type": "queue",
                   "routing_key": it.key, "arguments": {}})
        })
        .collect();
    for file in ["rabbitmq/definitions.json", "compose/rabbitmq.json"] {
        let written: Value = serde_json::from_str(&read(file)).unwrap();
        assert_eq!(written["exchanges"], json!(exchanges), "{file}");
        assert_eq!(written["queues"], json!(queues), "{file}");
        assert_eq!(written["bindings"], json!(bindings), "{file}");
    }
}
