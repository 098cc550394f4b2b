//! Logging in at the provider: a link leads there, and the provider sends the browser back. What one login is known by is
//! made of a key that the browser alone holds: another browser that comes back with its code is not let in.

use crate::{
    config::ConsoleAuth,
    flow::ports::{LoginFault, OidcLogin, OidcReturn, Operations},
    http::console::{
        BrowserKey, PageAnswer, Shared, Visit,
        guard::{login_cookie, set_cookie},
        refusal::PageRefusal,
    },
};
use axum::{
    Extension,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::{IntoResponse, Response},
};

fn login_of(key: &BrowserKey) -> OidcLogin {
    OidcLogin { state: key.derive("state"), nonce: key.derive("nonce"), verifier: key.derive("verifier") }
}

/// A page of this console, and nothing else.
pub fn is_ours(path: &str) -> bool {
    // A browser leaves tabs and line ends out of an address before it reads it.
    path.starts_with('/') && !path.starts_with("//") && !path.contains(|c: char| c == '\\' || c.is_control())
}

/// Sends the browser to the provider.
pub async fn begin<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    if !matches!(console.setting.config.auth, ConsoleAuth::Oidc(_)) || visit.is_local {
        return Err(PageRefusal::NotKnown);
    }
    let key = BrowserKey::draw().map_err(|_| PageRefusal::NoRandomness)?;
    let to = visit.query.get("to").filter(|to| is_ours(to)).unwrap_or("/");
    let address = console.operations.login_address(&login_of(&key)).await.map_err(refusal)?;
    let sealed = console.logins.seal(&key, to, (console.setting.now)()).ok_or(PageRefusal::NotKnown)?;
    let cookie = login_cookie(Some(&sealed));
    Ok(redirect(&address, [cookie].into_iter().flatten()))
}

/// The browser is back from the provider.
pub async fn back<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    const ANOTHER: PageRefusal =
        PageRefusal::Senseless("This login did not begin in this browser, or took too long. Log in again.");
    let begun = visit.login.as_ref().ok_or(ANOTHER)?;
    let login = login_of(&begun.key);
    if visit.query.get("state") != Some(login.state.as_str()) {
        return Err(ANOTHER);
    }
    let code = visit.query.get("code").ok_or(PageRefusal::Senseless("The provider did not let you in."))?;
    if !console.logins.use_up(begun, (console.setting.now)()) {
        return Err(ANOTHER);
    }
    let session = BrowserKey::draw().map_err(|_| PageRefusal::NoRandomness)?;
    let from = visit.peer.to_string();
    let back = OidcReturn { login, code: code.to_owned(), session: session.hash(), from };
    console.operations.log_in(back).await.map_err(refusal)?;
    if let Some(old) = visit.key {
        console.seen.forget(old);
    }
    let cookies = [set_cookie(&visit, Some(&session)), login_cookie(None)];
    Ok(redirect(&begun.to, cookies.into_iter().flatten()))
}

fn redirect(to: &str, cookies: impl Iterator<Item = HeaderValue>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/")));
    cookies.for_each(|cookie| {
        headers.append(SET_COOKIE, cookie);
    });
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn refusal(fault: LoginFault) -> PageRefusal {
    tracing::warn!(%fault, "a login at the console failed");
    match fault {
        LoginFault::Provider(why) => PageRefusal::Provider(why),
        LoginFault::Store(error) => PageRefusal::Store(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_to_a_page_of_this_console_alone() {
        for ours in ["/", "/order?merchant=default&invoice=a%2Fb"] {
            assert!(is_ours(ours), "{ours}");
        }
        for others in [
            "",
            "//evil.test",
            "https://evil.test",
            "/\\evil.test",
            "/a\r\nb",
            "/\t/evil.test",
            "/\0/evil.test",
            "/\u{85}/evil.test",
        ] {
            assert!(!is_ours(others), "{others}");
        }
    }
}
