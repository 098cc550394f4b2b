//! What the peers of one listener hold of this process, together: connections, and bytes of requests that are not whole
//! and verified yet. At a bound the connection that is idle for the longest time gives way, then the oldest unfinished
//! request; never the newest, or strangers who come first would keep out who comes later.

use super::ServerLimits;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// All places of one listener.
pub struct ConnectionPlaces {
    limits: ServerLimits,
    table: Mutex<ConnectionTable>,
    /// A connection has left, or is idle: another can come in.
    freed: Notify,
}

#[derive(Default)]
struct ConnectionTable {
    connections: HashMap<u64, Connection>,
    /// By the moment they became so, the oldest first; the second number is the connection.
    idle: BTreeSet<(u64, u64)>,
    unfinished: BTreeSet<(u64, u64)>,
    /// Of all unfinished requests.
    bytes: usize,
    /// Numbers connections and moments.
    next: u64,
}

struct Connection {
    phase: RequestPhase,
    /// When it came into its phase, as a number that grows.
    since: u64,
    /// Of its unfinished request.
    bytes: usize,
    /// When its request began.
    began: Instant,
    /// Then it is closed.
    deadline: Instant,
    end: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestPhase {
    /// Nothing of a request has come.
    Idle,
    /// A part has come, and it is not whole, or not verified yet.
    Unfinished,
    /// It is being answered, and gives way to no other.
    Answered,
}

/// One connection's place. It is free when the last handle is dropped.
pub struct ConnectionPlace {
    places: Arc<ConnectionPlaces>,
    number: u64,
    end: CancellationToken,
    deadline_changed: Notify,
    /// There is more of the answer to come.
    streams: AtomicBool,
}

impl ConnectionPlaces {
    pub fn new(limits: ServerLimits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a new connection. Waits only where every place is taken by a request that is being answered.
    pub async fn enter(self: &Arc<Self>) -> Arc<ConnectionPlace> {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            freed.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Arc<ConnectionPlace>> {
        let mut table = self.table.lock();
        while table.connections.len() >= self.limits.connections {
            if !table.close_one() {
                return None;
            }
        }
        let (number, now, end) = (table.number(), Instant::now(), CancellationToken::new());
        let connection = Connection {
            phase: RequestPhase::Idle,
            since: number,
            bytes: 0,
            began: now,
            deadline: now + self.limits.request,
            end: end.clone(),
        };
        table.connections.insert(number, connection);
        table.idle.insert((number, number));
        Some(Arc::new(ConnectionPlace {
            places: Arc::clone(self),
            number,
            end,
            deadline_changed: Notify::new(),
            streams: AtomicBool::new(false),
        }))
    }

    /// Closes one connection, because the process has no descriptor left for a new one.
    pub fn make_room(&self) {
        self.table.lock().close_one();
    }
}

impl ConnectionTable {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn phase(&mut self, number: u64, phase: RequestPhase) {
        let since = self.number();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let before = (connection.since, number);
        match connection.phase {
            RequestPhase::Idle => self.idle.remove(&before),
            RequestPhase::Unfinished => self.unfinished.remove(&before),
            RequestPhase::Answered => false,
        };
        if phase != RequestPhase::Unfinished {
            self.bytes -= std::mem::take(&mut connection.bytes);
        }
        (connection.phase, connection.since) = (phase, since);
        match phase {
            RequestPhase::Idle => self.idle.insert((since, number)),
            RequestPhase::Unfinished => self.unfinished.insert((since, number)),
            RequestPhase::Answered => false,
        };
    }

    /// Says whether there was one that gives way.
    fn close_one(&mut self) -> bool {
        let oldest = self.idle.first().or(self.unfinished.first()).map(|(_, number)| *number);
        oldest.is_some_and(|number| self.close(number))
    }

    fn close(&mut self, number: u64) -> bool {
        // Takes it out of the order of its phase, and its bytes out of the sum.
        self.phase(number, RequestPhase::Answered);
        let closed = self.connections.remove(&number);
        closed.is_some_and(|connection| {
            connection.end.cancel();
            true
        })
    }
}

impl ConnectionPlace {
    /// Bytes of a request came.
    pub fn received(&self, bytes: usize) {
        let limits = self.places.limits;
        let mut table = self.places.table.lock();
        let Some(connection) = table.connections.get_mut(&self.number) else { return };
        match connection.phase {
            RequestPhase::Answered => return,
            RequestPhase::Unfinished => {}
            RequestPhase::Idle => {
                let now = Instant::now();
                (connection.began, connection.deadline) = (now, now + limits.request);
                table.phase(self.number, RequestPhase::Unfinished);
                self.deadline_changed.notify_one();
            }
        }
        if let Some(connection) = table.connections.get_mut(&self.number) {
            connection.bytes += bytes;
        }
        table.bytes += bytes;
        while table.bytes > limits.unverified_bytes {
            let Some((_, oldest)) = table.unfinished.first().copied() else { return };
            table.close(oldest);
        }
    }

    /// The head is there, and a handler reads the body: until when. A client that is too slow gets an answer that says so.
    pub fn body_until(&self) -> Instant {
        let limits = self.places.limits;
        let mut table = self.places.table.lock();
        let Some(connection) = table.connections.get_mut(&self.number) else { return Instant::now() };
        let until = connection.began + limits.request;
        connection.deadline = until + limits.answer;
        self.deadline_changed.notify_one();
        until
    }

    /// The request is whole, and not a stranger's: it gives way to no other until it is answered.
    pub fn finished(&self) {
        let answer = self.places.limits.answer;
        let mut table = self.places.table.lock();
        table.phase(self.number, RequestPhase::Answered);
        if let Some(connection) = table.connections.get_mut(&self.number) {
            // The handler has a limit of its own; the same again is for writing the answer.
            connection.deadline = Instant::now() + answer + answer;
            self.deadline_changed.notify_one();
        }
    }

    /// A part of an answer is written whose end is not known yet: it has the time of an answer again.
    pub fn goes_on(&self) {
        let answer = self.places.limits.answer;
        let mut table = self.places.table.lock();
        let connection = table.connections.get_mut(&self.number);
        if let Some(connection) = connection.filter(|connection| connection.phase == RequestPhase::Answered) {
            connection.deadline = Instant::now() + answer + answer;
            self.deadline_changed.notify_one();
        }
    }

    /// Its answer's body comes, or has come whole.
    pub fn streams(&self, streams: bool) {
        self.streams.store(streams, Ordering::Relaxed);
    }

    pub fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed)
    }

    /// The answer is written. That of an unfinished request leaves it as it is: its connection closes.
    pub fn answered(&self) {
        let mut table = self.places.table.lock();
        match table.connections.get_mut(&self.number) {
            Some(connection) if connection.phase == RequestPhase::Answered => {
                connection.deadline = Instant::now() + self.places.limits.idle;
                self.deadline_changed.notify_one();
            }
            Some(_) | None => return,
        }
        table.phase(self.number, RequestPhase::Idle);
        drop(table);
        self.places.freed.notify_one();
    }

    /// Ends when the connection must be closed: its time is over, or it gives way.
    pub async fn given_up(&self) {
        loop {
            let deadline = self.places.table.lock().connections.get(&self.number).map(|c| c.deadline);
            let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else { return };
            tokio::select! {
                () = self.end.cancelled() => return,
                () = self.deadline_changed.notified() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.table.lock().close(self.number);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
