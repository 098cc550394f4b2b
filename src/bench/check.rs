//! Whether what came out is what went in. A service that is fast and loses money has no speed.

use super::{progress::ProgressLine, setup::BenchSetup};
use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What came out, and what DOKU did: an error where it is not exactly what went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub events: u64,
    /// Publications of the same event beyond its first: allowed, and not expected.
    pub repeated: u64,
    pub charges: u64,
}

#[derive(Deserialize)]
struct SeenEvent<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
}

/// Each command was accepted once, and DOKU charged each once.
pub async fn commands(setup: &BenchSetup<'_>, wanted: u64) -> anyhow::Result<Checked> {
    let repeated = events(setup, wanted).await?;
    let doku = setup.doku_counts().await?;
    ensure!(doku.charges == wanted && doku.refused == 0, "{wanted} commands, but DOKU says {doku:?}");
    Ok(Checked { events: wanted, repeated, charges: doku.charges })
}

/// Takes the events off their queue: one `payment.accepted` for each invoice. Gives how many came again.
pub async fn events(setup: &BenchSetup<'_>, wanted: u64) -> anyhow::Result<u64> {
    let queue = setup.events_queue();
    let progress = ProgressLine::new("checking", wanted);
    let mut subscription = setup.load.subscribe(&queue).await?;
    let mut seen = SeenEvents::default();
    while seen.invoices() < wanted {
        let body = subscription.next().await?;
        seen.take(&serde_json::from_slice(&body)?, |invoice| {
            setup.commands.number(invoice).is_some_and(|number| number < wanted)
        })?;
        progress.at(seen.invoices());
    }
    let left = setup.load.depth(&queue).await?;
    ensure!(left == 0, "{left} more events than there can be");
    Ok(seen.repeated)
}

#[derive(Default)]
struct SeenEvents {
    /// Event id by invoice number.
    ids: HashMap<String, String>,
    repeated: u64,
}

impl SeenEvents {
    fn invoices(&self) -> u64 {
        u64::try_from(self.ids.len()).unwrap_or(u64::MAX)
    }

    fn take(&mut self, event: &SeenEvent<'_>, is_ours: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        ensure!(event.event_type == "jenius.payment.accepted.v1", "an event of type {}", event.event_type);
        ensure!(
            is_ours(event.subject),
            "an event about {}, which is none of this run's orders",
            event.subject
        );
        match self.ids.insert(event.subject.to_owned(), event.id.to_owned()) {
            None => Ok(()),
            Some(id) if id == event.id => {
                self.repeated += 1;
                Ok(())
            }
            Some(id) => bail!("two events about {}: {id} and {}", event.subject, event.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_too_many_is_told_from_one_that_came_twice() {
        let event = |id, subject| SeenEvent { id, event_type: "jenius.payment.accepted.v1", subject };
        let ours = |invoice: &str| invoice.starts_with("A");
        let mut seen = SeenEvents::default();
        seen.take(&event("1", "A1"), ours).unwrap();
        seen.take(&event("2", "A2"), ours).unwrap();
        seen.take(&event("1", "A1"), ours).unwrap();
        assert_eq!((seen.invoices(), seen.repeated), (2, 1));
        assert!(seen.take(&event("3", "A1"), ours).is_err(), "another event about the same");
        assert!(seen.take(&event("4", "B1"), ours).is_err(), "nobody asked for it");
        let declined = SeenEvent { id: "5", event_type: "jenius.payment.declined.v1", subject: "A5" };
        assert!(seen.take(&declined, ours).is_err(), "DOKU declines nobody here");
    }
}
