//! Each answer of DOKU's that is not well is named alone.

use super::*;
use crate::app::doctor::check::Status;
use chrono::TimeDelta;
use std::time::Duration;

fn doku() -> Doku {
    Doku {
        environment: Environment::Sandbox,
        base_url: "https://api-sandbox.doku.com".to_owned(),
        connect_timeout: Duration::from_secs(3),
        timeout: Duration::from_secs(30),
        notification_path: "/n".to_owned(),
        previous_notification_paths: Vec::new(),
        trust_response: false,
        match_request_id: true,
        response_signature: ResponseSignature::Required,
        snap: crate::config::SnapConfig::default(),
        requests_per_second: 0,
        concurrency: 1,
    }
}

fn accepted() -> Probed {
    Probed {
        verdict: ProbeVerdict::Accepted,
        http_status: 404,
        authenticity: Authenticity::Signed,
        drift: Some(TimeDelta::seconds(60)),
        took: Duration::from_millis(120),
    }
}

fn not_ok(doku: &Doku, answers: Vec<Result<Probed, String>>) -> Vec<(String, Status)> {
    let names = ["default", "other"].map(|name| MerchantName::parse(name).unwrap());
    let checks = judge(doku, &names.into_iter().zip(answers).collect());
    checks.into_iter().filter(|c| c.status != Status::Ok).map(|c| (c.name, c.status)).collect()
}

#[test]
fn each_answer_that_is_not_well_is_named() {
    let drifted = |seconds| Probed { drift: Some(TimeDelta::seconds(seconds)), ..accepted() };
    let verdict = |verdict| Probed { verdict, ..accepted() };
    let authenticity = |authenticity| Probed { authenticity, ..accepted() };
    let table: Vec<(Probed, Vec<(&str, Status)>)> = vec![
        (
            verdict(ProbeVerdict::Refused("x".to_owned())),
            vec![("doku.key.default", Status::Fail), ("doku.signature", Status::Warn)],
        ),
        (
            verdict(ProbeVerdict::Foreign("x".to_owned())),
            vec![("doku.key.default", Status::Fail), ("doku.signature", Status::Warn)],
        ),
        (
            verdict(ProbeVerdict::Unclear("x".to_owned())),
            vec![("doku.key.default", Status::Warn), ("doku.signature", Status::Warn)],
        ),
        (
            verdict(ProbeVerdict::OutOfTime("x".to_owned())),
            vec![
                ("doku.clock", Status::Fail),
                ("doku.key.default", Status::Warn),
                ("doku.signature", Status::Warn),
            ],
        ),
        (drifted(3601), vec![("doku.clock", Status::Fail)]),
        (drifted(-3601), vec![("doku.clock", Status::Fail)]),
        (drifted(61), vec![("doku.clock", Status::Warn)]),
        (Probed { drift: None, ..accepted() }, vec![("doku.clock", Status::Warn)]),
        (authenticity(Authenticity::Wrong), vec![("doku.signature", Status::Fail)]),
        (authenticity(Authenticity::Unsigned), vec![("doku.signature", Status::Warn)]),
        (accepted(), vec![]),
    ];
    for (row, (answer, expected)) in table.into_iter().enumerate() {
        let expected: Vec<_> = expected.into_iter().map(|(name, status)| (name.to_owned(), status)).collect();
        assert_eq!(not_ok(&doku(), vec![Ok(answer)]), expected, "row {row}");
    }
}

#[test]
fn one_merchants_refusal_is_not_anothers() {
    let refused = Probed { verdict: ProbeVerdict::Refused("x".to_owned()), ..accepted() };
    let found = not_ok(&doku(), vec![Ok(accepted()), Ok(refused)]);
    assert_eq!(found, [("doku.key.other".to_owned(), Status::Fail)]);
    let found = not_ok(&doku(), vec![Err("reset".to_owned()), Ok(accepted())]);
    assert_eq!(found, [("doku.key.default".to_owned(), Status::Warn)]);
}

#[test]
fn a_doku_that_is_away_is_one_failure() {
    let found = not_ok(&doku(), vec![Err("no such host".to_owned())]);
    assert_eq!(found, [("doku.reachable".to_owned(), Status::Fail)]);
}

#[test]
fn the_environment_and_the_host_must_agree() {
    let at = |environment, base_url: &str| {
        let doku = Doku { environment, base_url: base_url.to_owned(), ..doku() };
        not_ok(&doku, vec![Ok(accepted())])
    };
    let wrong = [("doku.environment".to_owned(), Status::Fail)];
    assert_eq!(at(Environment::Production, "https://api-sandbox.doku.com"), wrong);
    assert_eq!(at(Environment::Production, "https://api.doku.com"), []);
    assert_eq!(at(Environment::Sandbox, "http://127.0.0.1:8000"), []);
}

#[test]
fn unsigned_answers_are_well_where_that_is_configured() {
    let doku = Doku { response_signature: ResponseSignature::TlsOnly, ..doku() };
    let unsigned = Probed { authenticity: Authenticity::Unsigned, ..accepted() };
    assert_eq!(not_ok(&doku, vec![Ok(unsigned)]), []);
}
