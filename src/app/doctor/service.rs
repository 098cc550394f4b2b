//! Whether the service itself runs on this machine, and takes notifications at the address that DOKU has.

use super::check::{Check, CheckName, SERVICE_INGRESS, SERVICE_KEYS, SERVICE_READY};
use crate::{
    app::fingerprint,
    config::Config,
    doku::{account::Accounts, snap::tokens::TOKEN_PATH},
    http::{self, Answered},
    metric,
};
use serde_json::Value;
use std::{io, net::SocketAddr};

/// No configured path: no process may take notifications there.
const OTHER_PATH: &str = "/jenius-pay-doctor";
const NOT_FOUND: u16 = 404;
const METHOD_NOT_ALLOWED: u16 = 405;

const METRICS: &str = "/metrics";
const BESIDE: &str = "the process beside";

type ServiceAnswer = io::Result<Answered>;

/// Asks both listeners, and further processes by which keys they verify.
pub async fn checks(config: &Config, processes: &[String]) -> Vec<Check> {
    let ready = async {
        let listen = config.admin_listen;
        match fixed(SERVICE_READY, listen) {
            Some(unknown) => unknown,
            None => ready(listen, &http::ask(listen, "/readyz").await),
        }
    };
    let ingress = async {
        let listen = config.ingress_listen;
        match fixed(SERVICE_INGRESS, listen) {
            Some(unknown) => unknown,
            None => ingress(listen, &ask_paths(config).await),
        }
    };
    let keys = async {
        let listen = config.admin_listen;
        let mut asked: Vec<(String, ServiceAnswer)> = Vec::new();
        if listen.port() != 0 {
            asked.push((BESIDE.to_owned(), http::ask(listen, METRICS).await));
        }
        for place in processes {
            asked.extend(http::ask_all(place, METRICS).await);
        }
        keys(&fingerprint(&Accounts::new(&config.merchants), &config.doku), &asked)
    };
    let (ready, ingress, keys) = tokio::join!(ready, ingress, keys);
    vec![ready, ingress, keys]
}

/// Whether these processes verify by what is configured here: the one beside, which need not be there, and those that were
/// named.
fn keys(ours: &str, asked: &[(String, ServiceAnswer)]) -> Check {
    let (mut same, mut others) = (Vec::new(), Vec::new());
    for (place, answer) in asked {
        match answer {
            Ok(answer) => match fingerprint_in(&answer.body) {
                Some(theirs) if theirs == ours => same.push(place.as_str()),
                Some(theirs) => others.push(format!("{place} by others ({theirs})")),
                // The relay has none.
                None => {}
            },
            Err(_) if place == BESIDE => {}
            Err(error) => others.push(format!("{place} cannot be asked: {error}")),
        }
    }
    if !others.is_empty() {
        return Check::warn(
            SERVICE_KEYS,
            format!("this configuration verifies by the keys and paths {ours}; {}", others.join(", ")),
            "SIGHUP makes a process read its keys again, a restart its paths: what the ingress takes and the reconciler cannot \
             verify is dead-lettered",
        );
    }
    match same.as_slice() {
        [] => {
            Check::ok(SERVICE_KEYS, "no process was asked by which keys it verifies: name them by --process")
        }
        same => Check::ok(
            SERVICE_KEYS,
            format!("{} verify by the keys and paths of this configuration ({ours})", same.join(", ")),
        ),
    }
}

fn fingerprint_in(metrics: &str) -> Option<String> {
    let start = format!("{}{{fingerprint=\"", metric::name::KEYS_INFO);
    let in_use = |line: &&str| line.ends_with(" 1");
    let mut lines = metrics.lines().filter(in_use);
    lines.find_map(|line| Some(line.strip_prefix(&start)?.split('"').next()?.to_owned()))
}

/// Port 0 is any: which one is not known.
fn fixed(name: CheckName, listen: SocketAddr) -> Option<Check> {
    (listen.port() == 0).then(|| Check::ok(name, format!("{listen} is any free port: not asked")))
}

fn ready(listen: SocketAddr, answer: &ServiceAnswer) -> Check {
    match answer {
        Ok(answer) => match (answer.status, faults(answer)) {
            (200, None) => Check::ok(SERVICE_READY, format!("ready, at {listen}")),
            (200, Some(faults)) => Check::warn(
                SERVICE_READY,
                format!("ready, at {listen}, but {faults}"),
                "mend what is named; if the key is right here and not there, SIGHUP or a restart makes that \
                 process read it",
            ),
            (status, faults) => Check::warn(
                SERVICE_READY,
                format!("not ready, at {listen}: {}", faults.unwrap_or_else(|| format!("HTTP {status}"))),
                "mend what is named; the process waits, and goes on by itself",
            ),
        },
        Err(error) => Check::warn(
            SERVICE_READY,
            format!("{listen}: {error}"),
            "is `jenius-pay run` on another machine? If not, start it; admin.listen says where it is asked",
        ),
    }
}

/// What `/readyz` says is not well. DOKU's faults make no process unready, and stop its sends all the same.
fn faults(answer: &Answered) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let dependencies = body["dependencies"].as_object().into_iter().flatten();
    let faults: Vec<String> = dependencies
        .filter(|(_, health)| health["ok"] == false)
        .map(|(name, health)| format!("{name}: {}", health["detail"].as_str().unwrap_or("away")))
        .collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Each path with what a GET of it answers: only a POST is a notification, and counted.
