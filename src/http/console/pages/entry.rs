//! Entering by an address that `console login` printed, and leaving. The address itself changes nothing: mail scanners and
//! previews open links too. Its page has a button, and that uses it up.

use crate::{
    flow::ports::{ConsoleEntry, Operations},
    http::console::{BrowserKey, PageAnswer, Shared, Visit, guard::set_cookie, layout, refusal::PageRefusal},
};
use axum::{
    Extension,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::IntoResponse,
};
use maud::html;

/// The page of an address.
pub async fn ask<O: Operations>(
    State(_): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let Some(key) = visit.query.get("key").and_then(BrowserKey::parse) else {
        return Err(PageRefusal::NotKnown);
    };
    let text = html! {
        p { "The address works once. Your name and what you do here are kept." }
        form action="/enter" method="post" {
            input type="hidden" name="key" value=(key.text());
            button.main autofocus { "Enter the console" }
        }
    };
    Ok(layout::bare(StatusCode::OK, "Is it you?", text))
}

/// Uses the address up.
pub async fn enter<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let login = visit.form.get("key").and_then(BrowserKey::parse).ok_or(PageRefusal::NotKnown)?;
    let session = BrowserKey::draw().map_err(|_| PageRefusal::NoRandomness)?;
    let entry = ConsoleEntry { login: login.hash(), session: session.hash(), from: visit.peer.to_string() };
    match console.operations.enter(entry).await? {
        Some(person) => {
            console.seen.saw(session.hash(), &person, tokio::time::Instant::now());
            Ok(to_the_overview(&visit, Some(&session)))
        }
        None => Err(PageRefusal::NotKnown),
    }
}

/// Ends the session of this browser.
pub async fn leave<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    if let (Some(key), Some(person)) = (visit.key, &visit.person) {
        console.operations.leave(key, person, &visit.peer.to_string()).await?;
        console.seen.forget(key);
    }
    Ok(to_the_overview(&visit, None))
}

fn to_the_overview(visit: &Visit, session: Option<&BrowserKey>) -> axum::response::Response {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    headers.extend(set_cookie(visit, session).map(|cookie| (SET_COOKIE, cookie)));
    (StatusCode::SEE_OTHER, headers).into_response()
}
