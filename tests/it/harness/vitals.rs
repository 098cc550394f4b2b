//! What a running service says of itself, and what the kernel says of it.

use serde_json::Value;
use std::time::Duration;

/// `sysconf(_SC_CLK_TCK)` of every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The processor's time that a process has used so far.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name, in parentheses; user and system time are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// What a process holds of the machine's memory.
pub fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A listener that does not answer in this time is taken for gone.
const ANSWER_MAX: Duration = Duration::from_secs(2);

async fn get(admin: &str, path: &str) -> Option<(u16, String)> {
    let asked = async {
        let answer = reqwest::get(format!("http://{admin}{path}")).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    };
    tokio::time::timeout(ANSWER_MAX, asked).await.ok().flatten()
}

/// What `/readyz` says; `None`: nothing.
pub async fn readyz(admin: &str) -> Option<(u16, Value)> {
    let (status, body) = get(admin, "/readyz").await?;
    Some((status, serde_json::from_str(&body).ok()?))
}

pub async fn is_alive(admin: &str) -> bool {
    get(admin, "/livez").await.is_some_and(|(status, _)| status == 200)
}

/// The sum of every series of a metric whose line has all the words.
pub async fn metric(admin: &str, words: &[&str]) -> f64 {
    let Some((_, text)) = get(admin, "/metrics").await else { return 0.0 };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let wanted = lines.filter(|line| words.iter().all(|word| line.contains(word)));
    wanted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
