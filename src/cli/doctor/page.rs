//! The checks for people: a count for each group that is well, then what is not well with what to do, the worst first.
//! The end is what a person at a terminal sees.

use crate::{
    app::doctor::{Check, Status},
    cli::print::clean,
};

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const GREEN: &str = "\u{1b}[32m";
const PLAIN: &str = "\u{1b}[0m";
/// Between the status and the text of a check.
const INDENT: usize = 6;
const WIDTH: usize = 80;

/// `terminal`: one that may show colours. `all`: it shows each check that is well, too.
pub fn page(checks: &[Check], terminal: bool, all: bool) -> String {
    let mut lines = if all { each_well(checks, terminal) } else { folded(checks, terminal) };
    let mut problems: Vec<&Check> = checks.iter().filter(|check| check.status != Status::Ok).collect();
    problems.sort_by_key(|check| std::cmp::Reverse(check.status));
    for check in problems {
        lines.push(String::new());
        lines.push(format!("{}{}", status(check.status, terminal), check.name.as_str()));
        lines.extend(wrapped(&clean(&check.detail), INDENT));
        lines.extend(check.hint.iter().flat_map(|hint| wrapped(&format!("-> {}", clean(hint)), INDENT)));
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
    format!("{}\n\n{}", lines.join("\n"), coloured(&summary, worst, terminal))
}

fn each_well(checks: &[Check], terminal: bool) -> Vec<String> {
    let well = checks.iter().filter(|check| check.status == Status::Ok);
    well.flat_map(|check| {
        let mut lines = vec![format!("{}{}", status(check.status, terminal), check.name.as_str())];
        lines.extend(wrapped(&clean(&check.detail), INDENT));
        lines
    })
    .collect()
}

/// A line for each group: how many of its checks are well.
fn folded(checks: &[Check], terminal: bool) -> Vec<String> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for check in checks.iter().filter(|check| check.status == Status::Ok) {
        match groups.iter_mut().find(|(group, _)| *group == check.group()) {
            Some((_, count)) => *count += 1,
            None => groups.push((check.group(), 1)),
        }
    }
    let line = |(group, count)| {
        format!("{}{group}: {count} checks (--all shows them)", status(Status::Ok, terminal))
    };
    groups.into_iter().map(line).collect()
}

fn status(status: Status, terminal: bool) -> String {
    coloured(&format!("{:<INDENT$}", status.word()), status, terminal)
}

/// In lines of the usual width, broken between words; a word that is longer stays whole.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
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
    use crate::app::doctor::check::{BROKER_LOGIN, DOKU_KEY, DRAIN, LEASE};

    fn checks() -> Vec<Check> {
        vec![
            Check::ok(LEASE, "45 s"),
            Check::fail(DOKU_KEY, "refused\u{1b}[2J", "set it").about("default"),
            Check::warn(BROKER_LOGIN, "slow", "wait"),
            Check::ok(DRAIN, "35 s"),
        ]
    }

    #[test]
    fn what_is_well_is_folded_and_problems_come_last_the_worst_first() {
        let expected = "\
ok    limits: 2 checks (--all shows them)

fail  doku.key.default
      refused\u{fffd}[2J
      -> set it

warn  broker.login
      slow
      -> wait

4 checks: 2 ok, 1 warn, 1 fail";
        assert_eq!(page(&checks(), false, false), expected);
        let all = page(&checks(), false, true);
        assert!(all.starts_with("ok    limits.lease\n      45 s\nok    limits.drain\n"), "{all}");
    }

    #[test]
    fn no_line_is_longer_than_eighty_columns() {
        let long = "several words ".repeat(30);
        let page = page(&[Check::fail(LEASE, long.trim(), long.trim())], false, false);
        assert!(page.lines().all(|line| line.len() <= 80), "{page}");
    }

    #[test]
    fn a_terminal_gets_colour_and_nobody_elses_control_characters() {
        let page = page(&checks(), true, false);
        assert!(page.starts_with("\u{1b}[32mok    \u{1b}[0m"), "{page}");
        assert!(page.ends_with("\u{1b}[31m4 checks: 2 ok, 1 warn, 1 fail\u{1b}[0m"), "{page}");
        assert!(!page.contains("[2J") || page.contains("\u{fffd}[2J"));
    }
}
