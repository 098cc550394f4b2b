//! The console: where it listens, who may enter, and what each may do.

use super::{
    load::Reader,
    parse::{self, Parsed},
};
use crate::domain::{console::ConsoleRole, money::Rupiah};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};
use url::Url;

/// Groups of one role.
const GROUPS_MAX: usize = 100;
const GROUP_CHARS_MAX: usize = 255;
const CLAIM_CHARS_MAX: usize = 128;
const SCOPES_MAX: usize = 20;
/// Addresses that a proxy comes from.
const NETWORKS_MAX: usize = 100;
/// Who knows the secret may say who anybody is: it must not be guessed.
const SECRET_CHARS_MIN: usize = 32;

/// All that is configured of it.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    pub listen: SocketAddr,
    /// As the browser sees it, without a trailing slash.
    pub public_url: Option<String>,
    pub read_only: bool,
    pub auth: ConsoleAuth,
    /// The groups that have each role.
    pub roles: BTreeMap<ConsoleRole, BTreeSet<String>>,
    /// A decision about more than so many rupiah needs two people.
    pub second_person_above: Option<u64>,
}

/// How the console knows who looks at it.
#[derive(Debug, Clone)]
pub enum ConsoleAuth {
    /// By an address that `console login` prints.
    Local,
    /// By a proxy that authenticates.
    Proxy(ProxyAuth),
    /// By a provider.
    Oidc(OidcAuth),
}

/// What is believed of a proxy: only with the secret, and only from its addresses.
#[derive(Debug, Clone)]
pub struct ProxyAuth {
    pub user_header: String,
    pub groups_header: String,
    pub secret: SecretString,
    pub from: Vec<IpNet>,
}

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

impl ProxyAuth {
    pub fn is_from(&self, peer: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(&peer.to_canonical()))
    }
}

impl ConsoleConfig {
    /// The roles that these groups give.
    pub fn roles_of<'g>(&self, groups: impl IntoIterator<Item = &'g str> + Clone) -> BTreeSet<ConsoleRole> {
        let given = |named: &BTreeSet<String>| groups.clone().into_iter().any(|group| named.contains(group));
        self.roles.iter().filter(|(_, named)| given(named)).map(|(role, _)| *role).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AuthWay {
    Local,
    Proxy,
    Oidc,
}

pub fn read(r: &mut Reader<'_>) -> Option<ConsoleConfig> {
    let listen = r.get("console.listen", parse::listen)?;
    let way = r.get("console.auth", |text| match text.trim() {
        "local" => Ok(AuthWay::Local),
        "proxy" => Ok(AuthWay::Proxy),
        "oidc" => Ok(AuthWay::Oidc),
        _ => Err("no such way; allowed: local, proxy, oidc".to_owned()),
    })?;
    // What is not used may be missing, but not wrong.
    let (proxy, oidc) = (read_proxy(r), read_oidc(r));
    let second_person_above = r.get("console.second_person_above", parse::whole_number(1..=Rupiah::MAX));
    let auth = match way {
        AuthWay::Local => {
            if !listen.ip().to_canonical().is_loopback() {
                let problem = "not this machine alone, and console.auth = local verifies no name; allowed: 127.0.0.1 \
                               or [::1], or console.auth = proxy or oidc";
                r.clash(["console.listen", "console.auth"], problem);
            }
            if second_person_above.is_some() {
                let problem = "a name must be verified to be a second one who decides; allowed: console.auth = proxy \
                               or oidc";
                r.clash(["console.second_person_above", "console.auth"], problem);
            }
            Some(ConsoleAuth::Local)
        }
        AuthWay::Proxy => {
            PROXY_NEEDS.iter().for_each(|key| r.need(key, "console.auth = proxy"));
            proxy.map(ConsoleAuth::Proxy)
        }
        AuthWay::Oidc => {
            OIDC_NEEDS.iter().for_each(|key| r.need(key, "console.auth = oidc"));
            oidc.map(ConsoleAuth::Oidc)
        }
    };
    let mut groups = |role: ConsoleRole| r.list(&format!("console.roles.{}", role.name()), GROUPS_MAX, group);
    Some(ConsoleConfig {
        listen,
        roles: ConsoleRole::ALL.map(|role| (role, groups(role).into_iter().collect())).into(),
        public_url: r.get("console.public_url", public_url),
        read_only: r.get("console.read_only", parse::flag)?,
        auth: auth?,
        second_person_above,
    })
}

const PROXY_NEEDS: [&str; 5] = [
    "console.proxy.user_header",
    "console.proxy.groups_header",
    "console.proxy.secret_file",
    "console.proxy.from",
    "console.public_url",
];

fn read_proxy(r: &mut Reader<'_>) -> Option<ProxyAuth> {
    let user_header = r.get("console.proxy.user_header", header);
    let groups_header = r.get("console.proxy.groups_header", header);
    let secret = r.file("console.proxy.secret_file", |text| secret(text, SECRET_CHARS_MIN));
    let from = r.list("console.proxy.from", NETWORKS_MAX, network);
    let (user_header, groups_header) = (user_header?, groups_header?);
    Some(ProxyAuth { user_header, groups_header, secret: secret?.into(), from })
}

const OIDC_NEEDS: [&str; 4] = [
    "console.oidc.issuer",
    "console.oidc.client_id",
    "console.oidc.client_secret_file",
    "console.public_url",
];

fn read_oidc(r: &mut Reader<'_>) -> Option<OidcAuth> {
    let issuer = r.get("console.oidc.issuer", issuer);
    let client_id = r.get("console.oidc.client_id", name);
    let client_secret = r.file("console.oidc.client_secret_file", |text| secret(text, 1));
    Some(OidcAuth {
        scopes: r.list("console.oidc.scopes", SCOPES_MAX, name),
        name_claim: r.get("console.oidc.name_claim", name)?,
        groups_claim: r.get("console.oidc.groups_claim", name)?,
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?.into(),
    })
}

fn public_url(text: &str) -> Parsed<String> {
    let is_ours = |url: &Url| url.scheme() == "https" && parse::has_only_a_host(url);
    match parse::parse_url(text).filter(is_ours) {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err(
            "not the address of the console; allowed: https://host or https://host:port, nothing after it"
                .to_owned(),
        ),
    }
}

fn group(text: &str) -> Parsed<String> {
    let text = text.trim();
    if (1..=GROUP_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("not a group; allowed: 1 to {GROUP_CHARS_MAX} characters"))
    }
}

