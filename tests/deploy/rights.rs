//! What each role may do at the broker and in the database, and which keys it has: what the program needs is what the runbook
//! shows, and what `grants.sql`, Compose, Kubernetes and systemd give. Nobody gets more.

use crate::read;
use jenius_pay::{
    config::{RequiredSections, Role},
    postgres::{GROUPS, RIGHTS, privilege},
    rabbit::TopologyNames,
};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn grants_grant_what_each_role_needs_and_nothing_else() {
    let mut granted = BTreeSet::new();
    let text = read("postgres/grants.sql");
    for line in text.lines().filter_map(|line| line.strip_prefix("GRANT ")) {
        let (rights, rest) = line.strip_suffix(';').unwrap().split_once(" ON ").unwrap();
        let (tables, role) = rest.split_once(" TO ").unwrap();
        for table in tables.trim_start_matches("SEQUENCE ").split(", ") {
            granted.extend(rights.split(", ").map(|right| format!("{role} {right} {table}")));
        }
    }
    let mut needed = BTreeSet::new();
    for (table, rights) in RIGHTS {
        for (role, rights) in GROUPS.into_iter().zip(rights) {
            needed.extend(rights.chars().map(|letter| format!("{role} {} {table}", privilege(letter))));
        }
    }
    assert_eq!(granted, needed);
}

#[test]
fn the_runbook_shows_what_each_role_needs() {
    let row = |(table, rights): (&str, [&str; 5])| {
        let cell = |rights: &str| match rights {
            "" => "–".to_owned(),
            rights => rights.chars().map(|l| privilege(l).to_lowercase()).collect::<Vec<_>>().join(", "),
        };
        format!("| `{table}` | {} |\n", rights.map(cell).join(" | "))
    };
    let rows: String = RIGHTS.into_iter().map(row).collect();
    let runbook = read("RUNBOOK.md");
    assert!(runbook.contains(&rows), "Database users should show\n{rows}");
}

/// RUNBOOK's table: what the broker lets it write and read, its group in the database, its keys.
fn needs() -> BTreeMap<String, [String; 4]> {
    let runbook = read("RUNBOOK.md");
    let (_, section) = runbook.split_once("\n## Rights\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| {
        // A `|` in a pattern is written `\|`.
        let line = line.replace("\\|", "\u{1}");
        let cell = |cell: &str| cell.trim().trim_matches('`').replace('\u{1}', "|");
        let cells: Vec<String> = line.strip_prefix("| `")?.split('|').map(cell).collect();
        Some((cells.first()?.clone(), cells.get(1..5)?.to_vec().try_into().ok()?))
    });
    rows.collect()
}

/// `None`: it needs no database.
fn group(role: Role) -> Option<&'static str> {
    match role {
        Role::Worker => Some(GROUPS[0]),
        Role::FollowUp => Some(GROUPS[1]),
        Role::Reconciler => Some(GROUPS[2]),
        Role::Relay => Some(GROUPS[3]),
        Role::Ingress => None,
        Role::Console => Some(GROUPS[4]),
    }
}

