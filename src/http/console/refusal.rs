//! What is answered in place of a page, in plain words: what happened, and what to do.

use super::{
    PageAnswer, Shared, Visit, layout,
    params::{Params, link},
};
use crate::{
    domain::console::{ConsoleRole, Permission, Person},
    flow::ports::{Operations, StoreError},
    shown::clean,
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

/// Why a request gets no page.
#[derive(Debug)]
pub enum PageRefusal {
    UnknownPeer,
    AnotherHost,
    AnotherMethod,
    AnotherOrigin,
    NoSecret,
    NotKnown,
    NoRole(Person),
    NotAllowed(Person, Permission),
    ReadOnly(&'static str),
    TooLarge,
    /// A link or a form that makes no sense; the text says why.
    Senseless(&'static str),
    /// There is no such thing.
    Unknown(&'static str),
    Store(StoreError),
    NoRandomness,
    /// A provider says who people are; the page is the one that was asked for.
    LogIn(String),
    /// What the provider does not do.
    Provider(String),
    /// The provider must be asked again for the person's groups before a form changes anything.
    GroupsOld {
        path: String,
        /// `None`: it has a file, which was not read.
        form: Option<Params>,
    },
}

impl From<StoreError> for PageRefusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl PageRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPeer
            | Self::AnotherOrigin
            | Self::NoSecret
            | Self::NoRole(_)
            | Self::NotAllowed(..)
            | Self::ReadOnly(_) => StatusCode::FORBIDDEN,
            Self::AnotherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::AnotherMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotKnown | Self::LogIn(_) | Self::GroupsOld { .. } => StatusCode::UNAUTHORIZED,
            Self::Provider(_) => StatusCode::BAD_GATEWAY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Senseless(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Store(StoreError::Away(_) | StoreError::Contended(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::Refused(_)) | Self::NoRandomness => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The page's title and its text.
    fn words(&self) -> (&'static str, Markup) {
        match self {
            Self::UnknownPeer => {
                ("Not from here", html! { p { "This console answers its proxy and this machine alone." } })
            }
            Self::AnotherHost => (
                "Another address",
                html! { p { "Open the console by 127.0.0.1, localhost or console.public_url." } },
            ),
            Self::AnotherMethod => ("Not like this", html! { p { "Nothing was changed." } }),
            Self::AnotherOrigin => (
                "The form came from elsewhere",
                html! { p { "Nothing was changed. Open the page again here and send its form." } },
            ),
            Self::NoSecret => (
                "The proxy did not show its secret",
                html! { p { "It must send the header X-Jenius-Console-Secret as console.proxy.secret_file has it." } },
            ),
            Self::NotKnown => ("Who are you?", not_known()),
            Self::NoRole(person) => (
                "No role",
                html! { p { "You are " strong { (person.name) } ", and none of your groups has a role here. Ask for one of \
                console.roles.*." } },
            ),
            Self::NotAllowed(person, permission) => {
                let (has, needs) = (person.role_names(), ConsoleRole::needed_for(*permission).name());
                (
                    "Not with your role",
                    html! { p { "This needs the role " strong { (needs) } ". You have: " (has) ". Nothing was changed." } },
                )
            }
            Self::ReadOnly(why) => ("Nothing can be changed now", html! { p { (why) } }),
            Self::TooLarge => ("Too much at once", html! { p { "Nothing was changed." } }),
            Self::Senseless(why) => ("That cannot be asked", html! { p { (why) } }),
            Self::Unknown(what) => ("Not found", html! { p { (what) } }),
            Self::Store(StoreError::Away(why)) => (
                "The database is away",
                html! { p { "The page cannot be shown now: " (why) "." } p { "Nothing was lost by that. Load the page \
                again in a moment." } },
            ),
            Self::Store(StoreError::Contended(why)) => (
                "Another change is in the way",
                html! { p { "Nothing was changed: " (why) "." } p { "Load the page again in a moment." } },
            ),
            Self::Store(StoreError::Refused(why)) => (
                "The database refused",
                html! { p { (why) } p { "This should not happen: " code { "jenius-pay doctor" } " says what to do." } },
            ),
            Self::LogIn(to) => (
                "Who are you?",
                html! {
                    p { "The provider of your organisation says who you are. It leads you back to this page." }
                    p { a.button.main href=(link("/login", &[("to", to)])) { "Log in" } }
                },
            ),
            Self::Provider(why) => (
                "You could not be logged in",
                html! { p { (clean(why)) "." } p { a href="/login" { "Try again" } } },
            ),
            Self::GroupsOld { path, form } => {
                ("Are you still in your groups?", old_groups(path, form.as_ref()))
            }
            Self::NoRandomness => ("No randomness", html! { p { "The operating system gave none." } }),
        }
    }
}

/// The form stays in the page: nothing that a person wrote is lost. A file cannot stay, and is chosen again.
fn old_groups(path: &str, form: Option<&Params>) -> Markup {
    html! {
        p { "Nothing was changed. Your groups were given more than 15 minutes ago, and are asked for again before a change." }
        p { "1. " a href=(link("/login", &[("to", "/")])) target="_blank" rel="noopener" { "Log in again" } " (it opens beside this page)." }
        @match form {
            Some(form) => {
                form action=(path) method="post" {
                    @for (name, value) in form.pairs() { input type="hidden" name=(name) value=(value); }
                    p { "2. " button.main { "Send the form now" } }
                }
            }
            // Only settlement takes files.
            None => { p { "2. The file was not taken: " a href="/settlement" { "choose it again and send it" } "." } }
        }
    }
}

fn not_known() -> Markup {
    html! {
        p { "The console does not know this browser, or your time is over. On the machine it runs on:" }
        p { code { "jenius-pay console login --as YOUR-NAME --role viewer" } }
        p { "Open the address that it prints. It works once, within five minutes." }
    }
}

impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        let (title, text) = self.words();
        let mut answer = layout::bare(self.status(), title, text);
        if self.status() == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("jenius-pay"));
        }
        answer
    }
}

pub async fn no_such_page<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let text = html! { div.empty { p { "There is no such page." } p { a href="/" { "To the overview" } } } };
    Ok(layout::page(&console, &visit, StatusCode::NOT_FOUND, "Not found", text).await)
}