fn header(text: &str) -> Parsed<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not the name of a header; allowed: 1 to 64 of A-Z, a-z, 0-9, `-`, `_`".to_owned())
    }
}

/// As the provider writes it: a slash at its end belongs to it.
fn issuer(text: &str) -> Parsed<String> {
    let is_safe = |url: &Url| match url.scheme() {
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
fn secret(text: &str, chars_min: usize) -> Parsed<String> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.len() >= chars_min && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("not a secret; allowed: {chars_min} or more visible ASCII characters"))
    }
}

/// An address alone stands for itself.
fn network(text: &str) -> Parsed<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "not a network; allowed: 10.0.0.0/8, or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RequiredSections, Source};
    use std::io;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn load(settings: &[(&str, &str)]) -> Result<ConsoleConfig, String> {
        let named =
            settings.iter().map(|(key, value)| (format!("JENIUS_PAY__CONSOLE__{key}"), (*value).to_owned()));
        let source = Source::new(None, named.collect::<Vec<_>>(), |path| match path.to_str() {
            Some("/run/secret") => Ok(format!("{SECRET}\n")),
            Some("/run/short") => Ok("guess\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        });
        let config = Config::load(&source, RequiredSections::NOTHING);
        config.map(|config| ConsoleConfig::clone(&config.console)).map_err(|faults| faults.in_a_line())
    }

    const BY_PROXY: [(&str, &str); 7] = [
        ("AUTH", "proxy"),
        ("LISTEN", "0.0.0.0:9470"),
        ("PUBLIC_URL", "https://pay.shop.test"),
        ("PROXY__USER_HEADER", "X-Auth-Request-User"),
        ("PROXY__GROUPS_HEADER", "X-Auth-Request-Groups"),
        ("PROXY__SECRET_FILE", "/run/secret"),
        ("PROXY__FROM", "10.0.0.0/8,192.168.1.7"),
    ];

    #[test]
    fn without_anybody_who_verifies_it_listens_on_this_machine_alone() {
        assert!(matches!(load(&[]).unwrap().auth, ConsoleAuth::Local));
        assert!(load(&[("LISTEN", "[::1]:1")]).is_ok());
        for listen in ["0.0.0.0:9470", "[::]:9470", "192.168.1.7:9470"] {
            let fault = load(&[("LISTEN", listen)]).unwrap_err();
            assert!(fault.contains("console.listen") && fault.contains("verifies no name"), "{fault}");
        }
    }

    #[test]
    fn a_proxy_needs_all_that_makes_it_believable() {
        let console = load(&BY_PROXY).unwrap();
        let ConsoleAuth::Proxy(auth) = &console.auth else { panic!("no proxy") };
        assert_eq!(auth.user_header, "x-auth-request-user");
        let is_from = |peer: &str| auth.is_from(peer.parse().unwrap());
        assert!(is_from("10.1.2.3") && is_from("192.168.1.7") && is_from("::ffff:10.1.2.3"));
        assert!(!is_from("192.168.1.8") && !is_from("127.0.0.1") && !is_from("::1"));
        assert!(!format!("{console:?}").contains(SECRET), "{console:?}");
        for (missing, (name, _)) in BY_PROXY.iter().enumerate().skip(2) {
            let less: Vec<_> =
                BY_PROXY.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, s)| *s).collect();
            let key = name.replace("__", ".").to_ascii_lowercase();
            let fault = load(&less).unwrap_err();
            assert!(fault.contains(&key), "{key}: {fault}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_is_allowed() {
        for (key, bad, allowed) in [
            ("AUTH", "none", "local, proxy, oidc"),
            ("SECOND_PERSON_ABOVE", "1000000", "proxy or oidc"),
            ("SECOND_PERSON_ABOVE", "0", "allowed"),
            ("OIDC__ISSUER", "http://login.shop.test", "https://host/path"),
            ("PUBLIC_URL", "http://pay.shop.test", "https://host"),
            ("PUBLIC_URL", "https://pay.shop.test/console", "https://host"),
            ("PROXY__USER_HEADER", "x user", "A-Z"),
            ("PROXY__SECRET_FILE", "/run/short", "32 or more"),
            ("PROXY__SECRET_FILE", "/nowhere", "cannot be read"),
            ("PROXY__FROM", "10.0.0.0/33", "10.0.0.0/8"),
            ("ROLES__VIEWER", "a,", "1 to 255"),
        ] {
            let fault = load(&[(key, bad)]).unwrap_err();
            assert!(fault.contains(allowed), "{key} = {bad}: {fault}");
        }
    }

    const BY_OIDC: [(&str, &str); 6] = [
        ("AUTH", "oidc"),
        ("LISTEN", "0.0.0.0:9470"),
        ("PUBLIC_URL", "https://pay.shop.test"),
        ("OIDC__ISSUER", "https://login.shop.test/realms/pay"),
        ("OIDC__CLIENT_ID", "jenius-pay"),
        ("OIDC__CLIENT_SECRET_FILE", "/run/secret"),
    ];

    #[test]
    fn a_provider_needs_all_by_which_it_is_asked() {
        let console = load(&[&BY_OIDC[..], &[("SECOND_PERSON_ABOVE", "1000000")]].concat()).unwrap();
        let ConsoleAuth::Oidc(auth) = &console.auth else { panic!("no provider") };
        assert_eq!((auth.name_claim.as_str(), auth.groups_claim.as_str()), ("preferred_username", "groups"));
        assert_eq!(auth.scopes, ["openid", "profile", "email"]);
        assert_eq!(console.second_person_above, Some(1_000_000));
        assert!(!format!("{console:?}").contains(SECRET), "{console:?}");
        for (missing, (name, _)) in BY_OIDC.iter().enumerate().skip(2) {
            let less: Vec<_> =
                BY_OIDC.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, s)| *s).collect();
            let key = name.replace("__", ".").to_ascii_lowercase();
            let fault = load(&less).unwrap_err();
            assert!(fault.contains(&key), "{key}: {fault}");
        }
    }

    #[test]
    fn groups_give_roles() {
        let console = load(&[("ROLES__VIEWER", "staff"), ("ROLES__DECIDER", "leads,finance")]).unwrap();
        let of = |groups: &[&str]| console.roles_of(groups.iter().copied());
        assert_eq!(of(&["staff", "finance"]), [ConsoleRole::Viewer, ConsoleRole::Decider].into());
        assert!(of(&["others", ""]).is_empty());
    }
}
