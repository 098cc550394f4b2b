//! Logins that began here. Their cookies are sealed with a key that every console of the service makes of the client's secret, and
//! each is used once: a stranger who makes a cookie of his own, or shows one again, costs the provider no question.

use super::browser_key::BrowserKey;
use crate::{
    config::{ConsoleAuth, ConsoleConfig},
    domain::Time,
    flow::ports::KeyHash,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::collections::HashMap;

/// Longer than a person takes for it.
pub const LOGIN_SECONDS: u32 = 600;
const PURPOSE: &[u8] = b"jenius-pay console login";
/// At this bound all are forgotten: better that a login comes back twice than that no person can log in.
const USED_MAX: usize = 100_000;

/// A login that began in a browser, and the page that it leads to.
#[derive(Debug, Clone)]
pub struct BegunLogin {
    pub key: BrowserKey,
    pub to: String,
    /// In seconds since 1970.
    ends: i64,
}

/// What seals their cookies, and those that came back already.
pub struct BegunLogins {
    /// `None`: no provider is asked here.
    secret: Option<SecretString>,
    /// Until when each would be good.
    used: Mutex<HashMap<KeyHash, i64>>,
}

impl BegunLogins {
    pub fn from_config(config: &ConsoleConfig) -> Self {
        let secret = match &config.auth {
            ConsoleAuth::Oidc(auth) => Some(auth.client_secret.clone()),
            ConsoleAuth::Local | ConsoleAuth::Proxy(_) => None,
        };
        Self { secret, used: Mutex::default() }
    }

    /// The text of a cookie; `None`: no provider is asked here.
    pub fn seal(&self, key: &BrowserKey, to: &str, now: Time) -> Option<String> {
        let ends = now.timestamp().saturating_add(i64::from(LOGIN_SECONDS));
        let text = format!("{}.{ends}.{}", key.text(), URL_SAFE_NO_PAD.encode(to));
        let seal = self.mac(&text)?.finalize().into_bytes();
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(seal)))
    }

    /// The login of a cookie that was made here and is still good.
    pub fn open(&self, cookie: &str, now: Time) -> Option<BegunLogin> {
        let (text, seal) = cookie.rsplit_once('.')?;
        self.mac(text)?.verify_slice(&URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        let mut parts = text.splitn(3, '.');
        let (key, ends, to) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        (ends > now.timestamp()).then_some(())?;
        Some(BegunLogin { key: BrowserKey::parse(key)?, to, ends })
    }

    /// Whether it has not come back before.
    pub fn use_up(&self, login: &BegunLogin, now: Time) -> bool {
        let mut used = self.used.lock();
        used.retain(|_, ends| *ends > now.timestamp());
        if used.len() >= USED_MAX {
            used.clear();
        }
        used.insert(login.key.hash(), login.ends).is_none()
    }

    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_ref()?.expose_secret().as_bytes()).ok()?;
        mac.update(PURPOSE);
        mac.update(&[0]);
        mac.update(text.as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn logins(secret: &str) -> BegunLogins {
        BegunLogins { secret: Some(secret.into()), used: Mutex::default() }
    }

    #[test]
    fn a_login_is_good_where_the_secret_is_known_for_its_time_unchanged_and_once() {
        let (ours, now) = (logins("s"), Time::UNIX_EPOCH + TimeDelta::days(1));
        let sealed = ours.seal(&BrowserKey::draw().unwrap(), "/review", now).unwrap();
        let login =
            logins("s").open(&sealed, now + TimeDelta::seconds(599)).expect("another process of ours");
        assert_eq!(login.to, "/review");
        assert!(ours.open(&sealed, now + TimeDelta::seconds(600)).is_none());
        assert!(logins("t").open(&sealed, now).is_none());
        let parts: Vec<&str> = sealed.split('.').collect();
        let longer = format!("{}.{}.{}.{}", parts[0], i64::MAX, parts[2], parts[3]);
        let elsewhere = format!("{}.{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode("/dead"), parts[3]);
        for forged in [longer.as_str(), &elsewhere, "", "a.b.c.d", parts[0]] {
            assert!(ours.open(forged, now).is_none(), "{forged}");
        }
        assert!(ours.use_up(&login, now) && !ours.use_up(&login, now));
        let local = BegunLogins { secret: None, used: Mutex::default() };
        assert!(local.seal(&login.key, "/", now).is_none() && local.open(&sealed, now).is_none());
    }
}
