//! Before every page: is it this console that is meant, where does the request come from, who is it, and may they. The
//! first check that fails answers; the headers that keep a page to itself are on every answer.

use super::{
    Console, LIMITS, Peer, Shared, Visit,
    begun_logins::LOGIN_SECONDS,
    browser_key::BrowserKey,
    pages::login::is_ours,
    params::Params,
    refusal::PageRefusal,
    rules::{Access, Verb, rule},
    upload::is_upload,
};
use crate::{
    config::{ConsoleAuth, ProxyAuth},
    domain::{
        action::NAME_CHARS_MAX,
        console::{Identified, Person},
    },
    flow::ports::{KeyHash, Operations, StoreError},
    http::places::ConnectionPlace,
    shown::is_unsafe,
};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What a proxy adds to show that it is the one.
pub const SECRET_HEADER: &str = "x-jenius-console-secret";
/// A browser that came by http has no other name for its cookie; by https the prefix binds it to the host.
const COOKIE_BY_HTTP: &str = "jenius_console";
const COOKIE_BY_HTTPS: &str = "__Host-jenius_console";

/// What a login at the provider is known by.
const LOGIN_COOKIE: &str = "__Host-jenius_login";
const PAGE_BYTES_MAX: usize = 2000;
/// A provider's groups that are older are asked for again before anything is changed.
const GROUPS_LAST: Duration = Duration::from_secs(900);

const READ_ONLY: &str = "The console only shows: console.read_only is set.";
const DATABASE_AWAY: &str = "The database is away: pages show what is known, and nothing can be changed.";

pub async fn guard<O: Operations>(
    State(console): State<Shared<O>>,
    request: Request,
    next: Next,
) -> Response {
    let mut answer = match admit(&console, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // With no referrer at all, the Origin of our own forms would be `null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// The request with its `Visit`, or why it is not answered.
async fn admit<O: Operations>(console: &Console<O>, request: Request) -> Result<Request, PageRefusal> {
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| peer.to_canonical());
    let peer = peer.ok_or(PageRefusal::UnknownPeer)?;
    let entrance = entrance(console, peer, request.headers())?;
    let verb = match *request.method() {
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Post,
        _ => return Err(PageRefusal::AnotherMethod),
    };
    let path = request.uri().path().to_owned();
    let rule = rule(&path, verb).ok_or(PageRefusal::AnotherMethod)?;
    if verb == Verb::Post && !is_same_origin(&entrance, request.headers()) {
        return Err(PageRefusal::AnotherOrigin);
    }
    let query = Params::parse(request.uri().query().unwrap_or_default().as_bytes());
    let mut read_only = console.setting.config.read_only.then_some(READ_ONLY);
    let mut key = None;
    let mut groups_age = None;
    let person = match rule.access {
        Access::Anybody => None,
        Access::Needs(permission) => {
            let known = identify(console, &entrance, request.headers(), page_of(&request)).await?;
            (key, groups_age) = (known.key, known.groups_age);
            if known.is_stale {
                read_only = Some(DATABASE_AWAY);
            }
            if !known.person.may(permission) {
                return Err(PageRefusal::NotAllowed(known.person, permission));
            }
            Some(known.person)
        }
    };
    if verb == Verb::Post
        && !rule.while_read_only
        && let Some(why) = read_only
    {
        return Err(PageRefusal::ReadOnly(why));
    }
    let is_local = matches!(entrance, Entrance::Session { .. });
    let login = cookie_text(request.headers(), LOGIN_COOKIE);
    let login = login.and_then(|cookie| console.logins.open(cookie, (console.setting.now)()));
    // A form with a file is read by its page.
    let is_form = verb == Verb::Post && !is_upload(request.headers());
    let (mut request, form) = if is_form { with_form(request).await? } else { (request, Params::default()) };
    if !rule.while_read_only && groups_age.is_some_and(|age| age >= GROUPS_LAST) {
        return Err(PageRefusal::GroupsOld { path, form: is_form.then_some(form) });
    }
    request.extensions_mut().insert(Visit {
        person,
        key,
        path,
        query,
        form,
        peer,
        is_local,
        login,
        read_only,
    });
    Ok(request)
}

/// By which way a request comes.
enum Entrance<'c> {
    /// A browser on this machine, with a session.
    Session { host: String },
    /// The proxy, with what it says of the person.
    Proxy { auth: &'c ProxyAuth, public_url: &'c str },
    /// A browser that logged in at the provider, with a session.
    Provider { public_url: &'c str },
}

/// An unknown peer is refused before anything that it sent is read; then a Host that is not ours.
fn entrance<'c, O>(
    console: &'c Console<O>,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<Entrance<'c>, PageRefusal> {
    let (proxy, has_provider) = match &console.setting.config.auth {
        ConsoleAuth::Local => (None, false),
        ConsoleAuth::Proxy(auth) => (Some(auth), false),
        ConsoleAuth::Oidc(_) => (None, true),
    };
    let is_proxy = proxy.is_some_and(|auth| auth.is_from(peer));
    if !is_proxy && !has_provider && !peer.is_loopback() {
        return Err(PageRefusal::UnknownPeer);
    }
    let host = one(headers, HOST.as_str()).ok_or(PageRefusal::AnotherHost)?;
    if is_this_machine(host) && peer.is_loopback() {
        return Ok(Entrance::Session { host: host.to_ascii_lowercase() });
    }
    let public_url = console.setting.config.public_url.as_deref().ok_or(PageRefusal::AnotherHost)?;
    let is_public =
        public_url.strip_prefix("https://").is_some_and(|public| public.eq_ignore_ascii_case(host));
    match proxy.filter(|_| is_proxy && is_public) {
        Some(auth) => Ok(Entrance::Proxy { auth, public_url }),
        None if has_provider && is_public => Ok(Entrance::Provider { public_url }),
        None => Err(PageRefusal::AnotherHost),
    }
}

/// The value of a header that is there exactly once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a Host names this machine by an address that no name server gives out.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "::1"
}

