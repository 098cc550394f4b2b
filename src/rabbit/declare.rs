//! Declares what the links of this process need: once, and again when the broker does not find it. One task
//! declares for all links, so that no link that reconnects waits for a binding: to bind is a transaction of
//! all nodes of a cluster, and one node that hangs delays it for a minute, while the queues of the other
//! nodes work. A link waits for its exchanges and queues, never for a binding.
//!
//! A user without the permission to declare works with what exists. If something is missing, the links that
//! need it wait, and their health names it.

use super::{
    connection::{Broker, BrokerError, Link, LinkSession, bounded_by, keep_connected},
    refusal::{ACCESS_REFUSED, ChannelRefusal, NOT_FOUND, PRECONDITION_FAILED, asked},
    topology::{Binding, Exchange, Part, QueueSpec, TopologyNames, short_string, table},
};
use lapin::{
    Channel,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

const NAME: &str = "topology";
/// Between two looks for what is missing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A binding waits until a node that hangs counts as down: `net_ticktime`, a minute by default.
const BIND_LIMIT: Duration = Duration::from_secs(75);

/// The parts whose exchanges and queues are there, shared by all links of a process.
#[derive(Clone, Default)]
pub(super) struct Declared(Arc<watch::Sender<BTreeSet<Part>>>);

impl Declared {
    /// Waits until all these parts are declared.
    pub async fn wait_for(&self, parts: &[Part]) {
        let mut declared = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = declared.wait_for(|declared| parts.iter().all(|part| declared.contains(part))).await;
    }

    /// The broker did not find something: everything is declared again.
    pub fn forget_all(&self) {
        self.0.send_if_modified(|declared| !std::mem::take(declared).is_empty());
    }

    /// A queue is gone. That of another process's part is no concern of this one.
    pub fn lost_queue(&self, queue: &str, names: &TopologyNames) {
        let is_ours =
            self.0.borrow().iter().any(|part| names.queues_of(*part).any(|known| known.name == queue));
        if is_ours {
            self.forget_all();
        }
    }

    fn add(&self, part: Part) {
        self.0.send_if_modified(|declared| declared.insert(part));
    }

    async fn wait_for_loss(&self, parts: &BTreeSet<Part>) {
        let mut declared = self.0.subscribe();
        let _ = declared.wait_for(|declared| !parts.is_subset(declared)).await;
    }
}

impl Broker {
    /// Keeps these parts declared, on a link that exists only while there is something to do.
    pub async fn keep_declared(self, parts: BTreeSet<Part>, stop: CancellationToken) {
        let mut session =
            Declaring { broker: self.clone(), parts, may_not_declare: false, stop: stop.clone() };
        while !stop.is_cancelled() {
            keep_connected(&self, NAME, &stop, &mut session).await;
            let lost = async {
                sleep(LOOK_AGAIN).await;
                self.declared().wait_for_loss(&session.parts).await;
            };
            if stop.run_until_cancelled(lost).await.is_none() {
                return;
            }
        }
    }

    /// For a command that runs once and publishes: declares these parts, and binds if anything was missing.
    ///
    /// # Errors
    /// Something is missing or different, or the broker is away.
    pub async fn declare(&self, parts: &[Part]) -> Result<(), BrokerError> {
        let (link, _events) = self.open(Arc::new(self.link_health(NAME)), NAME).await?;
        declare_now(&link, self, parts).await?;
        link.close().await;
        parts.iter().for_each(|part| self.declared().add(*part));
        Ok(())
    }
}

/// For a command that runs once: declares, and binds if anything was missing.
///
/// An error names what is missing or different.
pub(super) async fn declare_now(link: &Link, broker: &Broker, parts: &[Part]) -> Result<(), BrokerError> {
    let mut pass = Pass::start(link, broker.names(), false).await?;
    for part in parts {
        pass.declare(*part).await?;
    }
    if let Some(lack) = pass.lack() {
        return Err(BrokerError::failed("declaring", lack));
    }
    let others = pass.declare_others(|part| parts.contains(&part)).await?;
    if pass.has_created {
        for part in parts.iter().copied().chain(others) {
            bind_all(link, broker.names(), part).await?;
        }
    }
    Ok(())
}

struct Declaring {
    broker: Broker,
    parts: BTreeSet<Part>,
    may_not_declare: bool,
    stop: CancellationToken,
}

impl LinkSession for Declaring {
    const HANDLES_REFUSALS: bool = true;

    async fn run(&mut self, link: &Link) -> Result<(), BrokerError> {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.declare_and_bind(link)).await.unwrap_or(Ok(()))
    }
}

impl Declaring {
    async fn declare_and_bind(&mut self, link: &Link) -> Result<(), BrokerError> {
        let mut reported = String::new();
        let others = loop {
            let mut pass = Pass::start(link, self.broker.names(), self.may_not_declare).await?;
            for part in &self.parts {
                if pass.declare(*part).await? {
                    self.broker.declared().add(*part);
                }
            }
            self.may_not_declare = pass.may_not_declare;
            let Some(lack) = pass.lack() else {
                break pass.declare_others(|part| self.parts.contains(&part)).await?;
            };
            if lack != reported {
                tracing::warn!(lack, "exchanges or queues are not as needed; the work that needs them waits");
                link.waits(&lack);
                reported = lack;
            }
            sleep(LOOK_AGAIN).await;
        };
        for part in self.parts.iter().copied().chain(others) {
            bind_all(link, self.broker.names(), part).await?;
        }
        Ok(())
    }
}

