//! Which letters are looked at, how many at most, and what is shown of those that are not.

use crate::{
    cli::print,
    rabbit::{
        Broker, BrokerError,
        dead::{DeadLetter, DeadLetterBrowser, DeadQueue, FetchedLetter},
    },
};
use anyhow::Context;
use clap::ValueEnum;

/// A letter that came back so often is pointed out: RabbitMQ 4 drops it at 20, without a policy.
const RETURNS_NOTED: u64 = 10;

/// Which letters.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Only letters with this cause: `malformed`, `delivery_limit`, `unrouted`, …
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<String>,
    /// Only letters in this queue.
    #[arg(long)]
    pub queue: Option<QueueArg>,
    /// Only letters of this type: `payment.request`, or `jenius.payment.request.v1`.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Look at no more than this number of letters, the oldest first.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum QueueArg {
    Dead,
    Unrouted,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_given(&self) -> bool {
        self.cause.is_some() || self.queue.is_some() || self.event_type.is_some()
    }

    fn queues(&self) -> Vec<DeadQueue> {
        match self.queue {
            Some(QueueArg::Dead) => vec![DeadQueue::Dead],
            Some(QueueArg::Unrouted) => vec![DeadQueue::Unrouted],
            None => DeadQueue::ALL.to_vec(),
        }
    }

    fn wants(&self, letter: &DeadLetter) -> bool {
        let is_type = |wanted: &String| {
            let whole = format!("jenius.{wanted}.v1");
            letter.event_type.as_ref().is_some_and(|written| written == wanted || *written == whole)
        };
        self.cause.as_ref().is_none_or(|wanted| letter.reason() == wanted)
            && self.event_type.as_ref().is_none_or(is_type)
    }
}

/// A look at the letters a filter wants.
pub struct BrowseSession {
    look: DeadLetterBrowser,
    filter: Filter,
    /// Those that are not looked through yet, the current one last.
    queues: Vec<DeadQueue>,
    looked_at: u32,
    left: u32,
    returns_max: u64,
}

impl BrowseSession {
    pub async fn start(broker: &Broker, filter: &Filter) -> Result<Self, BrokerError> {
        let mut queues = filter.queues();
        queues.reverse();
        let look = DeadLetterBrowser::start(broker).await?;
        Ok(Self { look, filter: filter.clone(), queues, looked_at: 0, left: 0, returns_max: 0 })
    }

    /// The next one that is wanted; `None` at the end, or at the limit.
    pub async fn next(&mut self) -> anyhow::Result<Option<FetchedLetter>> {
        while let Some(queue) = self.queues.last() {
            if self.looked_at == self.filter.limit {
                return Ok(None);
            }
            let taken = self.look.take(*queue).await;
            let taken = taken.with_context(|| {
                let before = self.looked_at;
                format!(
                    "the letter after the first {before} cannot be looked at (--limit {before} stops there)"
                )
            })?;
            let Some(held) = taken else {
                self.queues.pop();
                continue;
            };
            self.looked_at += 1;
            self.left = held.left;
            self.returns_max = self.returns_max.max(held.letter.returns);
            if self.filter.wants(&held.letter) {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// Gives everything back, whatever `done` says, and tells what was not seen.
    pub async fn end<T>(self, done: anyhow::Result<T>) -> anyhow::Result<T> {
        if self.is_cut() {
            let (looked_at, left) = (self.looked_at, self.left);
            print::complain(&format!(
                "only the first {looked_at} letters were looked at; at least {left} more stand behind them: raise --limit"
            ));
        }
        if self.returns_max >= RETURNS_NOTED {
            print::complain(&format!(
                "a letter was looked at {} times; RabbitMQ 4 drops one at 20, unless a policy is set (RUNBOOK, RabbitMQ 4)",
                self.returns_max
            ));
        }
        let ended = self.look.end().await;
        let done = done?;
        ended?;
        Ok(done)
    }

    fn is_cut(&self) -> bool {
        self.looked_at == self.filter.limit && (self.left > 0 || self.queues.len() > 1)
    }
}

/// An id that no letter has.
pub fn not_found(id: &str, filter: &Filter) -> anyhow::Error {
    let limit = filter.limit;
    anyhow::anyhow!(
        "no dead letter {id} among the first {limit}: `dead list` has the ids, --limit looks further"
    )
}