/// A browser says for itself where a form came from, and no page of another place can make it say otherwise.
fn is_same_origin(entrance: &Entrance<'_>, headers: &HeaderMap) -> bool {
    let site = headers.get_all("sec-fetch-site").iter().next().map(|_| one(headers, "sec-fetch-site"));
    let is_same_site = site.map(|site| site == Some("same-origin"));
    let origin = one(headers, ORIGIN.as_str());
    match entrance {
        Entrance::Session { host } => {
            is_same_site.unwrap_or(true)
                && origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&format!("http://{host}")))
        }
        Entrance::Proxy { public_url, .. } | Entrance::Provider { public_url } => is_same_site
            .unwrap_or_else(|| origin.is_some_and(|origin| origin.eq_ignore_ascii_case(public_url))),
    }
}

struct KnownVisitor {
    person: Person,
    key: Option<KeyHash>,
    /// The database did not confirm it now.
    is_stale: bool,
    /// How long ago the provider gave the person's groups.
    groups_age: Option<Duration>,
}

async fn identify<O: Operations>(
    console: &Console<O>,
    entrance: &Entrance<'_>,
    headers: &HeaderMap,
    page: String,
) -> Result<KnownVisitor, PageRefusal> {
    let (name, unknown) = match entrance {
        Entrance::Proxy { auth, .. } => {
            let person = proxied(console, auth, headers)?;
            return Ok(KnownVisitor { person, key: None, is_stale: false, groups_age: None });
        }
        Entrance::Session { .. } => (COOKIE_BY_HTTP, PageRefusal::NotKnown),
        Entrance::Provider { .. } => (COOKIE_BY_HTTPS, PageRefusal::LogIn(page)),
    };
    let Some(key) = cookie(headers, name) else { return Err(unknown) };
    let key = key.hash();
    match console.operations.session(key).await {
        // An address of this machine lets no person in from elsewhere, and a provider's session stays at its own.
        Ok(Some(session)) if session.groups.is_some() == matches!(entrance, Entrance::Provider { .. }) => {
            let (mut person, mut groups_age) = (session.person, None);
            if let Some((groups, age)) = session.groups {
                person.roles = console.setting.config.roles_of(groups.iter().map(String::as_str));
                groups_age = Some(age);
            }
            if person.roles.is_empty() {
                return Err(PageRefusal::NoRole(person));
            }
            console.seen.saw(key, &person, Instant::now());
            Ok(KnownVisitor { person, key: Some(key), is_stale: false, groups_age })
        }
        Ok(_) => {
            console.seen.forget(key);
            Err(unknown)
        }
        Err(error @ (StoreError::Away(_) | StoreError::Contended(_) | StoreError::Refused(_))) => {
            let person = console.seen.lately(key, Instant::now()).ok_or(PageRefusal::Store(error))?;
            Ok(KnownVisitor { person, key: Some(key), is_stale: true, groups_age: None })
        }
    }
}