#[test]
fn the_runbook_says_what_each_role_needs_of_broker_database_and_keys() {
    let needs = needs();
    let mut names: BTreeSet<&str> = Role::UNNAMED.map(Role::name).into();
    names.extend(["migrate", "command line"]);
    assert_eq!(needs.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for role in Role::UNNAMED {
        let [.., database, keys] = &needs[role.name()];
        assert_eq!(database, group(role).unwrap_or("none"), "{}", role.name());
        let needed = RequiredSections::for_roles(&BTreeSet::from([role]));
        assert_eq!(
            (needed.database, needed.merchants),
            (database != "none", keys != "none"),
            "{}",
            role.name()
        );
    }
    assert_eq!((needs["migrate"][2].as_str(), needs["command line"][2].as_str()), ("the owner", GROUPS[4]));
}

#[test]
fn compose_gives_each_role_users_of_its_own_with_these_rights() {
    let (needs, compose) = (needs(), read("compose.yaml"));
    let broker: serde_json::Value = serde_json::from_str(&read("compose/rabbitmq.json")).unwrap();
    let users = read("compose/users.sql");
    let user_of = |secret: &str| {
        let url = read(&format!("compose/{secret}"));
        url.split_once("://").unwrap().1.split(':').next().unwrap().to_owned()
    };
    let service = |name: &str| {
        let (_, rest) = compose.split_once(&format!("\n  {name}:\n")).unwrap();
        let ends = |line: &&str| !line.is_empty() && !line.starts_with("   ");
        rest.lines().take_while(|line| !ends(line)).collect::<Vec<_>>().join("\n")
    };
    for role in Role::UNNAMED {
        let (name, [write, read_right, ..]) = (role.name(), &needs[role.name()]);
        let (service, suffix) = (service(name), name.replace('-', "_"));
        assert!(service.contains(&format!("source: amqp_url_{suffix},")), "{name}");
        let user = user_of(&format!("amqp_url_{suffix}"));
        let all = broker["permissions"].as_array().unwrap();
        let given: Vec<_> = all.iter().filter(|given| given["user"] == user.as_str()).collect();
        let rights = ["configure", "write", "read"].map(|right| given[0][right].as_str().unwrap());
        assert_eq!((given.len(), rights), (1, ["^$", write.as_str(), read_right.as_str()]), "{name}");
        let of_database = format!("source: database_url_{suffix},");
        assert_eq!(service.contains(&of_database), group(role).is_some(), "{name}");
        if let Some(group) = group(role) {
            let user = user_of(&format!("database_url_{suffix}"));
            let member =
                format!("CREATE ROLE {user} LOGIN PASSWORD 'for-your-machine-only' IN ROLE {group};\n");
            assert!(users.contains(&member), "{name}: {member}");
        }
        assert_eq!(
            service.contains("- doku_secret_key"),
            RequiredSections::for_roles(&BTreeSet::from([role])).merchants,
            "{name}"
        );
    }
    let (migrate, operator) = (service("migrate"), service("operator"));
    assert!(migrate.contains("source: database_url_owner,") && !migrate.contains("amqp_url"), "{migrate}");
    assert!(operator.contains("source: database_url_operator,"), "{operator}");
    assert_eq!(
        compose.matches("source: database_url_owner,").count(),
        1,
        "the owner migrates, and nothing else"
    );
}

#[test]
fn kubernetes_and_systemd_give_each_role_secrets_of_its_own() {
    let unit = read("systemd/jenius-pay@.service");
    for role in Role::UNNAMED {
        let (name, needed) = (role.name(), RequiredSections::for_roles(&BTreeSet::from([role])));
        let pod = read(&format!("kubernetes/base/{name}.yaml"));
        assert_eq!(pod.matches("secretName: ").count(), 1, "{name}");
        assert!(pod.contains(&format!("secretName: jenius-pay-{name}\n")), "{name}");
        let less = format!("systemd/jenius-pay@{name}.service.d/rights.conf");
        let less = std::fs::read_to_string(crate::file(&less)).unwrap_or_else(|_| unit.clone());
        for (text, secret, key) in [
            (&pod, "database-url", needed.database),
            (&pod, "doku-secret-key", needed.merchants),
            (&less, "/etc/jenius-pay/%i/database_url", needed.database),
            (&less, "/etc/jenius-pay/%i/doku_secret_key", needed.merchants),
            (&less, "/etc/jenius-pay/%i/amqp_url", true),
        ] {
            assert_eq!(text.contains(secret), key, "{name}: {secret}");
        }
        // A list goes on where it is not emptied first.
        let empties = ["LoadCredential=\n", "Environment=\n"].map(|line| less.contains(line));
        assert!(less == unit || empties == [true, true], "{name}: {less}");
    }
    // The console has the operators' users, and a secret that no other has.
    let console = read("kubernetes/console/console.yaml");
    assert!(
        console.contains("secretName: jenius-pay-console\n") && console.contains("console-client-secret\n")
    );
    let more = read("systemd/jenius-pay@console.service.d/secret.conf");
    assert!(
        more.contains("\nLoadCredential=console_client_secret:/etc/jenius-pay/%i/console_client_secret\n")
    );
    assert!(!more.contains("=\n"), "it adds to what the unit loads: {more}");
    let owners = [read("kubernetes/base/migrate.yaml"), read("systemd/jenius-pay-migrate.service")];
    assert!(owners[0].contains("secretName: jenius-pay-owner\n") && owners[0].contains("[migrate, --grant]"));
    assert!(
        owners[1].contains("/etc/jenius-pay/owner/database_url") && owners[1].contains(" migrate --grant\n")
    );
    assert!(read("kubernetes/prune/prune.yaml").contains("secretName: jenius-pay-operator\n"));
}

/// The patterns name the program's own queues and exchanges, and nobody may configure.
#[test]
fn the_runbook_makes_these_users_of_the_broker() {
    let (needs, runbook) = (needs(), read("RUNBOOK.md"));
    let names = TopologyNames::new("jenius").unwrap();
    for role in Role::UNNAMED {
        let (name, [write, read_right, ..]) = (role.name(), &needs[role.name()]);
        let line = format!("rabbitmqctl set_permissions {name} '^$' '{write}' '{read_right}'\n");
        assert!(runbook.contains(&line), "{line}");
    }
    assert_eq!(needs["ingress"][0], format!("^{}$", names.notifications_exchange.replace('.', "\\.")));
}
