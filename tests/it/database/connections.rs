//! Connections that are too few, refused, or led to nothing: slower, and said in the server's own words.

use super::{detail, log_in_as, readyz, sql};
use crate::harness::{
    World,
    child::{BINARY, Service, one_line, run},
    eventually, payment,
    proxy::{Mode, Proxy},
};
use std::process::Command;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Less than the pool may open, beside the relay's session and its ear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_connections_than_configured_are_slower_and_never_stuck() {
    for limit in [3, 5, 8] {
        let mut world = World::with().without_service().build().await;
        let user = format!("few_{}", world.unique());
        // A superuser has no limit: so it is an ordinary user with every right.
        sql(
            &world,
            &format!(
                "CREATE ROLE {user} LOGIN CONNECTION LIMIT {limit};
                 GRANT ALL ON ALL TABLES IN SCHEMA public TO {user};
                 GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {user}"
            ),
        )
        .await;
        log_in_as(&mut world, &user);
        world.settings.insert("JENIUS_PAY__DATABASE__MAX_CONNECTIONS".to_owned(), "16".to_owned());
        let service = Service::start(&world).await;
        let invoices: Vec<String> = (0..60).map(|_| world.invoice()).collect();
        for invoice in &invoices {
            world.publish(&payment(invoice)).await;
        }
        for invoice in &invoices {
            world.event(invoice, "order.paid").await;
        }
        let is_ready = async || (readyz(&service).await?.0 == 200).then_some(());
        eventually("the service to be ready", is_ready).await;
        drop(service);
        sql(&world, &format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_told_in_the_servers_own_words() {
    let mut world = World::with().without_service().build().await;
    let mut url = world.database.url.clone();
    let proxy = Proxy::before(&mut url).await;
    let dead = "postgres://postgres@127.0.0.1:9/none".to_owned();
    let mut nobody = world.database.url.clone();
    nobody.set_username("nobody_at_all").unwrap();
    let mut nowhere = world.database.url.clone();
    nowhere.set_path("no_such_database");
    let mut over_tls = url.clone();
    over_tls.set_query(Some("sslmode=prefer"));
    proxy.set(Mode::Refuse);
    for (url, words) in [
        (dead, "Connection refused"),
        (nobody.to_string(), "nobody_at_all"),
        (nowhere.to_string(), "no_such_database"),
        (over_tls.to_string(), "proxy without a server"),
    ] {
        world.settings.insert("DATABASE_URL".to_owned(), url);
        let service = Service::start_unready(&world, &[]);
        let told = async || detail(&service).await.filter(|detail| detail.contains(words));
        let detail = eventually(&format!("/readyz to say {words}"), told).await;
        assert!(!detail.contains("timed out"), "{detail}");
        let doctor = run(&world, &["doctor"], "").await;
        let said = one_line(&doctor.stdout);
        assert!(said.contains(words), "{said}");
        let show = run(&world, &["orders", "list"], "").await;
        let said = String::from_utf8_lossy(&show.stderr).into_owned();
        assert!(said.contains(words), "{said}");
        let is_away = words == "Connection refused" || words.contains("proxy");
        assert_eq!(said.contains("the database is away"), is_away, "{said}");
    }
    world.settings.insert("DATABASE_URL".to_owned(), world.database.url.to_string());
    world.end().await;
}

/// `sqlx` writes parameters that it does not know into the log, with their values.
#[test]
fn a_url_that_says_more_than_is_used_is_a_fault_that_names_the_key_alone() {
    for (url, named) in [
        ("postgres://u:p@h/d?sslpassword=SK-canary", "`sslpassword`"),
        ("postgres://u:p@h/d?target_session_attrs=SK-canary", "`target_session_attrs`"),
        ("postgres://u:SK-canary#x@h/d", "%23"),
    ] {
        for command in [["run"].as_slice(), &["migrate"], &["doctor"]] {
            let mut program = Command::new(BINARY);
            program.args(command).env_clear().env("DATABASE_URL", url);
            program.env("RUST_LOG", "debug");
            let output = program.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("database.url") && said.contains(named), "{said}");
            assert!(!said.contains("SK-canary"), "{said}");
        }
    }
}

#[test]
fn a_file_of_authorities_that_is_not_there_is_named() {
    let mut program = Command::new(BINARY);
    program.arg("migrate").env_clear().env("DATABASE_URL", "postgres://u@127.0.0.1:9/d");
    program.env("JENIUS_PAY__DATABASE__CA_FILE", "/nowhere/ca.pem");
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("database.ca_file") && said.contains("/nowhere/ca.pem"), "{said}");
    let output = Command::new(BINARY)
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", "postgres://u@127.0.0.1:9/d?sslmode=verify-full&sslrootcert=/nowhere/root.pem")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/root.pem"));
}

/// The literal of an address reaches the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_ipv6_can_be_written() {
    let world = World::with().without_service().build().await;
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        // A machine without IPv6.
        return world.end().await;
    };
    let port = listener.local_addr().unwrap().port();
    let target = format!("127.0.0.1:{}", world.database.url.port().unwrap());
    tokio::spawn(async move {
        while let Ok((mut inbound, _)) = listener.accept().await {
            let mut outbound = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut inbound, &mut outbound).await });
        }
    });
    let url = format!("postgres://postgres@[::1]:{port}{}", world.database.url.path());
    let mut settings = world.settings.clone();
    settings.insert("DATABASE_URL".to_owned(), url);
    let migrating = move || Command::new(BINARY).arg("migrate").env_clear().envs(&settings).output().unwrap();
    let output = tokio::task::spawn_blocking(migrating).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.end().await;
}
