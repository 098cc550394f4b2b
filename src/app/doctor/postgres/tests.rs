//! Each fact that is not well is named alone.

use super::*;
use crate::app::doctor::check::Status;

fn well() -> ServerFacts {
    let settings = [
        ("autovacuum", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("max_connections", "100"),
        ("max_wal_size", "1GB"),
        ("server_encoding", "UTF8"),
        ("server_version", "15.5"),
        ("server_version_num", "150005"),
        ("shared_buffers", "128MB"),
        ("statement_timeout", "10s"),
        ("synchronous_commit", "on"),
        ("synchronous_standby_names", ""),
        ("track_counts", "on"),
    ];
    ServerFacts {
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        shared_buffers_bytes: SHARED_BUFFERS_DEFAULT,
        max_wal_bytes: MAX_WAL_DEFAULT,
        database_bytes: DATABASE_LARGE - 1,
        transport: Transport::Open,
        pooled: false,
        missing_rights: Vec::new(),
        in_recovery: false,
        connections_max: 97,
        connections_used: 79,
        standbys: 0,
        drift: TimeDelta::seconds(5),
        migrations: Migrations { latest: 9, ..Migrations::default() },
        environment: Some("production".to_owned()),
        paused: Vec::new(),
    }
}

fn ours() -> Ours {
    let place = ServerPlace { text: "host:5432/pay".to_owned(), is_remote: false };
    Ours { place, environment: Environment::Production, max_connections: 16 }
}

fn not_ok(ours: &Ours, facts: ServerFacts) -> Vec<(String, Status)> {
    let checks = judge(ours, &Ok(facts));
    checks.into_iter().filter(|c| c.status != Status::Ok).map(|c| (c.name, c.status)).collect()
}

#[test]
fn each_fact_that_is_not_well_is_named_alone() {
    type Change = fn(&mut ServerFacts);
    fn set(facts: &mut ServerFacts, name: &str, value: &str) {
        facts.settings.insert(name.to_owned(), value.to_owned());
    }
    let table: &[(&str, Status, Change)] = &[
        ("postgres.version", Status::Fail, |f| set(f, "server_version_num", "140010")),
        ("postgres.writable", Status::Fail, |f| f.in_recovery = true),
        ("postgres.migrations", Status::Fail, |f| f.migrations.pending = vec![9]),
        ("postgres.migrations", Status::Fail, |f| f.migrations.spoiled = vec![9]),
        ("postgres.migrations", Status::Warn, |f| f.migrations.unknown = vec![10]),
        ("postgres.environment", Status::Fail, |f| f.environment = Some("sandbox".to_owned())),
        ("postgres.durability", Status::Fail, |f| set(f, "fsync", "off")),
        ("postgres.durability", Status::Fail, |f| set(f, "full_page_writes", "off")),
        ("postgres.durability", Status::Fail, |f| set(f, "synchronous_commit", "off")),
        ("postgres.standby", Status::Warn, |f| f.standbys = 1),
        ("postgres.standby", Status::Fail, |f| set(f, "synchronous_standby_names", "*")),
        ("postgres.encoding", Status::Fail, |f| set(f, "server_encoding", "LATIN1")),
        ("postgres.rights", Status::Warn, |f| f.missing_rights = vec!["INSERT on outbox".to_owned()]),
        ("postgres.session", Status::Fail, |f| f.pooled = true),
        ("postgres.standby", Status::Warn, |f| {
            f.standbys = 1;
            set(f, "synchronous_standby_names", "*");
            set(f, "synchronous_commit", "local");
        }),
        ("postgres.autovacuum", Status::Warn, |f| set(f, "autovacuum", "off")),
        ("postgres.autovacuum", Status::Warn, |f| set(f, "track_counts", "off")),
        ("postgres.memory", Status::Warn, |f| f.database_bytes = DATABASE_LARGE),
        ("postgres.connections", Status::Fail, |f| f.connections_max = 17),
        ("postgres.connections", Status::Warn, |f| f.connections_used = 80),
        ("postgres.session", Status::Warn, |f| set(f, "statement_timeout", "0")),
        ("postgres.clock", Status::Warn, |f| f.drift = TimeDelta::milliseconds(5001)),
        ("postgres.clock", Status::Warn, |f| f.drift = TimeDelta::milliseconds(-5001)),
    ];
    for (row, (name, status, change)) in table.iter().enumerate() {
        let mut facts = well();
        change(&mut facts);
        assert_eq!(not_ok(&ours(), facts), [((*name).to_owned(), *status)], "row {row}");
    }
    let fine: &[Change] = &[
        |_| {},
        |f| f.environment = None,
        |f| {
            f.standbys = 2;
            set(f, "synchronous_standby_names", "ANY 1 (*)");
        },
        |f| {
            f.database_bytes = DATABASE_LARGE;
            f.shared_buffers_bytes += 1;
            f.max_wal_bytes += 1;
        },
    ];
    for (row, change) in fine.iter().enumerate() {
        let mut facts = well();
        change(&mut facts);
        assert_eq!(not_ok(&ours(), facts), [], "row {row}");
    }
}

#[test]
fn what_the_sandbox_forgets_is_only_a_warning() {
    let mut facts = well();
    facts.settings.insert("fsync".to_owned(), "off".to_owned());
    facts.environment = None;
    let sandbox = Ours { environment: Environment::Sandbox, ..ours() };
    assert_eq!(not_ok(&sandbox, facts), [("postgres.durability".to_owned(), Status::Warn)]);
}

#[test]
fn over_the_network_it_should_be_tls() {
    let remote = || {
        let mut ours = ours();
        ours.place.is_remote = true;
        ours
    };
    assert_eq!(not_ok(&remote(), well()), [("postgres.transport".to_owned(), Status::Warn)]);
    for transport in [Transport::Unchecked, Transport::AnyName] {
        let warned = not_ok(&remote(), ServerFacts { transport, ..well() });
        assert_eq!(warned, [("postgres.transport".to_owned(), Status::Warn)]);
    }
    assert_eq!(not_ok(&remote(), ServerFacts { transport: Transport::Checked, ..well() }), []);
}

#[test]
fn a_server_that_is_away_is_one_failure() {
    let checks = judge(&ours(), &Err(StoreError::Away("connection refused".to_owned())));
    let [check] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!((check.name.as_str(), check.status), ("postgres.reachable", Status::Fail));
    assert_eq!(check.detail, "host:5432/pay: connection refused");
}
