//! The console as a browser meets it: real requests through the whole router, over operations that are set beforehand. What
//! the operations do is tested against real servers.

mod access;
mod changes;
mod fake;
mod fake_service;
mod hostile;
mod letters;
mod login;
mod rendered;
mod settlement;

use super::{guard::SECRET_HEADER, *};
use crate::{
    config::{ConsoleAuth, ProxyAuth},
    domain::console::{ConsoleRole, Identified},
};
use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use fake::FakeOperations;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::collections::{BTreeMap, BTreeSet};

const LOCAL: &str = "127.0.0.1:9470";
const PUBLIC: &str = "console.test";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn setting(auth: ConsoleAuth) -> ConsoleSetting {
    let named = |role: ConsoleRole| (role, BTreeSet::from([format!("pay-{}", role.name())]));
    ConsoleSetting {
        config: Arc::new(ConsoleConfig {
            listen: LOCAL.parse().unwrap(),
            public_url: Some(format!("https://{PUBLIC}")),
            read_only: false,
            auth,
            roles: ConsoleRole::ALL.map(named).into(),
            second_person_above: None,
        }),
        environment: Environment::Sandbox,
        zone: chrono_tz::Asia::Jakarta,
        now: || crate::flow::view::sample::at(60),
        merchants: vec![MerchantName::parse("default").unwrap()],
        profiles: vec!["doku".to_owned()],
    }
}

fn by_proxy() -> ConsoleAuth {
    ConsoleAuth::Proxy(ProxyAuth {
        user_header: "x-user".to_owned(),
        groups_header: "x-groups".to_owned(),
        secret: SECRET.into(),
        from: vec!["10.0.0.0/8".parse().unwrap()],
    })
}

/// A browser, with what it sends of itself.
#[derive(Clone)]
struct Browser {
    router: Router,
    key: String,
    headers: BTreeMap<String, String>,
    peer: IpAddr,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Browser {
    /// One whose session the operations know.
    fn with(operations: FakeOperations, roles: &[ConsoleRole]) -> Self {
        Self::of(operations, roles, setting(ConsoleAuth::Local))
    }

    fn of(operations: FakeOperations, roles: &[ConsoleRole], setting: ConsoleSetting) -> Self {
        let key = BrowserKey::draw().unwrap();
        let person = Person {
            name: "budi".to_owned(),
            identified: Identified::Local,
            subject: None,
            roles: roles.iter().copied().collect(),
        };
        operations.sessions.lock().unwrap().insert(key.hash(), person);
        let headers = BTreeMap::from([("host".to_owned(), LOCAL.to_owned())]);
        Self {
            router: router(operations, setting),
            key: key.text().to_owned(),
            headers,
            peer: [127, 0, 0, 1].into(),
        }
    }

    /// Sends another value of a header; an empty one leaves it out.
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        let cookie = format!("jenius_console={}", self.key);
        let own = [("cookie", cookie.as_str())];
        let own = own.iter().filter(|(name, _)| !self.headers.contains_key(*name)).copied();
        let given = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(given).filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Peer(self.peer));
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, "").await
    }

    /// Sends a form of this console's.
    async fn post(&self, path: &str, form: &str) -> Answered {
        let mut browser = self.clone();
        for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9470")] {
            browser.headers.entry(name.to_owned()).or_insert(value.to_owned());
        }
        browser.ask(Method::POST, path, form).await
    }
}
