//! `dead list`: what is there, by what it died of.

use super::browse_session::{BrowseSession, Filter};
use crate::{
    cli::{print, timeline, watch},
    config::{Amqp, Source},
    domain::Time,
    rabbit::dead::DeadLetter,
};
use print::clean;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

/// A letter, for programs.
#[derive(Debug, Serialize)]
pub(super) struct ListedLetter<'a> {
    id: &'a str,
    queue: &'a str,
    reason: &'a str,
    detail: Option<&'a str>,
    at: Option<Time>,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    command_id: Option<&'a str>,
    bytes: usize,
}

impl<'a> ListedLetter<'a> {
    pub fn of(letter: &'a DeadLetter) -> Self {
        Self {
            id: &letter.id,
            queue: letter.queue.name(),
            reason: letter.reason(),
            detail: letter.detail(),
            at: letter.at(),
            event_type: letter.event_type.as_deref(),
            command_id: letter.command_id.as_deref(),
            bytes: letter.bytes,
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let broker = watch::broker(&Amqp::load(source)?)?;
    let mut sight = BrowseSession::start(&broker, &args.filter).await?;
    let letters = letters(&mut sight).await;
    let letters = sight.end(letters).await?;
    let text = if args.json {
        print::json(&letters.iter().map(ListedLetter::of).collect::<Vec<_>>())?
    } else {
        grouped(&letters, io::stdout().is_terminal())
    };
    print::line(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Without their bodies: only one of those is in memory at a time.
async fn letters(sight: &mut BrowseSession) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    while let Some(held) = sight.next().await? {
        letters.push(held.letter);
    }
    Ok(letters)
}

/// For people: a table for each reason, the most frequent first.
fn grouped(letters: &[DeadLetter], terminal: bool) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut groups: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters {
        groups.entry(letter.reason()).or_default().push(letter);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, letters)| std::cmp::Reverse(letters.len()));
    let groups = groups.into_iter().map(|(reason, letters)| group(reason, &letters, terminal));
    groups.collect::<Vec<_>>().join("\n\n")
}

fn group(reason: &str, letters: &[&DeadLetter], terminal: bool) -> String {
    let oldest = letters.iter().filter_map(|letter| letter.at()).min();
    let oldest = oldest.map(|at| format!(", the oldest of {}", timeline::time(at))).unwrap_or_default();
    let mut table =
        timeline::table(terminal, ["id", "queue", "time (UTC)", "type", "command", "bytes", "detail"]);
    for letter in letters {
        table.add_row([
            clean(&letter.id),
            letter.queue.name().to_owned(),
            letter.at().map(timeline::time).unwrap_or_default(),
            letter.event_type.as_deref().map(clean).unwrap_or_default(),
            letter.command_id.as_deref().map(clean).unwrap_or_default(),
            letter.bytes.to_string(),
            [replays(letter), letter.detail().map(clean)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": "),
        ]);
    }
    format!("{} {}{oldest}\n{}", letters.len(), clean(reason), timeline::printed(&table))
}

/// That an operator had it worked on again, and it died again.
pub(super) fn replays(letter: &DeadLetter) -> Option<String> {
    match letter.replays {
        0 => None,
        1 => Some("replayed once, died again".to_owned()),
        more => Some(format!("replayed {more} times, died again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead::show::sample;

    #[test]
    fn letters_are_grouped_by_reason_the_most_frequent_first() {
        let letters = [sample("a", "unrouted", 0), sample("b", "malformed", 0), sample("c", "malformed", 2)];
        let text = grouped(&letters, false);
        let words: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[0], "2 malformed, the oldest of 1970-01-01T00:00:00.000Z");
        assert!(
            words[2].starts_with("b dead 1970-01-01T00:00:00.000Z jenius.payment.request.v1 c-1 7"),
            "{text}"
        );
        assert!(words[3].ends_with("replayed 2 times, died again: why\u{fffd}"), "{text}");
        assert!(words[5].starts_with("1 unrouted"), "{text}");
        assert_eq!(grouped(&[], false), "no dead letters");
    }

    #[test]
    fn programs_get_what_the_contract_names() {
        let row = serde_json::to_value(ListedLetter::of(&sample("a", "malformed", 1))).unwrap();
        let expected = serde_json::json!({"id": "a", "queue": "dead", "reason": "malformed", "detail": "why\u{1b}",
            "at": "1970-01-01T00:00:00Z", "type": "jenius.payment.request.v1", "command_id": "c-1", "bytes": 7});
        assert_eq!(row, expected);
    }
}
