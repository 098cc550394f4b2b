//! The service under test: a child process of this very program, seen through its `/metrics` and nothing else.

use super::{processes::Process, setup::BenchSetup};
use anyhow::Context;
use std::net::TcpListener;

/// A counter of `/metrics`, and the labels its series must carry.
pub type Counter = (&'static str, &'static str);

/// Payments that DOKU took, announced and confirmed.
pub const ACCEPTED: Counter = ("jenius_events_published_total", "type=\"jenius.payment.accepted.v1\"");

pub struct Service {
    pub process: Process,
    admin: String,
    http: reqwest::Client,
}

impl Service {
    /// `jenius-pay run` with these roles and, beyond the bench's own, these variables.
    pub fn start(
        setup: &BenchSetup<'_>,
        roles: &[&str],
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let (admin, ingress) = (free_address()?, free_address()?);
        let mut command = setup.bench.command(setup);
        command.arg("run");
        for role in roles {
            command.args(["--role", role]);
        }
        command.env("JENIUS_PAY__ADMIN__LISTEN", &admin).env("JENIUS_PAY__INGRESS__LISTEN", &ingress);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(&mut command, "the service")?;
        Ok(Self { process, admin, http: setup.http.clone() })
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("http://{}/readyz", self.admin)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The sum of a counter over all series that carry this label; 0 before it listens.
    pub async fn count(&self, (metric, label): Counter) -> anyhow::Result<u64> {
        let Ok(answer) = self.http.get(format!("http://{}/metrics", self.admin)).send().await else {
            return Ok(0);
        };
        let text = answer.error_for_status()?.text().await.context("/metrics broke off")?;
        Ok(sum(&text, metric, label))
    }
}

fn sum(text: &str, metric: &str, label: &str) -> u64 {
    let series = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let labels = name.strip_prefix(metric)?;
        (labels.starts_with('{') && labels.contains(label)).then(|| value.parse::<u64>().ok())?
    });
    series.sum()
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_the_series_of_its_label_alone() {
        let text = "# HELP x y\nx_total{type=\"a\",to=\"b\"} 3\nx_total{type=\"a\",to=\"c\"} 4\n\
                    x_total{type=\"z\"} 9\nx_total_more{type=\"a\"} 100\n";
        assert_eq!(sum(text, "x_total", "type=\"a\""), 7);
        assert_eq!(sum(text, "missing", "type=\"a\""), 0);
    }
}