async fn ask_paths(config: &Config) -> Vec<(String, u16, ServiceAnswer)> {
    let doku = &config.doku;
    let taken = std::iter::once(&doku.notification_path).chain(&doku.previous_notification_paths);
    // Where a token is given, the process there knows DOKU's public key, as this configuration does.
    let tokens = (!doku.snap.public_keys.is_empty()).then_some(TOKEN_PATH);
    let taken = taken.map(String::as_str).chain(tokens);
    let wanted = taken.map(|path| (path, METHOD_NOT_ALLOWED)).chain([(OTHER_PATH, NOT_FOUND)]);
    let mut answers = Vec::new();
    for (path, expected) in wanted {
        answers.push((path.to_owned(), expected, http::ask(config.ingress_listen, path).await));
    }
    answers
}

fn ingress(listen: SocketAddr, answers: &[(String, u16, ServiceAnswer)]) -> Check {
    for (path, expected, answer) in answers {
        match answer {
            Ok(answer) if answer.status == *expected => {}
            Ok(answer) => {
                return Check::fail(
                    SERVICE_INGRESS,
                    format!("GET {path} at {listen} answers HTTP {}, not {expected}", answer.status),
                    "what listens there is not this service, or was started with another doku.notification_path or without \
                     doku.snap.public_key_files",
                );
            }
            Err(error) => {
                return Check::warn(
                    SERVICE_INGRESS,
                    format!("{listen}: {error}"),
                    "is the ingress on another machine? If not, `jenius-pay run --role ingress`; meanwhile Check \
                     Status finds what is paid, later",
                );
            }
        }
    }
    let paths: Vec<&str> =
        answers.iter().filter(|a| a.1 == METHOD_NOT_ALLOWED).map(|a| a.0.as_str()).collect();
    Check::ok(SERVICE_INGRESS, format!("takes notifications at {listen}, {}", paths.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::check::Status;

    fn answered(status: u16, body: &str) -> ServiceAnswer {
        Ok(Answered { status, body: body.to_owned() })
    }

    fn nobody() -> ServiceAnswer {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn listen() -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn only_an_ingress_with_these_paths_takes_notifications() {
        let paths = |path: ServiceAnswer, other: ServiceAnswer| {
            vec![("/n".to_owned(), METHOD_NOT_ALLOWED, path), (OTHER_PATH.to_owned(), NOT_FOUND, other)]
        };
        for (answers, expected) in [
            (paths(answered(404, ""), answered(404, "")), Status::Fail),
            (paths(answered(200, ""), answered(200, "")), Status::Fail),
            (paths(answered(405, ""), answered(405, "")), Status::Fail),
            (paths(nobody(), nobody()), Status::Warn),
            (paths(answered(405, ""), answered(404, "")), Status::Ok),
        ] {
            assert_eq!(ingress(listen(), &answers).status, expected, "{answers:?}");
        }
    }

    #[test]
    fn a_process_that_verifies_by_other_keys_is_named() {
        let page = "# x\njenius_keys_info{fingerprint=\"00000000\"} 0\njenius_keys_info{fingerprint=\"aaaaaaaa\"} 1\n";
        let beside = |answer| (BESIDE.to_owned(), answer);
        let named = |answer| ("10.0.0.5:9464".to_owned(), answer);
        for (ours, asked, status) in [
            ("aaaaaaaa", vec![beside(answered(200, page))], Status::Ok),
            ("00000000", vec![beside(answered(200, page))], Status::Warn),
            ("aaaaaaaa", vec![beside(answered(200, ""))], Status::Ok),
            ("aaaaaaaa", vec![beside(nobody())], Status::Ok),
            ("aaaaaaaa", vec![beside(nobody()), named(answered(200, page))], Status::Ok),
            ("aaaaaaaa", vec![named(nobody())], Status::Warn),
            ("bbbbbbbb", vec![named(answered(200, page))], Status::Warn),
            ("aaaaaaaa", vec![], Status::Ok),
        ] {
            let check = keys(ours, &asked);
            assert_eq!(check.status, status, "{ours} {}", check.detail);
            let names = asked.iter().any(|(place, _)| check.detail.contains(place.as_str()));
            assert!(names || status == Status::Ok, "{}", check.detail);
        }
    }

    #[test]
    fn a_service_that_is_not_ready_says_what_is_away() {
        let body = r#"{"dependencies":{"broker":{"ok":false,"detail":"host: refused"},"doku":{"ok":true}}}"#;
        let check = ready(listen(), &answered(503, body));
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.detail, "not ready, at 127.0.0.1:8080: broker: host: refused");
        assert_eq!(ready(listen(), &nobody()).status, Status::Warn);
        assert_eq!(ready(listen(), &answered(500, "x")).detail, "not ready, at 127.0.0.1:8080: HTTP 500");
        assert_eq!(ready(listen(), &answered(200, "")).status, Status::Ok);
        let body =
            r#"{"ready":true,"dependencies":{"broker":{"ok":true},"doku":{"ok":false,"detail":"refused"}}}"#;
        let check = ready(listen(), &answered(200, body));
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.detail, "ready, at 127.0.0.1:8080, but doku: refused");
    }
}
