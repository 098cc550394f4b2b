//! Links to the broker: opened, watched, rebuilt and closed, every wait bounded. A link is one AMQP
//! connection with one purpose; consumers and publishers never share one, since a broker that is short
//! of memory or disk stops everything that a publishing connection sends, acks and closes included.
//!
//! lapin's own recovery is never switched on: it hangs, or goes on with deliveries that were given away.

pub(super) use super::Broker;
pub use super::error::BrokerError;
pub(super) use super::error::{ANSWER_LIMIT, bounded_by, within_limit};

use super::{
    declare::Declared,
    depth::QueueDepths,
    health::{Board, BrokerHealth, LinkHealth},
    reconnect::{LinkEnd, Tries},
    refusal::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED},
    socket::Opening,
    topology::{Part, TopologyNames},
    url::{BadUrl, host, place, read_all},
};
use crate::{chance, startup};
use futures_util::{StreamExt, stream::BoxStream};
use lapin::{
    ConnectionProperties, Event,
    tcp::{AsyncTcpStream, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri, SASLMechanism},
};
use parking_lot::Mutex;
use secrecy::SecretString;
use std::{
    fmt,
    future::Future,
    net::TcpStream,
    os::fd::AsFd,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// From the first packet to an open AMQP connection. A load balancer may lead to a node that accepts connections and
/// never answers; the next try reaches another one.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// A peer that is silent for twice as long is gone: a frozen node may lead the queues, and all events wait for it.
/// RabbitMQ advises against less than 5 s.
pub(super) const HEARTBEAT_SECONDS: u16 = 6;

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("names", &self.names)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects to nothing yet. `authorities` are certificates, PEM, that are believed beside the system's.
    pub fn new(
        urls: &[SecretString],
        authorities: Option<&str>,
        names: TopologyNames,
    ) -> Result<Self, BadUrl> {
        startup::install_cryptography();
        let nodes = read_all(urls)?;
        let board = Board::new(&place(&nodes));
        let tls = OwnedTLSConfig { cert_chain: authorities.map(str::to_owned), ..OwnedTLSConfig::default() };
        Ok(Self {
            nodes: Arc::new(Mutex::new(nodes)),
            reached: Arc::default(),
            tls: Arc::new(tls),
            names: Arc::new(names),
            board,
            declared: Declared::default(),
            depths: QueueDepths::default(),
        })
    }

    /// The same broker for what an operator asks for: its links are no part of the process's health.
    #[must_use]
    pub fn for_operators(&self) -> Self {
        let board = Board::without_health(&place(&self.nodes()));
        Self { board, declared: Declared::default(), ..self.clone() }
    }

    /// Every link that is opened from now on uses these URLs; those that are open stay.
    pub fn exchange_urls(&self, urls: &[SecretString]) -> Result<(), BadUrl> {
        *self.nodes.lock() = read_all(urls)?;
        Ok(())
    }

    /// At least one.
    pub(super) fn nodes(&self) -> Vec<AMQPUri> {
        self.nodes.lock().clone()
    }

    /// Who we are there, where the URL itself says so.
    pub fn user(&self) -> Option<String> {
        let node = self.nodes().into_iter().next()?;
        let says_so = matches!(node.query.auth_mechanism, None | Some(SASLMechanism::Plain));
        says_so.then_some(node.authority.userinfo.username)
    }

    /// What was ready in each queue when it was looked at last.
    pub fn depths(&self) -> &QueueDepths {
        &self.depths
    }

    pub(super) fn tls(&self) -> &OwnedTLSConfig {
        &self.tls
    }

    pub fn names(&self) -> &TopologyNames {
        &self.names
    }

    pub(super) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// Whether every link that is in use is up.
    pub fn health(&self) -> BrokerHealth {
        self.board.health()
    }

    /// One link, by the name it was started with: a consumer's is its queue.
    pub fn health_of(&self, link: &str) -> BrokerHealth {
        self.board.health_of(link)
    }

    pub(super) fn link_health(&self, name: &str) -> LinkHealth {
        self.board.link(name)
    }

    /// At the node that was reached last, else at the next one of `amqp.url`.
    pub(super) async fn open(
        &self,
        health: Arc<LinkHealth>,
        name: &str,
    ) -> Result<(Link, Events), BrokerError> {
        let nodes = self.nodes();
        let first = self.reached.load(Ordering::Relaxed);
        let mut faults = Vec::new();
        for turn in 0..nodes.len() {
            let at = first.wrapping_add(turn) % nodes.len();
            match self.open_at(nodes[at].clone(), health.clone(), name).await {
                Ok(opened) => {
                    self.reached.store(at, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(fault) if nodes.len() == 1 => return Err(fault),
                Err(fault) => faults.push(format!("{}: {fault}", host(&nodes[at]))),
            }
        }
        Err(BrokerError::failed("connecting to each", faults.join("; ")))
    }

    async fn open_at(
        &self,
        uri: AMQPUri,
        health: Arc<LinkHealth>,
        name: &str,
    ) -> Result<(Link, Events), BrokerError> {
        let opening = Opening::default();
        let socket = opening.socket();
        let runtime = lapin::runtime::default_runtime().map_err(|e| BrokerError::failed("connecting", e))?;
        let properties =
            ConnectionProperties::default().with_connection_name(format!("jenius-pay {name}").into());
        let tls = self.tls.clone();
        let connecting = lapin::Connection::connector(
            uri,
            runtime,
            async move |uri: AMQPUri, runtime| {
                // lapin would wait for as long as the kernel tries, on a thread of its own.
                let dialled = timeout(CONNECT_LIMIT, async {
                    let place = (uri.authority.host.as_str(), uri.authority.port);
                    let addresses: Vec<_> = tokio::net::lookup_host(place).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        socket.put(TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?))?;
                    }
                    match uri.scheme {
                        AMQPScheme::AMQP => Ok(stream),
                        AMQPScheme::AMQPS => {
                            stream.into_tls(&uri.authority.host, OwnedTLSConfig::as_ref(&tls)).await
                        }
                    }
                });
                Ok(dialled.await.map_err(std::io::Error::from)??)
            },
            properties,
        );
        let connection =
            bounded_by(CONNECT_LIMIT, "connecting", connecting).await.map_err(BrokerError::connecting)?;
        let events = connection.events_listener().boxed();
        if !connection.status().connected() {
            return Err(BrokerError::failed("connecting", "closed again at once"));
        }
        let (worked_since, blocked) = (OnceLock::new(), watch::Sender::new(false));
        let link = Link { connection, _socket: opening, health, worked_since, blocked };
        Ok((link, events))
    }
}

