//! Compares what was measured with an earlier report: ratios alone, since times do not travel from one machine to another.

use super::report::{Section, figure, table};
use serde_json::Value;

/// A smaller change is this machine's own unrest.
const NOTED: f64 = 0.03;

#[derive(Clone, Copy, PartialEq)]
enum Better {
    Higher,
    Lower,
}

use Better::{Higher, Lower};

/// The scenario, where its results have the figure, what it is, and which way is better.
const RATIOS: [(&str, &str, &str, Better); 8] = [
    ("drain", "/ratio", "drain, beside the plain worker", Higher),
    ("drain", "/share_of_bound", "drain, share of the bound", Higher),
    ("drain", "/share_of_concurrency", "drain, share of what DOKU's time allows", Higher),
    ("relay", "/share", "relay, share of what the broker confirms", Higher),
    ("merchants", "/p99_ratio", "merchants, p99 beside the busy one", Lower),
    ("history", "/history", "history, share of an empty database's", Higher),
    ("history", "/two", "two processes, share of one's", Higher),
    ("settlement", "/p99_ratio", "settlement, p99 of payments beside it", Lower),
];

/// A table of the ratios that both reports have, with what got slower.
pub fn compare(now: &[Section], then: &Value) -> String {
    let head = ["figure", "then", "now", "change", ""];
    let measured = |scenario: &str| now.iter().find(|section| section.scenario == scenario);
    let reported = |scenario: &str| then["sections"].as_array()?.iter().find(|s| s["scenario"] == scenario);
    let rows: Vec<Vec<String>> = RATIOS
        .iter()
        .filter_map(|(scenario, pointer, name, better)| {
            let then = reported(scenario)?["results"].pointer(pointer)?.as_f64()?;
            let now = measured(scenario)?.results.pointer(pointer)?.as_f64()?;
            Some(row(name, then, now, *better))
        })
        .collect();
    if rows.is_empty() {
        return "the two reports have no ratio in common".to_owned();
    }
    table(&head.map(str::to_owned), &rows)
}

fn row(name: &str, then: f64, now: f64, better: Better) -> Vec<String> {
    let change = now / then - 1.0;
    let gain = if better == Higher { change } else { -change };
    let verdict = match gain {
        gain if gain < -NOTED => "slower",
        gain if gain > NOTED => "faster",
        _ => "as before",
    };
    vec![name.to_owned(), figure(then), figure(now), format!("{:+.1} %", change * 100.0), verdict.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_got_slower_is_named_whichever_way_is_better() {
        let section = |scenario, results: Value| Section::new(scenario, &results, String::new()).unwrap();
        let now = [
            section("drain", json!({"ratio": 2.0, "share_of_bound": null})),
            section("merchants", json!({"p99_ratio": 2.0})),
            section("relay", json!({"share": 0.92})),
        ];
        let then = json!({"sections": [
            {"scenario": "drain", "results": {"ratio": 2.5, "share_of_bound": 0.6}},
            {"scenario": "merchants", "results": {"p99_ratio": 1.1}},
            {"scenario": "relay", "results": {"share": 0.93}},
            {"scenario": "history", "results": {"two": 1.0}},
        ]});
        let text = compare(&now, &then);
        let verdict = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(
            verdict("plain worker").contains("-20.0 %") && verdict("plain worker").contains("slower"),
            "{text}"
        );
        assert!(verdict("busy one").contains("slower"), "{text}");
        assert!(verdict("confirms").contains("as before"), "{text}");
        assert!(!text.contains("two processes") && !text.contains("bound"), "only one report has it: {text}");
        assert!(compare(&[], &then).contains("no ratio in common"));
    }
}
