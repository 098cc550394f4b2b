//! `dead show`: all that is known of one letter, the customer's data masked.

use super::{
    browse_session::{BrowseSession, Filter, not_found},
    list::ListedLetter,
};
use crate::{
    app::{
        letters::{
            redact::{self, Shown},
            words::replays,
        },
        parts::broker_of,
    },
    cli::{
        print,
        times::{self, Times},
    },
    config::{Amqp, Source},
    rabbit::dead::{DeadLetter, DeathRecord, Destination, FetchedLetter},
};
use print::clean;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id that `dead list` shows.
    id: String,
    #[command(flatten)]
    filter: Filter,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    /// Print the exact bytes of the body, and nothing else. They show the customer's data.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let broker = broker_of(&Amqp::load(source)?)?;
    let mut sight = BrowseSession::start(&broker, &args.filter).await?;
    let found = find(&mut sight, &args).await;
    let held = sight.end(found).await?;
    if args.raw {
        print::bytes(&held.body)?;
    } else if args.json {
        print::line(&print::json(&for_programs(&held)?)?)?;
    } else {
        print::line(&for_people(&held.letter, &redact::body(&held.body), times::from_source(source)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks no further than it.
async fn find(sight: &mut BrowseSession, args: &Args) -> anyhow::Result<FetchedLetter> {
    while let Some(held) = sight.next().await? {
        if held.letter.id == args.id {
            return Ok(held);
        }
    }
    Err(not_found(&args.id, &args.filter))
}

fn for_programs(held: &FetchedLetter) -> anyhow::Result<serde_json::Value> {
    let letter = &held.letter;
    let mut object = serde_json::to_value(ListedLetter::from_letter(letter))?;
    object["replays"] = json!(letter.replays);
    object["belongs_to"] = json!(letter.destination.map(Destination::name));
    object["headers"] = letter.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    object["deaths"] = letter
        .deaths
        .iter()
        .map(|death| {
            json!({"reason": death.reason, "detail": death.detail, "at": death.at, "queue": death.queue,
                   "times": death.times})
        })
        .collect();
    object["body"] = match redact::body(&held.body) {
        Shown::Json(value) => value,
        Shown::Excerpt(text) => json!(text),
    };
    Ok(object)
}

fn for_people(letter: &DeadLetter, body: &Shown, times: Times) -> String {
    let mut facts = vec![
        ("id", clean(&letter.id)),
        ("queue", letter.queue.name().to_owned()),
        ("bytes", letter.bytes.to_string()),
    ];
    facts.extend(letter.deaths.iter().map(|death| ("died", died(death, times))));
    facts.extend(replays(letter).map(|text| ("replays", text)));
    let texts = [
        ("type", &letter.event_type),
        ("source", &letter.source),
        ("command", &letter.command_id),
        ("content", &letter.content_type),
        ("message", &letter.message_id),
    ];
    facts.extend(texts.into_iter().filter_map(|(name, text)| Some((name, clean(text.as_ref()?)))));
    let belongs = letter
        .destination
        .map_or("nowhere: neither its type nor its routing key is one of ours", Destination::name);
    facts.push(("belongs", belongs.to_owned()));
    for (name, value) in &letter.headers {
        let value = value.as_deref().map_or("(not shown: it may hold a customer's data)".to_owned(), clean);
        facts.push(("header", format!("{} {value}", clean(name))));
    }
    let facts: Vec<_> = facts.into_iter().map(|(name, text)| format!("{name:<8} {text}")).collect();
    let body = match body {
        Shown::Json(value) => format!("body, masked:\n{}", redact::cut(&format!("{value:#}"))),
        Shown::Excerpt(text) => format!("body, which is no JSON, masked and cut:\n{text}"),
    };
    format!("{}\n\n{body}", facts.join("\n"))
}

fn died(death: &DeathRecord, times: Times) -> String {
    let mut text = format!("of {}", clean(&death.reason));
    if let Some(at) = death.at {
        text.push_str(&format!(" at {}", times.full(at)));
    }
    if let Some(queue) = &death.queue {
        text.push_str(&format!(" in {}", clean(queue)));
    }
    if death.times > 1 {
        text.push_str(&format!(", {} times", death.times));
    }
    if let Some(detail) = &death.detail {
        text.push_str(&format!(": {}", clean(detail)));
    }
    text
}

#[cfg(test)]
pub(super) fn sample(id: &str, reason: &str, replays: u64) -> DeadLetter {
    let at = Some(chrono::DateTime::UNIX_EPOCH);
    let detail = Some("why\u{1b}".to_owned());
    let queue = Some("p.payments".to_owned());
    DeadLetter {
        id: id.to_owned(),
        queue: crate::rabbit::dead::DeadQueue::Dead,
        deaths: vec![DeathRecord { reason: reason.to_owned(), detail, at, queue, times: 2 }],
        event_type: Some("jenius.payment.request.v1".to_owned()),
        source: Some("/shop".to_owned()),
        command_id: Some("c-1".to_owned()),
        bytes: 7,
        replays,
        returns: 0,
        destination: Some(Destination::Command(crate::domain::command::CommandKind::Payment)),
        content_type: None,
        message_id: Some("m\u{7}".to_owned()),
        headers: vec![("theirs".to_owned(), None)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_how_it_died_and_nothing_drives_their_terminal() {
        let text = for_people(
            &sample("a", "malformed", 1),
            &Shown::Json(json!({"id": "c-1"})),
            crate::cli::times::sample::times(),
        );
        for part in [
            "died     of malformed at 1970-01-01 07:00:00 WIB in p.payments, 2 times: why\u{fffd}",
            "replays  replayed once, died again",
            "belongs  payment.request",
            "\"id\": \"c-1\"",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains(['\u{1b}', '\u{7}']));
    }
}