pub(super) type Events = BoxStream<'static, Event>;

/// An open connection. Dropping it cuts it.
pub(super) struct Link {
    connection: lapin::Connection,
    _socket: Opening,
    health: Arc<LinkHealth>,
    worked_since: OnceLock<Instant>,
    blocked: watch::Sender<bool>,
}

impl Link {
    pub async fn channel(&self) -> Result<lapin::Channel, BrokerError> {
        within_limit("opening a channel", self.connection.create_channel()).await
    }

    /// What the link is for works.
    pub fn up(&self) {
        self.worked_since.get_or_init(Instant::now);
        self.health.up();
    }

    /// What the link is for cannot be done yet.
    pub fn waits(&self, cause: &str) {
        self.health.away(cause);
    }

    /// Waits until what this link needs is declared.
    pub async fn wait_for_parts(&self, broker: &Broker, parts: &[Part]) {
        self.waits("waits until its exchanges and queues are declared");
        broker.declared.wait_for(parts).await;
    }

    /// Follows whether the broker refuses what is published.
    pub fn blocked(&self) -> watch::Receiver<bool> {
        self.blocked.subscribe()
    }

    /// Ends when the connection is lost, and says why. The end of a channel alone counts as that too, unless the
    /// session `handles_refusals` itself.
    async fn wait_until_lost(&self, mut events: Events, handles_refusals: bool) -> BrokerError {
        const DOING: &str = "connected";
        loop {
            match events.next().await {
                Some(Event::ConnectionBlocked(cause)) => {
                    tracing::warn!(cause, "the broker blocks publishers");
                    self.health.blocked(&cause);
                    self.blocked.send_replace(true);
                }
                Some(Event::ConnectionUnblocked) => {
                    self.health.unblocked();
                    self.blocked.send_replace(false);
                }
                Some(Event::Error(e)) if handles_refusals && is_refusal(&e) => {}
                Some(Event::Error(e)) => return BrokerError::while_doing(DOING, &e),
                None => return BrokerError::failed(DOING, "closed"),
                Some(_) => {}
            }
        }
    }

    pub async fn close(self) {
        let closing = self.connection.close(200, "OK".into());
        if let Err(e) = bounded_by(CLOSE_LIMIT, "closing", closing).await {
            tracing::debug!(error = %e, "the link to the broker was cut, not closed");
        }
    }
}

/// It closes a channel, and leaves the connection.
fn is_refusal(error: &lapin::Error) -> bool {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(refusal) => {
            [ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED].contains(&refusal.get_id())
        }
        _ => false,
    }
}

/// What is done on a link. It is started anew on every new link.
pub(super) trait LinkSession: Send {
    /// It asks for what the broker may refuse, and goes on with another channel then.
    const HANDLES_REFUSALS: bool = false;

    /// `Ok`: done, the link is not wanted any more. `Err`: a fault, it must be rebuilt.
    fn run(&mut self, link: &Link) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Runs a session, on one link after another, until it is done or `stop` is asked for while there is no
/// link. A session sees `stop` itself.
pub(super) async fn keep_connected<S: LinkSession>(
    broker: &Broker,
    name: &str,
    stop: &CancellationToken,
    session: &mut S,
) {
    let health = Arc::new(broker.link_health(name));
    let mut tries = Tries::default();
    loop {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            opened = broker.open(health.clone(), name) => opened,
        };
        let mut worked_for = None;
        let fault = match opened {
            Ok((link, events)) => {
                let end = tokio::select! {
                    end = session.run(&link) => end,
                    lost = link.wait_until_lost(events, S::HANDLES_REFUSALS) => Err(lost),
                };
                worked_for = link.worked_since.get().map(Instant::elapsed);
                link.close().await;
                end
            }
            Err(e) => Err(e),
        };
        let Err(fault) = fault else { return };
        health.away(&fault.to_string());
        if matches!(fault, BrokerError::NotFound { .. }) {
            broker.declared.forget_all();
        }
        let is_by_message = matches!(fault, BrokerError::Unreadable { .. });
        let wait = tries.after(LinkEnd { worked_for, is_by_message }, chance::draw());
        tracing::warn!(link = name, fault = %fault, wait_ms = wait.as_millis(), "the link to the broker broke; it is made again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shows_the_password() {
        let url = SecretString::from("amqp://user:hunter2@h:1/v");
        let broker = Broker::new(&[url], None, TopologyNames::new("p").unwrap()).unwrap();
        assert!(!format!("{broker:?} {:?}", broker.health()).contains("hunter2"));
    }
}
