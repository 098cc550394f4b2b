//! `dead list`: groups of letters that died alike, with their counts; or a row for each letter.

use super::browse_session::{BrowseSession, Filter};
use crate::{
    app::{letters::words::replays, parts::broker_of},
    cli::{
        print,
        table::{ColumnFit, Room, TextTable, Wide},
        times::{self, Times},
    },
    config::{Amqp, Source},
    domain::Time,
    flow::view::letters::{LetterGroup, LetterView, groups},
    rabbit::dead::DeadLetter,
};
use print::clean;
use serde::Serialize;
use std::process::ExitCode;

/// Of a group, so many ids are named.
const IDS_MAX: usize = 3;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Print a row for each letter instead of the groups.
    #[arg(long)]
    each: bool,
    /// Print a JSON array of the letters.
    #[arg(long, conflicts_with = "each")]
    json: bool,
    #[command(flatten)]
    wide: Wide,
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
    pub fn from_letter(letter: &'a DeadLetter) -> Self {
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
    let broker = broker_of(&Amqp::load(source)?)?;
    let mut sight = BrowseSession::start(&broker, &args.filter).await?;
    let letters = letters(&mut sight).await;
    let letters = sight.end(letters).await?;
    let text = if args.json {
        print::json(&letters.iter().map(ListedLetter::from_letter).collect::<Vec<_>>())?
    } else if args.each {
        each(&letters, times::from_source(source)?, args.wide.room())
    } else {
        grouped(&letters, times::from_source(source)?)
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

/// For people: what is there, the largest group first.
fn grouped(letters: &[DeadLetter], times: Times) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let views: Vec<LetterView> = letters.iter().map(DeadLetter::view).collect();
    let groups = groups(&views);
    let total = format!("{} dead letters in {} groups (--each: a row for each)", letters.len(), groups.len());
    let groups = groups.iter().map(|group| words(group, times));
    std::iter::once(total).chain(groups).collect::<Vec<_>>().join("\n\n")
}

fn words(group: &LetterGroup<'_>, times: Times) -> String {
    let mut lines = vec![format!("{} {}", group.letters.len(), clean(group.reason))];
    let facts = [("type", group.event_type), ("source", group.source), ("detail", group.detail)];
    lines.extend(facts.into_iter().filter_map(|(name, text)| Some(format!("  {name:<7} {}", clean(text?)))));
    if let Some(oldest) = group.oldest() {
        lines.push(format!("  oldest  {}, {}", times.full(oldest), times.away(oldest)));
    }
    let again = group.replayed();
    if again > 0 {
        lines.push(format!("  replays {again} of them were replayed and died again"));
    }
    let mut ids: Vec<String> = group.letters.iter().take(IDS_MAX).map(|letter| clean(&letter.id)).collect();
    if group.letters.len() > IDS_MAX {
        ids.push(format!("and {} more", group.letters.len() - IDS_MAX));
    }
    lines.push(format!("  ids     {}", ids.join(", ")));
    lines.join("\n")
}

/// For people: a row for each letter, the oldest first.
fn each(letters: &[DeadLetter], times: Times, room: Room) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let at = format!("time ({})", times.zone());
    let mut table = TextTable::new([
        ("id", ColumnFit::Whole),
        ("cause", ColumnFit::Whole),
        (at.as_str(), ColumnFit::Whole),
        ("type", ColumnFit::Spare(2)),
        ("source", ColumnFit::Spare(3)),
        ("command", ColumnFit::Spare(1)),
        ("queue", ColumnFit::Spare(5)),
        ("bytes", ColumnFit::Spare(6)),
        ("detail", ColumnFit::Flows),
    ]);
    for letter in letters {
        let detail = [replays(letter), letter.detail().map(clean)];
        table.row([
            clean(&letter.id),
            clean(letter.reason()),
            letter.at().map(|at| times.short_time(at)).unwrap_or_default(),
            letter.event_type.as_deref().map(clean).unwrap_or_default(),
            letter.source.as_deref().map(clean).unwrap_or_default(),
            letter.command_id.as_deref().map(clean).unwrap_or_default(),
            letter.queue.name().to_owned(),
            letter.bytes.to_string(),
            detail.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]);
    }
    table.print(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{dead::show::sample, times::sample::times};

    #[test]
    fn letters_that_died_alike_are_one_group_the_largest_first() {
        let mut other = sample("d", "malformed", 0);
        other.source = Some("/other".to_owned());
        let letters =
            [sample("a", "unrouted", 0), sample("b", "malformed", 0), sample("c", "malformed", 2), other];
        let text = grouped(&letters, times());
        let expected = "\
4 dead letters in 3 groups (--each: a row for each)

2 malformed
  type    jenius.payment.request.v1
  source  /shop
  detail  why\u{fffd}
  oldest  1970-01-01 07:00:00 WIB, 20454 days ago
  replays 1 of them were replayed and died again
  ids     b, c

1 malformed
  type    jenius.payment.request.v1
  source  /other";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(grouped(&[], times()), "no dead letters");
        let many: Vec<DeadLetter> = (0..5).map(|n| sample(&n.to_string(), "malformed", 0)).collect();
        assert!(grouped(&many, times()).ends_with("ids     0, 1, 2, and 2 more"));
    }

    #[test]
    fn each_letter_is_a_row() {
        let letters = [sample("a", "unrouted", 0), sample("b", "malformed", 2)];
        let text = each(&letters, times(), Room::Any);
        let rows: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows[0], "id cause time (WIB) type source command queue bytes detail");
        assert!(
            rows[1].starts_with("a unrouted 1970-01-01 07:00:00 jenius.payment.request.v1 /shop c-1 dead 7"),
            "{text}"
        );
        assert!(rows[2].ends_with("replayed 2 times, died again: why\u{fffd}"), "{text}");
        let text = each(&letters, times(), Room::Columns(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn programs_get_what_the_contract_names() {
        let row = serde_json::to_value(ListedLetter::from_letter(&sample("a", "malformed", 1))).unwrap();
        let expected = serde_json::json!({"id": "a", "queue": "dead", "reason": "malformed", "detail": "why\u{1b}",
            "at": "1970-01-01T00:00:00Z", "type": "jenius.payment.request.v1", "command_id": "c-1", "bytes": 7});
        assert_eq!(row, expected);
    }
}
