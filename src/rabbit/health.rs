//! Whether the broker can be worked with now: what `/readyz` says of each link, and the two connection
//! metrics. Never says a password: links are named by what they do, the broker by host and virtual host.

use crate::metric::{self, Dependency::Broker};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Characters of a cause that are shown: a broker's reply can be long. The names of all that may be missing fit.
const CAUSE_CHARS_MAX: usize = 600;

/// The health of the broker, or of one link to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerHealth {
    pub ok: bool,
    /// For a person: what is wrong, or where it is connected to.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LinkState {
    /// Not usable yet, or not any more, and why.
    Away(String),
    Up,
    /// The broker takes nothing from us: a memory or disk alarm.
    Blocked(String),
}

impl LinkState {
    fn at(&self, place: &str) -> BrokerHealth {
        match self.fault() {
            None => BrokerHealth { ok: true, detail: format!("connected to {place}") },
            Some(fault) => BrokerHealth { ok: false, detail: format!("{place}: {fault}") },
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Self::Up => None,
            Self::Away(cause) => Some(plain(cause)),
            Self::Blocked(cause) => Some(format!("the broker blocks publishers: {cause}")),
        }
    }
}

/// What a library says of a failed connection, without its own words around it.
fn plain(cause: &str) -> String {
    const REFUSED: &str = "Connection refused";
    // With several brokers the cause names each, and what is wrong with it.
    let is_one = cause.starts_with("connecting: ");
    if is_one && cause.contains(REFUSED) { "connection refused".to_owned() } else { cause.to_owned() }
}

/// Every link's state, shared by all of them.
#[derive(Debug, Clone)]
pub(super) struct Board {
    place: Arc<str>,
    links: Arc<Mutex<BTreeMap<String, LinkState>>>,
    /// A link that was up went away, and not all of them are up again.
    is_broken: Arc<AtomicBool>,
    /// Whether the metrics of the process are about these links.
    is_counted: bool,
}

impl Board {
    pub fn new(place: &str) -> Self {
        metric::connection_up(Broker, false);
        Self { is_counted: true, ..Self::without_health(place) }
    }

    /// For links that no role needs: metrics and `/readyz` know nothing of them.
    pub fn without_health(place: &str) -> Self {
        Self { place: place.into(), links: Arc::default(), is_broken: Arc::default(), is_counted: false }
    }

    fn count(&self, all_up: bool) {
        if self.is_counted {
            metric::connection_up(Broker, all_up);
        }
    }

    /// Puts a link on the board, away until it says otherwise; its entry goes with it.
    pub fn link(&self, name: &str) -> LinkHealth {
        let link = LinkHealth { name: name.to_owned(), board: self.clone() };
        link.set(LinkState::Away("connecting".to_owned()));
        link
    }

    /// Every link must be up, and there must be one.
    pub fn health(&self) -> BrokerHealth {
        let links = self.links.lock();
        if links.is_empty() {
            return LinkState::Away("not connected".to_owned()).at(&self.place);
        }
        // As a rule one thing is wrong for all of them: it is shown once.
        let mut faults: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, state) in links.iter() {
            if let Some(fault) = state.fault() {
                faults.entry(fault).or_default().push(name);
            }
        }
        if faults.is_empty() {
            return LinkState::Up.at(&self.place);
        }
        let total = links.len();
        let words = |(fault, names): (&String, &Vec<&str>)| {
            let which = if names.len() == total { String::new() } else { format!(" ({})", names.join(", ")) };
            format!("{fault}, {} of {total} links{which}", names.len())
        };
        let faults: Vec<String> = faults.iter().map(words).collect();
        BrokerHealth { ok: false, detail: format!("{}: {}", self.place, faults.join("; ")) }
    }

    pub fn health_of(&self, name: &str) -> BrokerHealth {
        let away = LinkState::Away("not connected".to_owned());
        self.links.lock().get(name).unwrap_or(&away).at(&self.place)
    }
}

