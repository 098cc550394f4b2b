//! The checks for people: a line each, what to do under those that are not well, a count at the end.

use super::check::{Check, Status};
use crate::cli::print::clean;

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const GREEN: &str = "\u{1b}[32m";
const PLAIN: &str = "\u{1b}[0m";

/// `terminal`: one that may show colours.
pub fn page(checks: &[Check], terminal: bool) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut page = String::new();
    let mut group = "";
    for check in checks {
        if !group.is_empty() && check.group() != group {
            page.push('\n');
        }
        group = check.group();
        let status = coloured(&format!("{:4}", check.status.word()), check.status, terminal);
        page.push_str(&format!("{status}  {:width$}  {}\n", check.name, clean(&check.detail)));
        if let Some(hint) = &check.hint {
            page.push_str(&format!("{:6}{:width$}  -> {}\n", "", "", clean(hint)));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let summary = format!(
        "{} checks: {} ok, {} warn, {} fail",
        checks.len(),
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Fail)
    );
    format!("{page}\n{}", coloured(&summary, worst, terminal))
}

fn coloured(text: &str, status: Status, terminal: bool) -> String {
    let colour = match status {
        Status::Ok => GREEN,
        Status::Warn => YELLOW,
        Status::Fail => RED,
    };
    if terminal { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::{BROKER_LOGIN, DOKU_KEY, LEASE};

    fn checks() -> Vec<Check> {
        vec![
            Check::ok(LEASE, "45 s"),
            Check::fail(DOKU_KEY, "refused\u{1b}[2J", "set it").of("default"),
            Check::warn(BROKER_LOGIN, "slow", "wait"),
        ]
    }

    #[test]
    fn a_page_has_a_line_for_each_check_and_what_to_do() {
        let expected = "\
ok    limits.lease      45 s

fail  doku.key.default  refused\u{fffd}[2J
                        -> set it

warn  broker.login      slow
                        -> wait

3 checks: 1 ok, 1 warn, 1 fail";
        assert_eq!(page(&checks(), false), expected);
    }

    #[test]
    fn a_terminal_gets_colour_and_nobody_elses_control_characters() {
        let page = page(&checks(), true);
        assert!(page.starts_with("\u{1b}[32mok  \u{1b}[0m"), "{page}");
        assert!(page.ends_with("\u{1b}[31m3 checks: 1 ok, 1 warn, 1 fail\u{1b}[0m"), "{page}");
        assert!(!page.contains("[2J") || page.contains("\u{fffd}[2J"));
    }
}