/// The page that a person wants, to come back to after the login.
fn page_of(request: &Request) -> String {
    let is_page = request.method() == Method::GET;
    let page = request.uri().path_and_query().filter(|_| is_page).map(|page| page.as_str());
    page.filter(|page| page.len() <= PAGE_BYTES_MAX && is_ours(page)).unwrap_or("/").to_owned()
}

/// Who the proxy says it is, once it has shown the secret.
fn proxied<O>(console: &Console<O>, auth: &ProxyAuth, headers: &HeaderMap) -> Result<Person, PageRefusal> {
    let shown = one(headers, SECRET_HEADER).ok_or(PageRefusal::NoSecret)?;
    // Digests are compared: how long that takes tells nothing about the secret.
    if Sha256::digest(shown) != Sha256::digest(auth.secret.expose_secret()) {
        return Err(PageRefusal::NoSecret);
    }
    let name = one(headers, &auth.user_header).map(str::trim).unwrap_or_default();
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(is_unsafe) {
        return Err(PageRefusal::NotKnown);
    }
    let groups: Vec<&str> = headers
        .get_all(&auth.groups_header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let roles = console.setting.config.roles_of(groups.iter().copied());
    let person = Person { name: name.to_owned(), identified: Identified::Proxy, subject: None, roles };
    if person.roles.is_empty() { Err(PageRefusal::NoRole(person)) } else { Ok(person) }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<BrowserKey> {
    cookie_text(headers, name).and_then(BrowserKey::parse)
}

fn cookie_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// A cookie for this browser, or its end.
pub fn set_cookie(visit: &Visit, key: Option<&BrowserKey>) -> Option<HeaderValue> {
    let text = key.map(BrowserKey::text).unwrap_or_default();
    let end = if key.is_none() { "; Max-Age=0" } else { "" };
    let cookie = if visit.is_local {
        format!("{COOKIE_BY_HTTP}={text}; Path=/; HttpOnly; SameSite=Lax{end}")
    } else {
        format!("{COOKIE_BY_HTTPS}={text}; Path=/; HttpOnly; SameSite=Lax; Secure{end}")
    };
    HeaderValue::from_str(&cookie).ok()
}

/// The cookie of a login that begins, or its end.
pub fn login_cookie(sealed: Option<&str>) -> Option<HeaderValue> {
    let end = if sealed.is_some() { LOGIN_SECONDS } else { 0 };
    let text = sealed.unwrap_or_default();
    let cookie = format!("{LOGIN_COOKIE}={text}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age={end}");
    HeaderValue::from_str(&cookie).ok()
}

async fn with_form(request: Request) -> Result<(Request, Params), PageRefusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LIMITS.body_bytes).await.map_err(|_| PageRefusal::TooLarge)?;
    if let Some(place) = parts.extensions.get::<Arc<ConnectionPlace>>() {
        place.finished();
    }
    Ok((Request::from_parts(parts, Body::empty()), Params::parse(&body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_no_name_server_gives_out_name_this_machine() {
        for host in ["127.0.0.1", "127.0.0.1:9470", "localhost", "LOCALHOST:1", "[::1]", "[::1]:9470"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.test", "127.0.0.1.evil.test", "localhost.evil.test:9470", "[::2]", "::1", "[::1"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("x"));
        assert_eq!(one(&headers, "a"), Some("x"));
        headers.append("a", HeaderValue::from_static("y"));
        assert_eq!((one(&headers, "a"), one(&headers, "b")), (None, None));
    }
}