/// One link's entry on the board.
#[derive(Debug)]
pub(super) struct LinkHealth {
    name: String,
    board: Board,
}

impl LinkHealth {
    /// It works: declared, consuming or in confirm mode.
    pub fn up(&self) {
        self.set(LinkState::Up);
    }

    pub fn away(&self, cause: &str) {
        self.set(LinkState::Away(cause.chars().take(CAUSE_CHARS_MAX).collect()));
    }

    pub fn blocked(&self, cause: &str) {
        self.set(LinkState::Blocked(cause.chars().take(CAUSE_CHARS_MAX).collect()));
    }

    /// Not a reconnect: the link was there all the time.
    pub fn unblocked(&self) {
        self.set(LinkState::Up);
    }

    /// However many links a broker takes with it, all of them are one connection made anew.
    fn set(&self, state: LinkState) {
        let mut links = self.board.links.lock();
        let is_away = matches!(state, LinkState::Away(_));
        let before = links.insert(self.name.clone(), state);
        if is_away && matches!(before, Some(LinkState::Up | LinkState::Blocked(_))) {
            self.board.is_broken.store(true, Ordering::Relaxed);
        }
        let all_up = links.values().all(|s| *s == LinkState::Up);
        self.board.count(all_up);
        if all_up && self.board.is_broken.swap(false, Ordering::Relaxed) && self.board.is_counted {
            metric::reconnected(Broker);
        }
    }
}

impl Drop for LinkHealth {
    fn drop(&mut self) {
        let mut links = self.board.links.lock();
        links.remove(&self.name);
        let all_up = !links.is_empty() && links.values().all(|s| *s == LinkState::Up);
        self.board.count(all_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_ready_when_every_link_is_up() {
        let board = Board::new("host/vhost");
        assert!(!board.health().ok);
        let (one, two) = (board.link("one"), board.link("two"));
        one.up();
        assert!(!board.health().ok);
        two.up();
        assert_eq!(board.health(), BrokerHealth { ok: true, detail: "connected to host/vhost".to_owned() });
        two.blocked("low on memory");
        assert!(
            board
                .health()
                .detail
                .contains("host/vhost: the broker blocks publishers: low on memory, 1 of 2 links (two)")
        );
        assert!(board.health_of("one").ok && !board.health_of("two").ok);
        one.away("refused");
        two.away("refused");
        assert_eq!(board.health().detail, "host/vhost: refused, 2 of 2 links");
        two.away("connecting to each: a: connecting: IO error: Connection refused; b: connecting: timed out");
        assert!(board.health().detail.contains("a: connecting: IO error: Connection refused; b: connecting"));
        two.away("connecting: IO error: Connection refused (os error 111)");
        assert_eq!(
            board.health().detail,
            "host/vhost: connection refused, 1 of 2 links (two); refused, 1 of 2 links (one)"
        );
        one.up();
        drop(two);
        assert!(board.health().ok);
    }

    #[test]
    fn a_broker_that_comes_back_counts_once_however_many_links_it_took() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let is_counted = |times: u32| {
            let line = format!("jenius_reconnects_total{{dependency=\"broker\"}} {times}");
            let metrics = recorder.handle().render();
            if times == 0 { !metrics.contains("reconnects") } else { metrics.lines().any(|it| it == line) }
        };
        metrics::with_local_recorder(&recorder, || {
            let board = Board::new("host/vhost");
            let mut links =
                ["one", "two", "three"].map(|name| board.link(name)).into_iter().collect::<Vec<_>>();
            links.iter().for_each(LinkHealth::up);
            assert!(is_counted(0), "connected for the first time");
            links.iter().for_each(|link| link.away("reset"));
            links.iter().for_each(|link| link.away("refused"));
            links.iter().for_each(LinkHealth::up);
            assert!(is_counted(1));
            links[0].blocked("low on memory");
            links[0].unblocked();
            links.push(board.link("late"));
            links[3].up();
            assert!(is_counted(1), "none of it was a loss");
        });
    }
}
