//! The provider that says who a person is (OpenID Connect): the authorization code flow with PKCE. Nothing is believed but an
//! ID token that the provider signed, for this client and this login.
//!
//! Never: a token in a log, or kept after it was read.

#[cfg(test)]
mod tests;
mod verify;

use crate::{
    config::OidcAuth,
    domain::action::NAME_CHARS_MAX,
    flow::ports::{IdentifiedPerson, OidcLogin},
    shown::is_unsafe,
    startup,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::jwk::JwkSet;
use parking_lot::RwLock;
use reqwest::{
    Client,
    header::{AUTHORIZATION, CONTENT_TYPE},
    redirect::Policy,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, timeout},
};
use url::{Url, form_urlencoded};

const ANSWER_MAX: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Its addresses and keys are asked for again after this time, and when a token names a key that is not among them.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
const GROUPS_MAX: usize = 1000;
/// As the standard has it.
const SUBJECT_CHARS_MAX: usize = 255;
/// Anybody may begin a login: while the provider is slow, no more of them hold a place that people who are in need.
const LOGINS_MAX: usize = 8;
/// A provider that did not answer is asked again after this time.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// Who comes back from the provider waits for a place.
const PLACE_MAX: Duration = Duration::from_secs(5);
const CROWDED: &str = "too many log in at once: try again in a moment";

/// What the provider publishes about itself.
#[derive(Debug, Clone, Deserialize)]
struct ProviderPage {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Clone)]
struct KnownProvider {
    page: ProviderPage,
    keys: JwkSet,
    at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

pub struct IdentityProvider {
    http: Client,
    auth: OidcAuth,
    /// Where the browser comes back to.
    back: String,
    known: RwLock<LastHeard>,
    /// One asks for all.
    asking: Mutex<()>,
    logins: Semaphore,
}

/// What was heard from the provider last.
#[derive(Default)]
struct LastHeard {
    provider: Option<KnownProvider>,
    fault: Option<(Instant, String)>,
}

impl IdentityProvider {
    /// # Errors
    /// No TLS.
    pub fn new(auth: OidcAuth, public_url: &str) -> Result<Self, reqwest::Error> {
        startup::install_cryptography();
        verify::install();
        let http = Client::builder().timeout(ANSWER_MAX).redirect(Policy::none()).build()?;
        let back = format!("{public_url}/login/back");
        let logins = Semaphore::new(LOGINS_MAX);
        Ok(Self { http, auth, back, known: RwLock::default(), asking: Mutex::default(), logins })
    }

    /// Where a browser logs in.
    ///
    /// # Errors
    /// The provider is away, or is another one.
    pub async fn login_address(&self, login: &OidcLogin) -> Result<String, String> {
        // Anybody may ask for it: who takes a place here keeps none from a person who comes back.
        let known = match self.heard() {
            Some(known) => known,
            None => {
                let _place = self.logins.try_acquire().map_err(|_| CROWDED.to_owned())?;
                self.known_provider(false).await?
            }
        };
        let mut address = Url::parse(&known.page.authorization_endpoint)
            .map_err(|_| "the provider names no address to log in at".to_owned())?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(login.verifier.as_bytes()));
        address.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.auth.client_id),
            ("redirect_uri", &self.back),
            ("scope", &self.auth.scopes.join(" ")),
            ("state", &login.state),
            ("nonce", &login.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(address.into())
    }

