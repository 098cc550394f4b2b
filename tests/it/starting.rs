//! What keeps the service from starting is told once, in plain words, and by the exit code.

use crate::harness::{
    World,
    child::{BINARY, Service, run},
    payment,
};
use std::process::Command;

/// A machine without CA certificates, as an image from scratch is.
const NO_CERTIFICATES: (&str, &str) = ("SSL_CERT_FILE", "/nowhere/ca-certificates.crt");

#[test]
fn a_process_that_cannot_ask_doku_by_https_ends_with_1_and_says_why() {
    let output = Command::new(BINARY)
        .arg("run")
        .env_clear()
        .envs([
            ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
            ("AMQP_URL", "amqp://u:p@127.0.0.1:1"),
            ("DOKU_BASE_URL", "https://127.0.0.1:1"),
            ("DOKU_CLIENT_ID", "MCH-1"),
            ("DOKU_SECRET_KEY", "SK-1"),
            ("JENIUS_PAY__ADMIN__LISTEN", "127.0.0.1:0"),
            ("JENIUS_PAY__INGRESS__LISTEN", "127.0.0.1:0"),
            NO_CERTIFICATES,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("https to DOKU cannot be set up") && said.contains("ca-certificates"), "{said}");
    assert!(!said.contains("started"), "{said}");
}

/// Told before anything starts, each with what is wrong, and without the secret.
#[test]
fn a_configuration_that_cannot_be_meant_ends_with_2_and_says_why() {
    for (variable, value, words) in [
        ("DOKU_SECRET_KEY", "SK-can\u{200b}ary", "character 7 is U+200B"),
        ("DOKU_BASE_URL", "http://10.0.0.7", "plain http over the network"),
        ("DOKU_BASE_URL", "http://api.doku.com", "DOKU's production host"),
        ("DOKU_BASE_URL", "https://api.doku.com", "DOKU's production host"),
        ("AMQP_URL", "amqp://u:SK-canary#x@h", "amqp.url"),
        ("AMQP_URL", "amqp://u:p@h/?cacertfile=SK-canary", "cacertfile"),
    ] {
        for command in ["run", "doctor"] {
            let output = Command::new(BINARY)
                .arg(command)
                .env_clear()
                .envs([
                    ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
                    ("AMQP_URL", "amqp://u:p@127.0.0.1:1"),
                    ("DOKU_CLIENT_ID", "MCH-1"),
                    ("DOKU_SECRET_KEY", "SK-1"),
                    (variable, value),
                ])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(2), "{command} {variable}={value}: {said}");
            assert!(said.contains(words) && !said.contains("started"), "{command} {words}: {said}");
            assert!(!said.contains("SK-can"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_to_doku_needs_no_ca_certificates() {
    let world = World::with().without_service().build().await;
    let service = Service::start_unready(&world, &[NO_CERTIFICATES]);
    service.is_ready().await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_missing_ca_certificates_and_goes_on() {
    let mut world = World::new().await;
    world.settings.insert("DOKU_BASE_URL".to_owned(), "https://127.0.0.1:1".to_owned());
    world.settings.insert(NO_CERTIFICATES.0.to_owned(), NO_CERTIFICATES.1.to_owned());
    let output = run(&world, &["doctor", "--json"], "").await;
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {report}"))
            .clone()
    };
    let doku = check("doku.reachable");
    assert!(
        doku["status"] == "fail" && doku["detail"].as_str().unwrap().contains("CA certificates"),
        "{doku}"
    );
    assert_eq!(check("postgres.reachable")["status"], "ok");
    assert_eq!(check("broker.reachable")["status"], "ok");
    world.end().await;
}

/// The program, started by a shell that does something first. What it says, and its exit code.
fn by_shell(first: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let copy = std::env::temp_dir().join(format!("jenius-pay-{}", uuid::Uuid::new_v4().simple()));
    std::fs::copy(BINARY, &copy).unwrap();
    let settings = [
        ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
        ("AMQP_URL", "amqp://u:p@127.0.0.1:1"),
        ("DOKU_BASE_URL", "http://127.0.0.1:1"),
        ("DOKU_CLIENT_ID", "MCH-1"),
        ("DOKU_SECRET_KEY", "SK-1"),
        ("PATH", "/usr/bin:/bin"),
    ];
    let output = Command::new("sh")
        .args(["-c", first])
        .arg(&copy)
        .args(arguments)
        .env_clear()
        .envs(settings)
        .output()
        .unwrap();
    let _ = std::fs::remove_file(&copy);
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.code())
}

#[test]
fn without_memory_for_its_threads_the_program_says_so() {
    let (said, exit) = by_shell("ulimit -v 2000000; exec \"$0\" \"$@\"", &["run"]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("threads") && said.contains("ulimit -v") && !said.contains("broker"), "{said}");
}

#[test]
fn a_program_whose_file_was_replaced_while_it_started_runs_all_the_same() {
    let first = "exec 3<\"$0\"; rm \"$0\"; exec /proc/self/fd/3 \"$@\"";
    let (said, exit) = by_shell(first, &["validate", "payment", "/dev/null"]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("not JSON") && !said.contains("No such file"), "{said}");
}
