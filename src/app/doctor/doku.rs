//! What DOKU's answers to one harmless question for each merchant mean.

use super::check::{Check, DOKU_CLOCK, DOKU_ENVIRONMENT, DOKU_KEY, DOKU_REACHABLE, DOKU_SIGNATURE};
use crate::{
    config::{Doku, Environment, ResponseSignature},
    doku::client::{
        NoTls,
        probe::{Authenticity, ProbeVerdict, Probed},
    },
    domain::ids::MerchantName,
};

/// DOKU refuses a request that is further off.
const DRIFT_SECONDS_FAIL: i64 = 3600;
const DRIFT_SECONDS_WARN: i64 = 60;
/// As the specification names it.
const SANDBOX_HOST: &str = "//api-sandbox.doku.com";

pub type Answers = Vec<(MerchantName, Result<Probed, String>)>;

pub fn judge(doku: &Doku, answers: &Answers) -> Vec<Check> {
    let mut checks = vec![environment(doku)];
    let answered: Vec<&Probed> = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).collect();
    let Some(first) = answered.first() else {
        let why = answers.iter().find_map(|(_, answer)| answer.as_ref().err());
        checks.push(Check::fail(
            DOKU_REACHABLE,
            format!("{}: {}", doku.base_url, why.map_or("no merchant is configured", String::as_str)),
            "check name service, firewall and doku.base_url from here; meanwhile sends wait",
        ));
        return checks;
    };
    checks.push(Check::ok(
        DOKU_REACHABLE,
        format!("{} answers in {} ms", doku.base_url, first.took.as_millis()),
    ));
    checks.push(clock(&answered));
    checks.extend(answers.iter().map(|(merchant, answer)| key(answer).about(merchant.as_str())));
    checks.push(signature(doku.response_signature, &answered));
    checks
}

/// Without certificates of authorities no question can be put.
pub fn unreachable(doku: &Doku, no_tls: &NoTls) -> Vec<Check> {
    let hint = "install the CA certificates: `jenius-pay run` does not start without them";
    vec![environment(doku), Check::fail(DOKU_REACHABLE, no_tls.to_string(), hint)]
}

fn environment(doku: &Doku) -> Check {
    let (name, wrong) = match doku.environment {
        // The configuration refuses DOKU's production host.
        Environment::Sandbox => ("sandbox", false),
        Environment::Production => ("production", doku.base_url.contains(SANDBOX_HOST)),
    };
    let detail = format!("{name}, {}", doku.base_url);
    if wrong {
        let hint = "set doku.environment to what doku.base_url is: a database belongs to one of the two";
        Check::fail(DOKU_ENVIRONMENT, detail, hint)
    } else {
        Check::ok(DOKU_ENVIRONMENT, detail)
    }
}

/// What DOKU refuses counts more than what a header says, which may be a gateway's.
fn clock(answered: &[&Probed]) -> Check {
    let refused = answered.iter().find_map(|answer| match &answer.verdict {
        ProbeVerdict::OutOfTime(why) => Some(why),
        ProbeVerdict::Accepted
        | ProbeVerdict::Refused(_)
        | ProbeVerdict::Foreign(_)
        | ProbeVerdict::Unclear(_) => None,
    });
    if let Some(why) = refused {
        return Check::fail(DOKU_CLOCK, format!("refused: {why}"), "set this machine's clock, with NTP");
    }
    let Some(drift) = answered.iter().find_map(|answer| answer.drift) else {
        let hint = "let NTP keep this machine's clock: nothing here can be compared with it";
        return Check::warn(DOKU_CLOCK, "no answer says DOKU's time", hint);
    };
    let seconds = drift.num_seconds();
    let detail = format!("DOKU's is {seconds:+} s from this machine's");
    if seconds.abs() > DRIFT_SECONDS_FAIL {
        Check::fail(DOKU_CLOCK, detail, "set this machine's clock, with NTP: DOKU refuses every request")
    } else if seconds.abs() > DRIFT_SECONDS_WARN {
        Check::warn(DOKU_CLOCK, detail, "set this machine's clock, with NTP: DOKU refuses beyond an hour")
    } else {
        Check::ok(DOKU_CLOCK, detail)
    }
}

fn key(answer: &Result<Probed, String>) -> Check {
    let verdict = match answer {
        Ok(answer) => &answer.verdict,
        Err(why) => {
            let hint = "run doctor again: DOKU answered another question in between";
            return Check::warn(DOKU_KEY, format!("no answer: {why}"), hint);
        }
    };
    match verdict {
        ProbeVerdict::Accepted => Check::ok(DOKU_KEY, "accepted"),
        ProbeVerdict::Refused(why) => Check::fail(
            DOKU_KEY,
            format!("refused: {why}"),
            "compare client_id and secret_key with DOKU's back office; sends wait meanwhile",
        ),
        ProbeVerdict::OutOfTime(_) => {
            Check::warn(DOKU_KEY, "not judged: DOKU looks at the clock first", "set this machine's clock")
        }
        ProbeVerdict::Foreign(why) => Check::fail(
            DOKU_KEY,
            why,
            "what answers is not DOKU: check doku.base_url, and proxies and firewalls on the way",
        ),
        ProbeVerdict::Unclear(why) => Check::warn(
            DOKU_KEY,
            format!("{why}, which says nothing about the key"),
            "run doctor again in a while: DOKU is busy or out of order",
        ),
    }
}

/// Check Status answers may come unsigned; what DOKU does here it is likely to do elsewhere.
fn signature(mode: ResponseSignature, answered: &[&Probed]) -> Check {
    let all = |wanted: Authenticity| {
        answered
            .iter()
            .filter(|answer| answer.verdict == ProbeVerdict::Accepted)
            .all(|a| a.authenticity == wanted)
    };
    if !answered.iter().any(|answer| answer.verdict == ProbeVerdict::Accepted) {
        let hint = "see to the key first";
        return Check::warn(DOKU_SIGNATURE, "no answer to judge by", hint);
    }
    if all(Authenticity::Signed) {
        return Check::ok(DOKU_SIGNATURE, "DOKU signs its answers");
    }
    if answered.iter().any(|answer| answer.authenticity == Authenticity::Wrong) {
        return Check::fail(
            DOKU_SIGNATURE,
            "an answer carries a signature that is not by the account's key",
            "compare secret_key with DOKU's back office: until it fits, no answer is believed",
        );
    }
    match mode {
        ResponseSignature::TlsOnly => Check::ok(DOKU_SIGNATURE, "unsigned, and tls_only believes that"),
        ResponseSignature::Required => Check::warn(
            DOKU_SIGNATURE,
            "an answer carries no signature",
            "if payments' answers carry none either, each stays in doubt until Check Status: then ask DOKU, or set \
             doku.response_signature = tls_only",
        ),
    }
}

#[cfg(test)]
mod tests;
