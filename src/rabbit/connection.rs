//! Links to the broker: opened, watched, rebuilt and closed, every wait bounded. A link is one AMQP
//! connection with one purpose; consumers and publishers never share one, since a broker that is short
//! of memory or disk stops everything that a publishing connection sends, acks and closes included.
//!
//! lapin's own recovery is never switched on: it hangs, or goes on with deliveries that were given away.

use super::{
    health::{Board, Health, LinkHealth},
    topology::Names,
    url::{BadUrl, read},
};
use crate::domain::retry::RetryPolicy;
use futures_util::{StreamExt, stream::BoxStream};
use lapin::{
    ConnectionProperties, Event,
    tcp::{AsyncTcpStream, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    future::Future,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// No answer from the broker takes longer. Declaring a quorum queue in a busy cluster takes seconds.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// From the first packet to an open AMQP connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// A peer that says nothing for twice as long is gone.
pub(super) const HEARTBEAT_SECONDS: u16 = 10;
/// A link that worked for so long starts the schedule of reconnects anew. A broker that was killed may
/// let clients in and throw them out again and again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Between two tries to connect; there is no limit on tries.
const RECONNECT: RetryPolicy = RetryPolicy {
    initial: Duration::from_millis(250),
    multiplier: 2.0,
    jitter: 0.5,
    max_interval: Duration::from_secs(15),
};

/// Why the broker did not do what was asked. Always worth another try, on a new link.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    Silent { doing: &'static str, limit: Duration },
    #[error("{doing}: {cause}")]
    Failed { doing: &'static str, cause: String },
    /// Properties that are no AMQP: lapin ends the connection, and the same message comes again, until the
    /// broker's delivery limit.
    #[error("{doing}: a message whose properties cannot be read")]
    Unreadable { doing: &'static str },
}

impl BrokerError {
    pub(super) fn failed(doing: &'static str, cause: impl fmt::Display) -> Self {
        Self::Failed { doing, cause: cause.to_string() }
    }

    pub(super) fn of(doing: &'static str, error: &lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ParsingError(_) => Self::Unreadable { doing },
            _ => Self::failed(doing, error),
        }
    }
}

/// Waits for one answer of the broker, no longer than [`ANSWER_LIMIT`].
pub(super) async fn bounded<T>(
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    bounded_by(ANSWER_LIMIT, doing, answer).await
}

pub(super) async fn bounded_by<T>(
    limit: Duration,
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|e| BrokerError::of(doing, &e)),
        Err(_) => Err(BrokerError::Silent { doing, limit }),
    }
}

/// The broker: where it is, what everything on it is called, and how the links to it are.
#[derive(Clone)]
pub struct Broker {
    uri: Arc<Mutex<AMQPUri>>,
    names: Arc<Names>,
    board: Board,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("names", &self.names)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects to nothing yet.
    pub fn new(url: &SecretString, names: Names) -> Result<Self, BadUrl> {
        // lapin takes the process's provider; the first one installed stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let uri = read(url.expose_secret())?;
        let place = format!("{}:{}, virtual host {}", uri.authority.host, uri.authority.port, uri.vhost);
        Ok(Self { uri: Arc::new(Mutex::new(uri)), names: Arc::new(names), board: Board::new(&place) })
    }

    /// Every link that is opened from now on uses this URL; those that are open stay.
    pub fn exchange_url(&self, url: &SecretString) -> Result<(), BadUrl> {
        *self.uri.lock().unwrap_or_else(PoisonError::into_inner) = read(url.expose_secret())?;
        Ok(())
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether every link that somebody wants is up.
    pub fn health(&self) -> Health {
        self.board.health()
    }

    /// One link, by the name it was started with: a consumer's is its queue.
    pub fn health_of(&self, link: &str) -> Health {
        self.board.health_of(link)
    }

    pub(super) fn link_health(&self, name: &str) -> LinkHealth {
        self.board.link(name)
    }

    pub(super) async fn open(
        &self,
        health: Arc<LinkHealth>,
        name: &str,
    ) -> Result<(Link, Events), BrokerError> {
        let opening = Opening::default();
        let socket = opening.socket.clone();
        let runtime = lapin::runtime::default_runtime().map_err(|e| BrokerError::failed("connecting", e))?;
        let uri = self.uri();
        let properties =
            ConnectionProperties::default().with_connection_name(format!("jenius-pay {name}").into());
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
                            let tls = OwnedTLSConfig::default();
                            stream.into_tls(&uri.authority.host, tls.as_ref()).await
                        }
                    }
                });
                Ok(dialled.await.map_err(std::io::Error::from)??)
            },
            properties,
        );
        let connection = bounded_by(CONNECT_LIMIT, "connecting", connecting).await?;
        let events = connection.events_listener().boxed();
        if !connection.status().connected() {
            return Err(BrokerError::failed("connecting", "closed again at once"));
        }
        let link = Link { connection, _socket: opening, health, blocked: watch::Sender::new(false) };
        Ok((link, events))
    }
}