    /// Who came back with this code.
    ///
    /// # Errors
    /// The provider is away, refuses the code, or its token is not for this login.
    pub async fn identify(&self, login: &OidcLogin, code: &str) -> Result<IdentifiedPerson, String> {
        let place = timeout(PLACE_MAX, self.logins.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or_else(|| CROWDED.to_owned())?;
        let known = match self.heard() {
            Some(known) => known,
            None => self.known_provider(false).await?,
        };
        let token = self.token(&known.page.token_endpoint, login, code).await?;
        let claims = match verify::claims(&token, &known.keys, &self.auth) {
            Err(verify::TokenFault::UnknownKey) => {
                let renewed = self.known_provider(true).await?;
                verify::claims(&token, &renewed.keys, &self.auth)
            }
            read => read,
        };
        let claims = claims.map_err(|fault| format!("the provider's token is not believed: {fault}"))?;
        if claims["nonce"].as_str() != Some(login.nonce.as_str()) {
            return Err("the provider's token is for another login".to_owned());
        }
        self.person(&claims)
    }

    async fn token(&self, endpoint: &str, login: &OidcLogin, code: &str) -> Result<String, String> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", &self.back),
                ("code_verifier", &login.verifier),
            ])
            .finish();
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = encoded(self.auth.client_secret.expose_secret());
        let basic = STANDARD.encode(format!("{}:{secret}", encoded(&self.auth.client_id)));
        let request = self
            .http
            .post(endpoint)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .body(form);
        Ok(json::<TokenAnswer>(request, "the token").await?.id_token)
    }

    /// Name and groups, as the configured claims have them; and what stays the same when the name changes.
    fn person(&self, claims: &Value) -> Result<IdentifiedPerson, String> {
        let name = claim(claims, &self.auth.name_claim).and_then(Value::as_str).unwrap_or_default().trim();
        if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(is_unsafe) {
            return Err(format!("the provider's token has no usable claim {}", self.auth.name_claim));
        }
        let subject = claims["sub"].as_str().unwrap_or_default();
        if !(1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count()) || subject.contains('\0') {
            return Err("the provider's token has no usable claim sub".to_owned());
        }
        let groups = match claim(claims, &self.auth.groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => vec![group.as_str()],
            _ => Vec::new(),
        };
        let groups = groups.into_iter().take(GROUPS_MAX).map(str::to_owned).collect();
        Ok(IdentifiedPerson { subject: subject.to_owned(), name: name.to_owned(), groups })
    }

    /// Its addresses and keys, if it was heard lately.
    fn heard(&self) -> Option<KnownProvider> {
        let known = self.known.read();
        known.provider.as_ref().filter(|known| known.at.elapsed() < KNOWN_FOR).cloned()
    }

    /// Why it does not answer, as far as that was asked lately.
    fn lately_away(&self) -> Option<String> {
        let known = self.known.read();
        known.fault.as_ref().filter(|(at, _)| at.elapsed() < AWAY_FOR).map(|(_, why)| why.clone())
    }

    /// Its addresses and keys.
    async fn known_provider(&self, anew: bool) -> Result<KnownProvider, String> {
        let _asking = self.asking.lock().await;
        if let Some(known) = self.heard().filter(|_| !anew) {
            return Ok(known);
        }
        if let Some(why) = self.lately_away() {
            return Err(why);
        }
        let asked = self.ask().await;
        let mut known = self.known.write();
        known.fault = asked.as_ref().err().map(|why| (Instant::now(), why.clone()));
        known.provider = asked.as_ref().ok().cloned().or(known.provider.take());
        asked
    }

    async fn ask(&self) -> Result<KnownProvider, String> {
        let base = self.auth.issuer.trim_end_matches('/');
        let page = self.http.get(format!("{base}/.well-known/openid-configuration"));
        let page: ProviderPage = json(page, "its configuration").await?;
        if page.issuer != self.auth.issuer {
            return Err(format!("the provider calls itself {}; console.oidc.issuer is another", page.issuer));
        }
        let keys: JwkSet = json(self.http.get(&page.jwks_uri), "its keys").await?;
        Ok(KnownProvider { page, keys, at: Instant::now() })
    }
}

/// A claim by its name, or by a path with points where there is no such name.
fn claim<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |value, part| value.get(part)))
}

async fn json<T: DeserializeOwned>(request: reqwest::RequestBuilder, what: &str) -> Result<T, String> {
    let away = |error: reqwest::Error| format!("the provider does not give {what}: {}", error.without_url());
    let mut answer = request.send().await.map_err(away)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!("the provider does not give {what}: its answer is too long"));
        }
    }
    if !status.is_success() {
        return Err(format!("the provider does not give {what}: HTTP {}", status.as_u16()));
    }
    serde_json::from_slice(&body).map_err(|_| format!("the provider does not give {what} in JSON"))
}