/// One look at everything.
struct Pass<'l> {
    link: &'l Link,
    names: &'l TopologyNames,
    channel: Channel,
    /// The broker refused a declaration: from then on what is there is only looked at. Each refusal is an
    /// error in the broker's log.
    may_not_declare: bool,
    has_created: bool,
    /// By name.
    missing: Vec<String>,
    /// In words.
    wrong: Vec<String>,
}

#[derive(Clone)]
enum Thing<'n> {
    Exchange(Exchange<'n>),
    Queue(QueueSpec<'n>),
}

impl<'l> Pass<'l> {
    async fn start(
        link: &'l Link,
        names: &'l TopologyNames,
        may_not_declare: bool,
    ) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        Ok(Self {
            link,
            names,
            channel,
            may_not_declare,
            has_created: false,
            missing: Vec::new(),
            wrong: Vec::new(),
        })
    }

    /// Whether everything of the part is there.
    async fn declare(&mut self, part: Part) -> Result<bool, BrokerError> {
        let names = self.names;
        let exchanges = names.exchanges_of(part).map(Thing::Exchange);
        let mut is_whole = true;
        for thing in exchanges.chain(names.queues_of(part).map(Thing::Queue)) {
            is_whole &= self.have(&thing).await?;
        }
        Ok(is_whole)
    }

    /// What other roles use, where this user may declare it: upstream services can publish before those run.
    /// Nothing here depends on it.
    async fn declare_others(&mut self, is_own: impl Fn(Part) -> bool) -> Result<Vec<Part>, BrokerError> {
        let (missing, wrong) = (self.missing.len(), self.wrong.len());
        let mut declared = Vec::new();
        for part in Part::ALL.into_iter().filter(|part| !is_own(*part)) {
            if !self.may_not_declare && self.declare(part).await? {
                declared.push(part);
            }
        }
        self.missing.truncate(missing);
        self.wrong.truncate(wrong);
        Ok(declared)
    }

    /// Everything that is missing or different, for a person.
    fn lack(&self) -> Option<String> {
        let missing = (!self.missing.is_empty())
            .then(|| format!("missing, and this user may not declare it: {}", self.missing.join(", ")));
        let lacks: Vec<String> = missing.into_iter().chain(self.wrong.iter().cloned()).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    async fn have(&mut self, thing: &Thing<'_>) -> Result<bool, BrokerError> {
        let is_there = match look(&self.channel, thing).await {
            Ok(()) if self.may_not_declare => return Ok(true),
            Ok(()) => true,
            Err(refusal) if refusal.code == NOT_FOUND => {
                self.channel = self.link.channel().await?;
                false
            }
            Err(refusal) => return self.note_refusal(thing, refusal).await,
        };
        match declare(&self.channel, thing).await {
            Ok(()) => {
                self.has_created |= !is_there;
                Ok(true)
            }
            Err(refusal) if refusal.code == ACCESS_REFUSED => {
                self.channel = self.link.channel().await?;
                self.may_not_declare = true;
                if !is_there {
                    remember(&mut self.missing, thing.name());
                }
                Ok(is_there)
            }
            Err(refusal) => self.note_refusal(thing, refusal).await,
        }
    }

    async fn note_refusal(
        &mut self,
        thing: &Thing<'_>,
        refusal: ChannelRefusal,
    ) -> Result<bool, BrokerError> {
        if refusal.is_silence() {
            return Err(refusal.error("declaring"));
        }
        self.channel = self.link.channel().await?;
        let name = thing.name();
        remember(
            &mut self.wrong,
            match refusal.code {
                PRECONDITION_FAILED => format!("{name} was declared with other arguments: {}", refusal.text),
                _ => format!("{name}: {}", refusal.text),
            },
        );
        Ok(false)
    }
}

/// Parts share some of what they have.
fn remember(all: &mut Vec<String>, one: String) {
    if !all.contains(&one) {
        all.push(one);
    }
}

impl Thing<'_> {
    fn name(&self) -> String {
        match self {
            Self::Exchange(exchange) => format!("exchange {}", exchange.name),
            Self::Queue(queue) => format!("queue {}", queue.name),
        }
    }
}

/// Needs no permission.
async fn look(channel: &Channel, thing: &Thing<'_>) -> Result<(), ChannelRefusal> {
    match thing {
        Thing::Exchange(exchange) => {
            let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let name = short_string(exchange.name);
            asked(channel.exchange_declare(name, exchange.kind(), passive, FieldTable::default())).await
        }
        Thing::Queue(queue) => {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            asked(channel.queue_declare(short_string(queue.name), passive, FieldTable::default()))
                .await
                .map(|_| ())
        }
    }
}

/// Compares the arguments of what is there, too.
async fn declare(channel: &Channel, thing: &Thing<'_>) -> Result<(), ChannelRefusal> {
    match thing {
        Thing::Exchange(exchange) => {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let name = short_string(exchange.name);
            asked(channel.exchange_declare(name, exchange.kind(), durable, exchange.arguments())).await
        }
        Thing::Queue(queue) => {
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let arguments = table(queue.arguments.iter().copied());
            asked(channel.queue_declare(short_string(queue.name), durable, arguments)).await.map(|_| ())
        }
    }
}

/// A user who may not bind works with the bindings that exist.
async fn bind_all(link: &Link, names: &TopologyNames, part: Part) -> Result<(), BrokerError> {
    let mut channel = link.channel().await?;
    for Binding { queue, exchange, key } in names.bindings_of(part) {
        match bind(&channel, queue, exchange, key).await {
            Ok(()) => {}
            Err(BrokerError::Refused { .. }) => channel = link.channel().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), BrokerError> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(
        short_string(queue),
        short_string(exchange),
        short_string(key),
        options,
        arguments,
    );
    bounded_by(BIND_LIMIT, "binding a queue", bound).await
}
