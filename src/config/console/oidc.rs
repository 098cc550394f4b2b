//! The provider that the console asks who a person is.

use crate::config::{
    load::Reader,
    parse::{self, Parsed},
};
use secrecy::SecretString;

const CLAIM_CHARS_MAX: usize = 128;
const SCOPES_MAX: usize = 20;

/// An OpenID Connect provider, and which claims it is believed by.
#[derive(Debug, Clone)]
pub struct OidcAuth {
    /// As its tokens have it.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
    pub scopes: Vec<String>,
    /// Of the ID token; a point leads into an object.
    pub name_claim: String,
    pub groups_claim: String,
}

/// `None`: something is missing or wrong, and is a fault if the provider is used.
pub fn read(r: &mut Reader<'_>, is_used: bool) -> Option<OidcAuth> {
    let issuer = r.get("console.oidc.issuer", issuer);
    let client_id = r.get("console.oidc.client_id", name);
    let secret = r.file("console.oidc.client_secret_file", secret);
    let scopes = r.list("console.oidc.scopes", SCOPES_MAX, name);
    let name_claim = r.get("console.oidc.name_claim", name);
    let groups_claim = r.get("console.oidc.groups_claim", name);
    for (key, says) in [
        ("console.oidc.issuer", issuer.is_some()),
        ("console.oidc.client_id", client_id.is_some()),
        ("console.oidc.client_secret_file", secret.is_some()),
    ] {
        if is_used && !says {
            r.fault(key, "missing; console.auth = oidc needs it");
        }
    }
    Some(OidcAuth {
        issuer: issuer?,
        client_id: client_id?,
        client_secret: SecretString::from(secret?),
        scopes: scopes?,
        name_claim: name_claim?,
        groups_claim: groups_claim?,
    })
}

/// As the provider writes it: a slash at its end belongs to it.
fn issuer(text: &str) -> Parsed<String> {
    let is_safe = |url: &url::Url| match url.scheme() {
        "https" => true,
        // For trying, and for tests.
        "http" => matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")),
        _ => false,
    };
    let fits = parse::parse_url(text).is_some_and(|url| {
        is_safe(&url) && url.host_str().is_some() && url.query().is_none() && url.fragment().is_none()
    });
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not an issuer; allowed: https://host/path, as the provider's tokens have it".to_owned())
    }
}

fn name(text: &str) -> Parsed<String> {
    let text = text.trim();
    if (1..=CLAIM_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("not a name; allowed: 1 to {CLAIM_CHARS_MAX} visible ASCII characters"))
    }
}

/// A trailing newline is dropped.
fn secret(text: &str) -> Parsed<String> {
    let text = text.trim_end_matches(['\r', '\n']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("not a secret; allowed: visible ASCII characters".to_owned())
    }
}
