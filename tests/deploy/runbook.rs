//! The runbook: an entry for everything that can come to a person on call and for nothing else. Whatever it or README
//! says to run, set or look at is there, and so is whatever a page links to.

use crate::{alerts, file, read};
use clap::{Parser, error::ErrorKind};
use jenius_pay::{
    app::letters::BROKERS_CAUSES,
    cli, config,
    domain::{event::EventType, order::ReviewCause, settlement::breaks::Cause},
    flow::disposition::DeadReason,
    http::console::{RULES, Verb},
    metric,
    postgres::GROUPS,
};
use std::collections::BTreeSet;

/// What an entry says, in this order, a paragraph each.
const PARTS: [&str; 3] = ["**It means**", "**Look at**", "**Do**"];
/// And what it says of the console, but for exit codes.
const PAGE: &str = "**In the console** ";
/// What it says if no page shows it.
const NO_PAGE: &str = "no page shows it.";
const CONSOLE: &str = "https://console.example.com";

/// The entries of a section, each with its text.
fn entries(section: &str) -> Vec<(String, String)> {
    let text = read("RUNBOOK.md");
    let sections: Vec<&str> = text.split("\n## ").collect();
    let section = sections.iter().find_map(|s| s.strip_prefix(&format!("{section}\n"))).unwrap();
    let entries = section.split("\n### ").skip(1).map(|entry| entry.split_once('\n').unwrap());
    entries.map(|(title, text)| (title.to_owned(), text.to_owned())).collect()
}

fn titles(section: &str) -> Vec<String> {
    entries(section).into_iter().map(|(title, _)| title).collect()
}

/// The page that stands above this folder.
const README: &str = "../README.md";

/// What stands in backquotes or in a block of a shell, a line each, without its comment.
fn code(page: &str) -> Vec<String> {
    let text = read(page);
    let mut code = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            code.extend(part.lines().skip(1).map(|line| line.split("  # ").next().unwrap().to_owned()));
        } else {
            code.extend(part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        }
    }
    code
}

fn sorted<T: Into<String>>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

#[test]
fn everything_that_comes_to_a_person_has_its_entry_and_nothing_else_has() {
    assert_eq!(titles("Alerts"), alerts::names());
    let reasons = DeadReason::ALL.map(DeadReason::name).into_iter().chain(BROKERS_CAUSES);
    assert_eq!(titles("Dead letters"), reasons.collect::<Vec<_>>());
    assert_eq!(titles("Orders in review"), ReviewCause::ALL.map(ReviewCause::name));
    assert_eq!(titles("Settlement"), Cause::ALL.map(Cause::name));
    assert_eq!(titles("Exit codes"), cli::EXIT_CODES.map(|code| code.to_string()));
}

#[test]
fn every_entry_says_what_it_means_what_to_look_at_and_what_to_do() {
    for section in ["Alerts", "Dead letters", "Orders in review", "Settlement", "Exit codes"] {
        let also = (section != "Exit codes").then_some(PAGE);
        let parts: Vec<&str> = PARTS.into_iter().chain(also).collect();
        for (title, text) in entries(section) {
            let paragraphs: Vec<&str> = text.trim().split("\n\n").collect();
            assert_eq!(paragraphs.len(), parts.len(), "{title}");
            for (paragraph, part) in paragraphs.iter().zip(&parts) {
                assert!(paragraph.starts_with(part), "{title}: {part}");
            }
        }
    }
}

