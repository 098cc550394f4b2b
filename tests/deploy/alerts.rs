//! The alerts, held by promtool and by the table of metrics.

use crate::{file, queries, read};
use std::{collections::BTreeMap, process::Command};

/// An alert's keys and their values, `alert` and `expr` among them.
pub type Alert = BTreeMap<String, String>;

/// What stands in a rule, each on a line of its own; promtool sees to it that the whole is YAML.
const KEYS: [&str; 9] = [
    "expr",
    "for",
    "labels",
    "annotations",
    "summary",
    "description",
    "runbook_url",
    "console_url",
    "dashboard_url",
];

pub fn all() -> Vec<Alert> {
    let text = read("prometheus/rules.yaml");
    let mut alerts: Vec<Alert> = Vec::new();
    let mut folded = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("- name:")) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(BTreeMap::from([("alert".to_owned(), name.to_owned())]));
            continue;
        }
        let Some(alert) = alerts.last_mut() else { continue };
        match line.split_once(':').filter(|(key, _)| KEYS.contains(key)) {
            Some((key, value)) => {
                let value = value.trim();
                folded = (value == ">-").then(|| key.to_owned());
                alert.insert(key.to_owned(), value.trim_start_matches(">-").to_owned());
            }
            None => {
                let Some(value) = folded.as_ref().and_then(|key| alert.get_mut(key)) else { continue };
                value.push_str(&format!(" {line}"));
            }
        }
    }
    alerts
}

pub fn names() -> Vec<String> {
    all().into_iter().map(|alert| alert["alert"].clone()).collect()
}

fn promtool(arguments: &[&str]) {
    let ran = Command::new("promtool").current_dir(file("prometheus")).args(arguments).output();
    let ran = ran.expect("no promtool: run ./deploy/local/test, or install Debian's package prometheus");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_alert_fires_once_and_is_silent_once() {
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["test", "rules", "rules_test.yaml"]);
    let tests = read("prometheus/rules_test.yaml");
    let blocks: Vec<&str> = tests.split("\n  - name: ").skip(1).collect();
    for name in names() {
        for (what, samples) in [("is silent", "exp_samples: []"), ("fires", "- {value: 1,")] {
            let title = format!("{name} {what}\n");
            let block = blocks.iter().find(|block| block.starts_with(&title));
            let block = block.unwrap_or_else(|| panic!("rules_test.yaml does not try that {title}"));
            assert!(block.contains(&format!("alertname=\"{name}\"")) && block.contains(samples), "{block}");
        }
    }
    assert_eq!(blocks.len(), 2 * names().len());
}

#[test]
fn every_alert_asks_for_metrics_there_are_and_says_where_its_entry_is() {
    let alerts = all();
    assert!(alerts.len() > 20, "only {} alerts found", alerts.len());
    for alert in &alerts {
        let name = &alert["alert"];
        assert_eq!(queries::faults(&alert["expr"]), Vec::<String>::new(), "{name}");
        let anchor = format!("/RUNBOOK.md#{}", name.to_lowercase());
        assert!(alert["runbook_url"].ends_with(&anchor), "{name}: {}", alert["runbook_url"]);
        let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/dashboard.json")).unwrap();
        let place = format!("/d/{}", dashboard["uid"].as_str().unwrap());
        assert!(alert.get("dashboard_url").is_some_and(|url| url.ends_with(&place)), "{name}");
        assert!(
            ["{severity: critical}", "{severity: warning}"].contains(&alert["labels"].as_str()),
            "{name}"
        );
        for text in ["summary", "description"] {
            assert!(alert.get(text).is_some_and(|text| text.len() > 20), "{name} has no {text}");
        }
    }
}

#[test]
fn the_console_calls_late_what_the_alerts_call_late() {
    let rules = read("prometheus/rules.yaml");
    for (name, limit) in jenius_pay::http::console::LATE {
        let figure = match name {
            "in_doubt" => "jenius_in_doubt_oldest_seconds".to_owned(),
            "sends" => "jenius_due_sends_oldest_seconds".to_owned(),
            "outbox" => "jenius_outbox_oldest_seconds".to_owned(),
            "breaks" => "jenius_settlement_breaks_oldest_seconds".to_owned(),
            state => format!("jenius_open_orders_oldest_seconds{{state=\"{state}\"}}"),
        };
        let rule = format!("({figure}) > {}\n", limit.as_secs());
        assert!(rules.contains(&rule), "{name}: {rule}");
    }
}
