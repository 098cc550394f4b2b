//! The other half of the operations that are set beforehand: dead letters, events, the service itself.

use super::fake::{FakeOperations, HOSTILE, HOSTILE_PATH, World};
use crate::domain::console::{Identified, Person};
use crate::flow::{
    ports::{
        AboutView, Act, CheckView, DoctorView, EventFilter, EventOperations, EventPage, EventRange,
        EventView, IdentityOperations, LastHour, LetterForecast, LetterOperations, LetterPage, LetterWork,
        LettersView, LiveEvents, LiveRefusal, LoginFault, OidcLogin, OidcReturn, ProcessView, SchemaView,
        ServiceOperations, StoreError, WorkEnd, WorkLine, WorkStart, WorkView,
    },
    view::{letters::LetterView, sample},
};
use uuid::Uuid;

fn hostile() -> String {
    HOSTILE.to_owned()
}

fn letter(id: &str) -> LetterView {
    LetterView {
        id: id.to_owned(),
        queue: "dead",
        reason: "malformed".to_owned(),
        detail: Some(hostile()),
        at: Some(sample::at(0)),
        event_type: Some(hostile()),
        source: Some(hostile()),
        command_id: Some(hostile()),
        bytes: 700,
        replays: 1,
    }
}

fn forecast() -> LetterForecast {
    LetterForecast { sentence: hostile(), stays: None }
}

impl LetterOperations for FakeOperations {
    async fn look_at_letters(&self, by: &str) -> Result<(), String> {
        self.does(format!("look by {by}"));
        if self.world() == World::Away { Err(hostile()) } else { Ok(()) }
    }

    async fn letters(&self) -> Option<LettersView> {
        let letters = match self.world() {
            World::Empty => Vec::new(),
            // As many as a look takes, so that the page is as heavy as it gets.
            World::Hostile | World::Away => (0..1000).map(|n| letter(&format!("letter-{n:04}"))).collect(),
        };
        Some(LettersView { at: sample::at(0), by: hostile(), letters, notes: vec![hostile()] })
            .filter(|_| self.world() != World::Empty || !self.done.lock().unwrap().is_empty())
    }

    async fn letter(&self, id: &str) -> Result<Option<LetterPage>, StoreError> {
        let page = LetterPage {
            letter: letter(id),
            deaths: vec![hostile()],
            belongs_to: Some("payment.request"),
            headers: vec![(hostile(), Some(hostile())), ("theirs".to_owned(), None)],
            body: hostile(),
            forecast: forecast(),
        };
        Ok((self.reached()? != World::Empty).then_some(page))
    }

    async fn foresee_letters(
        &self,
        _work: LetterWork,
        ids: &[String],
    ) -> Result<Vec<(LetterView, LetterForecast)>, StoreError> {
        let is_known = self.reached()? != World::Empty;
        Ok(ids.iter().filter(|_| is_known).map(|id| (letter(id), forecast())).collect())
    }

    async fn work_on_letters(&self, work: LetterWork, ids: Vec<String>, act: Act) -> WorkStart {
        self.does(format!("{work:?} {} by {}: {}", ids.join(" "), act.by, act.reason));
        if ids.iter().any(|id| id == "busy") { WorkStart::Refused(hostile()) } else { WorkStart::Begun }
    }

    async fn work(&self, action_id: Uuid) -> Option<WorkView> {
        let line = || WorkLine { subject: hostile(), end: "replayed", detail: hostile() };
        let work = WorkView {
            title: hostile(),
            by: hostile(),
            done: 1,
            total: 300,
            lines: (0..300).map(|_| line()).collect(),
            end: None,
        };
        match action_id.as_u128() {
            0 => None,
            1 => Some(WorkView { end: Some(WorkEnd::Stopped(hostile())), ..work }),
            _ => Some(work),
        }
    }
}

