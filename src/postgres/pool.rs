//! Connections and their limits. Nothing connects before it is used, and nothing exits because Postgres
//! is away.
//!
//! The pool is our own for three reasons: a connection is judged before its first use (`server`), a refusal of the
//! server is reported at once and in its own words, and with fewer connections than configured the work goes
//! on with those that there are.

use super::{
    connect::connect,
    server::{Judged, Server, Unfit},
};
use crate::{chance, flow::ports::StoreError};
use parking_lot::Mutex;
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

/// How long a statement waits for a free connection, and a new connection for the server.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// A connection that has been idle for longer is tried before it is used: the server may have gone. One that was
/// used a moment ago was tried then.
const UNTRIED_MAX: Duration = Duration::from_secs(1);
/// A server that does not answer that is gone.
const TRY_MAX: Duration = Duration::from_secs(2);
/// A connection that has been idle for longer is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// No connection lives longer, give or take a fifth: where the name leads to another server, all go there in time.
const LIFE_MAX: Duration = Duration::from_secs(300);
/// Before a server that is no primary, or has no room, is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// After a refusal for want of room one connection more is tried again.
const ROOM_AGAIN: Duration = Duration::from_secs(5);

/// The pool; it connects with its first use.
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    on_server(options, max_connections, Arc::default())
}

fn on_server(options: PgConnectOptions, max_connections: u32, server: Arc<Server>) -> PgPool {
    let max = usize::try_from(max_connections).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
    PgPool(Arc::new(PoolShared {
        state: Mutex::new(PoolState { options, idle: Vec::new(), missing: 0, refused_at: None }),
        places: Arc::new(Semaphore::new(max)),
        open: AtomicUsize::new(0),
        server,
    }))
}

/// Cheap to clone: all clones are one pool.
#[derive(Clone)]
pub struct PgPool(Arc<PoolShared>);

struct PoolShared {
    state: Mutex<PoolState>,
    /// One for each connection that may be in use.
    places: Arc<Semaphore>,
    /// Connections of the pool that live, in use or not.
    open: AtomicUsize,
    server: Arc<Server>,
}

struct PoolState {
    options: PgConnectOptions,
    /// The one that was used last is at the end, and used next.
    idle: Vec<Idle>,
    /// Places that were taken away, since the server has no room for their connections.
    missing: usize,
    refused_at: Option<Instant>,
}

struct Idle {
    live: Live,
    since: Instant,
}

/// A connection with its part in the pool. Its session is ours no more before the server can give it to the next.
struct Live {
    judged: Judged,
    connection: PgConnection,
    dies_at: Instant,
    counted: OpenCount,
}

struct OpenCount(Arc<PoolShared>);

impl OpenCount {
    fn new(pool: &Arc<PoolShared>) -> Self {
        pool.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(pool))
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection in use. Dropped, it is closed: who drops it may have left it in the middle of an answer.
pub struct Pooled {
    live: Live,
    _place: OwnedSemaphorePermit,
}

/// A connection that is no part of the pool, for as long as a session is needed.
pub(super) struct Beside {
    pub judged: Judged,
    pub connection: PgConnection,
}

impl PgPool {
    /// A pool with places of its own, to the same server: when one of the two finds another primary, both leave the old one.
    #[must_use]
    pub fn separate_pool(&self, options: PgConnectOptions, max_connections: u32) -> Self {
        on_server(options, max_connections, Arc::clone(&self.0.server))
    }

    /// A free connection, or a new one, within bounded time.
    ///
    /// # Errors
    /// What the server says, or that nothing became free.
    pub async fn acquire(&self) -> Result<Pooled, StoreError> {
        let until = Instant::now() + ACQUIRE_MAX;
        loop {
            let place = self.place(until).await?;
            if let Some(live) = self.idle().await {
                return Ok(Pooled { live, _place: place });
            }
            let counted = OpenCount::new(&self.0);
            match self.connect(&[], until).await {
                Ok(Beside { connection, judged }) => {
                    let dies_at = Instant::now() + LIFE_MAX.mul_f64(0.8 + 0.4 * chance::draw());
                    let live = Live { connection, judged, dies_at, counted };
                    return Ok(Pooled { live, _place: place });
                }
                Err(Unfit::Full(error)) => {
                    drop(counted);
                    if self.0.open.load(Ordering::Acquire) > 0 {
                        // The others go on with what there is.
                        self.take_away(place);
                    } else if Instant::now() < until {
                        sleep(PAUSE).await;
                    } else {
                        return Err(error);
                    }
                }
                Err(unfit) => return Err(unfit.into()),
            }
        }
    }

    /// A connection that is not shared. If the server has no room, the pool gives up one of its own for it.
    pub(super) async fn beside(&self, settings: &[(&str, &str)]) -> Result<Beside, StoreError> {
        let until = Instant::now() + ACQUIRE_MAX;
        loop {
            match self.connect(settings, until).await {
                Err(Unfit::Full(_)) if Instant::now() < until && self.make_room(until).await => {
                    sleep(PAUSE).await
                }
                answer => return Ok(answer?),
            }
        }
    }