/// The pages of the console that an entry names, the first of them first.
fn pages(text: &str) -> Vec<String> {
    let (_, said) = text.trim().split_once(PAGE).unwrap();
    said.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_entry_names_the_page_that_its_alert_or_its_cause_leads_to() {
    let sections = ["Alerts", "Dead letters", "Orders in review", "Settlement"];
    for (title, text) in sections.into_iter().flat_map(entries) {
        for page in pages(&text) {
            let path = page.split('?').next().unwrap();
            let is_there = RULES.iter().any(|rule| rule.verb == Verb::Get && rule.path == path);
            assert!(is_there, "{title}: the console has no page {page}");
        }
    }
    let alerts = alerts::all();
    for ((title, text), alert) in entries("Alerts").into_iter().zip(alerts) {
        match alert.get("console_url") {
            Some(url) => assert_eq!(*url, format!("{CONSOLE}{}", pages(&text)[0]), "{title}"),
            None => assert!(text.trim().ends_with(&format!("{PAGE}{NO_PAGE}")), "{title}"),
        }
    }
    for (section, page) in [("Dead letters", "/dead"), ("Orders in review", "/review")] {
        for (title, text) in entries(section) {
            assert_eq!(pages(&text), [page], "{title}");
        }
    }
    for (title, text) in entries("Settlement") {
        assert_eq!(pages(&text), [format!("/settlement?cause={title}")]);
    }
}

#[test]
fn every_command_it_or_readme_says_is_one() {
    for (page, least) in [("RUNBOOK.md", 20), (README, 10)] {
        let commands: Vec<String> =
            code(page).into_iter().filter(|line| line.starts_with("jenius-pay ")).collect();
        assert!(commands.len() > least, "{page}: only {} commands found", commands.len());
        for command in commands {
            let parsed = cli::Cli::try_parse_from(command.split_whitespace());
            let is_one =
                parsed.as_ref().map_or_else(|error| error.kind() == ErrorKind::DisplayHelp, |_| true);
            assert!(is_one, "{page}: {command}: {:?}", parsed.err());
        }
    }
}

#[test]
fn every_key_and_metric_it_or_readme_names_is_there() {
    let keys: BTreeSet<&str> = config::keys().iter().map(|key| key.name).collect();
    let sections = sorted(keys.iter().map(|key| key.split('.').next().unwrap()));
    let events = EventType::ALL.map(EventType::routing_key);
    let words = ["RUNBOOK.md", README].into_iter().flat_map(code);
    for word in words.filter(|word| !events.contains(&word.as_str())) {
        let is_key = word.split_once('.').is_some_and(|(section, _)| sections.contains(section));
        assert!(!is_key || keys.contains(word.as_str()), "there is no key {word}");
        let is_metric = word.starts_with("jenius_") && !GROUPS.contains(&word.as_str());
        assert!(
            !is_metric || metric::all_metrics().iter().any(|m| m.name == word),
            "there is no metric {word}"
        );
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    for page in ["RUNBOOK.md", "REFERENCE.md", "CHANGELOG.md", "clients/README.md", README] {
        let text = read(page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (name, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if name.is_empty() { file(page) } else { file(page).with_file_name(name) };
            assert!(target.exists(), "{page}: no file {link}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let mut anchors =
                    headings.map(|h| h.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-"));
                assert!(anchors.any(|a| a == anchor), "{page}: no heading {link}");
            }
        }
    }
}

/// Measured ones are told by their comma or point.
#[test]
fn every_figure_of_its_capacity_is_one_that_was_measured() {
    let (text, measured) = (read("RUNBOOK.md"), read("PERFORMANCE.md"));
    let (_, capacity) = text.split_once("\n## Capacity\n").unwrap();
    let words = capacity.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.'));
    let figures: Vec<&str> =
        words.map(|w| w.trim_matches([',', '.'])).filter(|w| w.contains([',', '.'])).collect();
    assert!(figures.len() > 8, "{figures:?}");
    for figure in figures {
        assert!(measured.contains(figure), "{figure} is not in PERFORMANCE.md");
    }
}

/// A command beside the service has the service's files.
#[test]
fn the_command_line_under_systemd_reads_the_files_of_the_unit() {
    let (text, unit) = (read("RUNBOOK.md"), read("systemd/jenius-pay.service"));
    let loads: Vec<&str> = text
        .split("--property=LoadCredential=")
        .skip(1)
        .map(|rest| rest.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(loads.len(), unit.matches("\nLoadCredential=").count(), "{loads:?}");
    for load in loads {
        assert!(unit.contains(&format!("\nLoadCredential={load}\n")), "{load}");
        let name = load.split(':').next().unwrap();
        assert!(
            text.contains(&format!("_FILE=/run/credentials/jenius-pay-operator.service/{name} ")),
            "{name}"
        );
    }
    assert!(read("kubernetes/operator/operator.yaml").contains("\n  suspend: true\n"));
}