impl EventOperations for FakeOperations {
    async fn events(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        let event = EventView {
            event_id: Uuid::from_u128(7),
            event_type: "order.paid".to_owned(),
            merchant: Some("default".to_owned()),
            invoice_number: Some(hostile()),
            version: Some(2),
            at: sample::at(0),
            published_at: None,
        };
        let rejection =
            EventView { version: None, invoice_number: Some(HOSTILE_PATH.to_owned()), ..event.clone() };
        let count = usize::try_from(filter.limit).unwrap();
        let events = if self.reached()? == World::Empty { Vec::new() } else { vec![event; count - 1] };
        let events = events.into_iter().chain((self.world() != World::Empty).then_some(rejection)).collect();
        Ok(EventPage { events, stopped: None })
    }

    async fn count_events(&self, _range: EventRange) -> Result<(u64, bool), StoreError> {
        Ok((if self.reached()? == World::Empty { 0 } else { 3 }, false))
    }

    async fn publish_range(&self, range: EventRange, act: Act) -> WorkStart {
        let types = range.event_type.map(|event| event.routing_key());
        self.does(format!("publish {types:?} from {} by {}: {}", range.since, act.by, act.reason));
        WorkStart::Begun
    }

    async fn live(&self, _viewer: &str) -> Result<LiveEvents, LiveRefusal> {
        match self.world() {
            World::Empty => Err(LiveRefusal::Full),
            World::Away => Err(LiveRefusal::Away(hostile())),
            World::Hostile => {
                let (sender, lines) = tokio::sync::broadcast::channel(4);
                let _ = sender.send(format!("{{\"invoice\":\"{HOSTILE}\"}}").into());
                let places = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
                let places = [(); 2].map(|()| places.clone().try_acquire_owned().unwrap());
                // The sender is gone: the stream ends after its line.
                Ok(LiveEvents { lines, stop: Default::default(), places })
            }
        }
    }
}

impl IdentityOperations for FakeOperations {
    async fn login_address(&self, login: &OidcLogin) -> Result<String, LoginFault> {
        self.does("login".to_owned());
        Ok(format!("https://login.test/authorize?state={}&nonce={}", login.state, login.nonce))
    }

    async fn log_in(&self, back: OidcReturn) -> Result<(), LoginFault> {
        if back.code == "bad" {
            return Err(LoginFault::Provider(hostile()));
        }
        let person = Person {
            name: "sari".to_owned(),
            identified: Identified::Oidc,
            subject: Some("7".to_owned()),
            roles: Default::default(),
        };
        self.sessions.lock().unwrap().insert(back.session, person);
        let groups = (vec![back.code], std::time::Duration::ZERO);
        self.groups.lock().unwrap().insert(back.session, groups);
        self.does(format!("log in from {}", back.from));
        Ok(())
    }
}

impl ServiceOperations for FakeOperations {
    async fn examine(&self, by: &str) -> bool {
        self.does(format!("examine by {by}"));
        true
    }

    async fn examined(&self) -> (Option<DoctorView>, bool) {
        let check = |status| CheckView { name: hostile(), status, detail: hostile(), hint: Some(hostile()) };
        let checks = ["ok", "warn", "fail"].map(check).into();
        let seen = DoctorView { at: sample::at(0), by: hostile(), checks };
        ((self.world() != World::Empty).then_some(seen), false)
    }

    async fn about(&self) -> AboutView {
        let config = vec![(hostile(), Some(hostile()), Some(hostile())), ("none".to_owned(), None, None)];
        let processes = self.processes().await.map_err(|error| error.to_string());
        AboutView { migrations: Ok(SchemaView { known: 8, applied: 7 }), processes, config }
    }

    async fn last_hour(&self) -> Result<LastHour, StoreError> {
        if self.reached()? == World::Empty {
            return Ok(LastHour::default());
        }
        let happened = [("order.paid".to_owned(), (2, 100_000))].into();
        Ok(LastHour { happened, declines: vec![(hostile(), 3)] })
    }

    async fn processes(&self) -> Result<Vec<ProcessView>, StoreError> {
        let process = ProcessView {
            host: hostile(),
            roles: vec![hostile()],
            version: hostile(),
            revision: hostile(),
            started_at: sample::at(0),
            seen_at: sample::at(50),
        };
        Ok(if self.reached()? == World::Empty { Vec::new() } else { vec![process] })
    }
}