    /// Whether a new connection reaches the primary. A server without room for one has answered too.
    ///
    /// # Errors
    /// What the server says, or what is in the way.
    pub async fn try_anew(&self) -> Result<(), StoreError> {
        match self.connect(&[], Instant::now() + ACQUIRE_MAX).await {
            Ok(beside) => {
                beside.end();
                Ok(())
            }
            Err(Unfit::Full(_)) if self.0.open.load(Ordering::Acquire) > 0 => Ok(()),
            Err(unfit) => Err(unfit.into()),
        }
    }

    /// All connections are made anew: their answers may come from a server that is not the primary any more.
    pub fn renew(&self) {
        self.0.server.renew();
    }

    /// What new connections use from now on.
    pub fn set_connect_options(&self, options: PgConnectOptions) {
        self.0.state.lock().options = options;
    }

    /// Closes what is idle.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut self.0.state.lock().idle);
        for Idle { live, .. } in idle {
            let _ = live.connection.close().await;
        }
    }

    /// For what insists on a pool of sqlx: one connection of it.
    pub(super) fn sqlx_pool(&self) -> sqlx::PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_MAX)
            .connect_lazy_with(self.0.state.lock().options.clone())
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0.server
    }

    async fn place(&self, until: Instant) -> Result<OwnedSemaphorePermit, StoreError> {
        self.give_again();
        let places = Arc::clone(&self.0.places);
        match tokio::time::timeout_at(until, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let open = self.0.open.load(Ordering::Acquire);
                let seconds = ACQUIRE_MAX.as_secs();
                Err(StoreError::Away(format!("none of {open} connections became free within {seconds} s")))
            }
        }
    }

    /// One that can be used; what cannot be used any more is closed.
    async fn idle(&self) -> Option<Live> {
        loop {
            let Idle { mut live, since } = self.0.state.lock().idle.pop()?;
            let idle_for = since.elapsed();
            if live.is_over(since) {
                live.close();
            } else if idle_for <= UNTRIED_MAX
                || matches!(timeout(TRY_MAX, live.connection.ping()).await, Ok(Ok(())))
            {
                return Some(live);
            } else {
                live.judged.leave_server();
            }
        }
    }

    /// Tries until it reaches a primary, within bounded time.
    async fn connect(&self, settings: &[(&str, &str)], until: Instant) -> Result<Beside, Unfit> {
        loop {
            let options = self.0.state.lock().options.clone().options(settings.iter().copied());
            match connect(&options, &self.0.server, until).await {
                Err(Unfit::NotPrimary(_)) if Instant::now() + PAUSE < until => sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    fn take_away(&self, place: OwnedSemaphorePermit) {
        let mut state = self.0.state.lock();
        place.forget();
        state.missing += 1;
        state.refused_at = Some(Instant::now());
    }

    /// The server may have room again.
    fn give_again(&self) {
        let mut state = self.0.state.lock();
        if state.missing > 0 && state.refused_at.is_none_or(|at| at.elapsed() >= ROOM_AGAIN) {
            self.0.places.add_permits(std::mem::take(&mut state.missing));
        }
    }

    /// Closes an idle connection, unless it is the last, and does without it for a while.
    async fn make_room(&self, until: Instant) -> bool {
        if self.0.open.load(Ordering::Acquire) < 2 {
            return false;
        }
        // In turn, so that there is one under any load.
        let Ok(place) = self.place(until).await else { return false };
        let idle = self.0.state.lock().idle.pop();
        if let Some(Idle { live, .. }) = idle {
            live.close();
            self.take_away(place);
            return true;
        }
        false
    }
}

impl Pooled {
    /// For the next who needs one. The last answer was read to its end.
    pub fn release(self) {
        let Self { live, _place: place } = self;
        if live.judged.is_current() {
            let pool = Arc::clone(&live.counted.0);
            let mut state = pool.state.lock();
            state.idle.push(Idle { live, since: Instant::now() });
            // The one that was used least lately would stay for ever.
            let first = state.idle.first().is_some_and(Idle::is_over).then(|| state.idle.remove(0));
            drop(state);
            if let Some(first) = first {
                first.live.close();
            }
        } else {
            live.close();
        }
        drop(place);
    }

    /// Whether it still leads to the primary.
    pub(super) fn is_current(&self) -> bool {
        self.live.judged.is_current()
    }

    /// The server ended it, reads only, or does not answer: no connection of its time is used again.
    pub(super) fn leave_server(self) {
        self.live.judged.leave_server();
    }
}

impl Deref for Pooled {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.live.connection
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.live.connection
    }
}

impl Idle {
    fn is_over(&self) -> bool {
        self.live.is_over(self.since)
    }
}

impl Live {
    /// It must not be used any more.
    fn is_over(&self, idle_since: Instant) -> bool {
        !self.judged.is_current() || self.dies_at <= Instant::now() || idle_since.elapsed() > IDLE_MAX
    }

    /// In order, as far as the server takes part.
    fn close(self) {
        close(self.connection, self.judged, Some(self.counted));
    }
}

impl Beside {
    /// In the background, in order.
    pub fn end(self) {
        close(self.connection, self.judged, None);
    }

    /// Now, so that the server has room for the next.
    pub async fn close(self) {
        drop(self.judged);
        let _ = timeout(TRY_MAX, self.connection.close()).await;
    }
}

fn close(connection: PgConnection, judged: Judged, counted: Option<OpenCount>) {
    drop(judged);
    tokio::spawn(async move {
        let _ = timeout(TRY_MAX, connection.close()).await;
        drop(counted);
    });
}