pub(super) type Events = BoxStream<'static, Event>;

/// A second handle of the socket, to end a connection that will not end by itself: one that hangs in
/// its handshake or is blocked by the broker would otherwise keep its thread and buffers for ever.
#[derive(Default)]
struct Opening {
    socket: Arc<Socket>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = self.socket.lock();
        if let SocketState::Open(stream) = &*state {
            // An error says that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        *state = SocketState::GivenUp;
    }
}

#[derive(Default)]
struct Socket(Mutex<SocketState>);

#[derive(Default)]
enum SocketState {
    #[default]
    Unopened,
    Open(TcpStream),
    /// Nobody waits for it any more.
    GivenUp,
}

impl Socket {
    fn put(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut state = self.lock();
        match *state {
            SocketState::GivenUp => Err(std::io::ErrorKind::TimedOut.into()),
            SocketState::Unopened | SocketState::Open(_) => {
                *state = SocketState::Open(stream);
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SocketState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection. Dropping it cuts it.
pub(super) struct Link {
    connection: lapin::Connection,
    _socket: Opening,
    health: Arc<LinkHealth>,
    blocked: watch::Sender<bool>,
}

impl Link {
    pub async fn channel(&self) -> Result<lapin::Channel, BrokerError> {
        bounded("opening a channel", self.connection.create_channel()).await
    }

    /// What the link is for works.
    pub fn up(&self) {
        self.health.up();
    }

    /// Follows whether the broker refuses what is published.
    pub fn blocked(&self) -> watch::Receiver<bool> {
        self.blocked.subscribe()
    }

    /// Ends when the connection is lost, and says why.
    async fn lost(&self, mut events: Events) -> BrokerError {
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
                Some(Event::Error(e)) => return BrokerError::of(DOING, &e),
                None => return BrokerError::failed(DOING, "closed"),
                Some(_) => {}
            }
        }
    }

    pub async fn close(self) {
        let closing = self.connection.close(200, "OK".into());
        if let Err(e) = bounded_by(CLOSE_LIMIT, "closing", closing).await {
            tracing::debug!(error = %e, "cut instead of closed");
        }
    }
}

/// What is done on a link. It is started anew on every new link.
pub(super) trait Session: Send {
    /// `Ok`: done, the link is not wanted any more. `Err`: a fault, it must be rebuilt.
    fn run(&mut self, link: &Link) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Runs a session, on one link after another, until it is done or `stop` is asked for while there is no
/// link. A session sees `stop` itself.
pub(super) async fn keep_connected(
    broker: &Broker,
    name: &str,
    stop: &CancellationToken,
    session: &mut impl Session,
) {
    let health = Arc::new(broker.link_health(name));
    let mut faults = 0_u32;
    loop {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            opened = broker.open(health.clone(), name) => opened,
        };
        let started = Instant::now();
        let fault = match opened {
            Ok((link, events)) => {
                let end = tokio::select! {
                    end = session.run(&link) => end,
                    lost = link.lost(events) => Err(lost),
                };
                link.close().await;
                end
            }
            Err(e) => Err(e),
        };
        let Err(fault) = fault else { return };
        health.away(&fault.to_string());
        // The broker is well, and its delivery limit bounds how often one message does this.
        if started.elapsed() >= HEALTHY_AFTER || matches!(fault, BrokerError::Unreadable { .. }) {
            faults = 0;
        }
        faults = faults.saturating_add(1);
        let wait = RECONNECT.wait(faults, fastrand::f64(), None);
        tracing::warn!(link = name, fault = %fault, wait_ms = wait.as_millis(), "the broker is away");
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
        let broker = Broker::new(&url, Names::new("p").unwrap()).unwrap();
        assert!(!format!("{broker:?} {:?}", broker.health()).contains("hunter2"));
    }
}
