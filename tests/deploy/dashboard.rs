//! The dashboard: its rows, and that nobody on call looks at a panel which asks for what there is not.

use crate::{queries, read};
use serde_json::Value;
use std::collections::BTreeSet;

const ROWS: [&str; 5] = [
    "Is money stuck?",
    "Is DOKU well?",
    "Are we keeping up?",
    "Does DOKU pay out what we believe?",
    "The service itself",
];
const COLUMNS: u64 = 24;
/// Grafana shows any other as plain text after the figure.
const UNITS: [&str; 5] = ["s", "short", "reqps", "percentunit", "currencyIDR"];

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn every_panel_asks_a_question_of_metrics_there_are() {
    let panels = panels();
    let (rows, graphs): (Vec<&Value>, Vec<&Value>) = panels.iter().partition(|p| p["type"] == "row");
    assert_eq!(rows.iter().map(|row| text(row, "title")).collect::<Vec<_>>(), ROWS);
    for panel in graphs {
        let title = text(panel, "title");
        assert!(title.ends_with('?'), "{title}");
        assert!(text(panel, "description").len() > 20, "{title}: no description");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(UNITS.contains(&text(defaults, "unit")), "{title}: {}", defaults["unit"]);
        assert!(!defaults["thresholds"]["steps"].as_array().unwrap().is_empty(), "{title}: no thresholds");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let query = text(target, "expr");
            assert_eq!(queries::faults(query), Vec::<String>::new(), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let kept: Vec<&str> = query
                .split("by (")
                .skip(1)
                .flat_map(|rest| rest.split(')').next().unwrap().split(", "))
                .collect();
            for label in text(target, "legendFormat").split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(kept.contains(&label), "{title}: {query} keeps no {label}");
            }
        }
    }
}

#[test]
fn every_panel_has_its_own_id_and_its_own_place() {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels() {
        let title = text(&panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= COLUMNS, "{title} is too wide");
        let cells = (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line)));
        assert!(cells.into_iter().all(|cell| taken.insert(cell)), "{title} lies over another");
    }
}
