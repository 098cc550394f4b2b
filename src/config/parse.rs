//! What a value may be. A refusal says what is allowed and never repeats the value.

use super::{Environment, ResponseSignature, RsaKey, TokenRule};
use crate::domain::{
    command::CommandKind,
    ids::{CommandSource, MerchantName},
    senders::Sender,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};
use url::{Host, Url};

/// What is wrong and what is allowed.
pub type Parsed<T> = Result<T, String>;

/// No duration is configured longer.
pub const DURATION_MAX_MS: u64 = 30 * 24 * 3600 * 1000;
/// No text is longer, whatever its key.
const TEXT_MAX: usize = 4096;
/// At most this many characters of a parameter's name are shown.
const PARAMETER_CHARS_MAX: usize = 40;

pub fn whole_number<T>(allowed: RangeInclusive<T>) -> impl Fn(&str) -> Parsed<T>
where
    T: FromStr + PartialOrd + Display,
{
    move |text| match text.trim().parse::<T>() {
        Ok(number) if allowed.contains(&number) => Ok(number),
        Ok(_) => Err(format!("out of range; allowed: {} to {}", allowed.start(), allowed.end())),
        Err(_) => {
            Err(format!("not a whole number in range; allowed: {} to {}", allowed.start(), allowed.end()))
        }
    }
}

pub fn millis(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<Duration> {
    let number = whole_number(allowed);
    move |text| number(text).map(Duration::from_millis).map_err(|e| format!("{e} milliseconds"))
}

pub fn number(allowed: RangeInclusive<f64>) -> impl Fn(&str) -> Parsed<f64> {
    move |text| match text.trim().parse::<f64>() {
        // NaN is in no range.
        Ok(number) if allowed.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "not a number in range; allowed: {:.1} to {:.1}, with a point",
            allowed.start(),
            allowed.end()
        )),
    }
}

pub fn time_zone(text: &str) -> Parsed<chrono_tz::Tz> {
    text.parse().map_err(|_| "no time zone; allowed: an IANA name, as Asia/Jakarta or UTC".to_owned())
}

pub fn flag(text: &str) -> Parsed<bool> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("neither true nor false; allowed: true, false".to_owned()),
    }
}

pub fn environment(text: &str) -> Parsed<Environment> {
    match text.trim() {
        "sandbox" => Ok(Environment::Sandbox),
        "production" => Ok(Environment::Production),
        _ => Err("no such environment; allowed: sandbox, production".to_owned()),
    }
}

pub fn response_signature(text: &str) -> Parsed<ResponseSignature> {
    match text.trim() {
        "required" => Ok(ResponseSignature::Required),
        "tls_only" => Ok(ResponseSignature::TlsOnly),
        _ => Err("no such rule; allowed: required, tls_only".to_owned()),
    }
}

pub fn token_rule(text: &str) -> Parsed<TokenRule> {
    match text.trim() {
        "any" => Ok(TokenRule::Any),
        "issued" => Ok(TokenRule::Issued),
        _ => Err("no such rule; allowed: any, issued".to_owned()),
    }
}

/// DOKU's public key, PEM.
pub fn rsa_key(text: &str) -> Parsed<RsaKey> {
    RsaKey::read(text).map_err(|problem| {
        format!("{problem}; allowed: a file with an RSA key as PEM: -----BEGIN PUBLIC KEY-----")
    })
}

pub fn listen(text: &str) -> Parsed<SocketAddr> {
    text.trim()
        .parse()
        .map_err(|_| "not an address; allowed: IP:port, as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// The first word of exchanges and queues: AMQP names hold 255 bytes.
pub fn prefix(text: &str) -> Parsed<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not a prefix; allowed: 1 to 64 of A-Z, a-z, 0-9, `.`, `-`, `_`".to_owned())
    }
}

/// A user of the broker and the source it speaks for, as `checkout=/checkout`; with `;payment` or `;refund` for
/// that kind of command alone, and with `;NAME` for each merchant it speaks for. A user's name has at most 255
/// bytes: a message can carry no more.
pub fn sender(text: &str) -> Parsed<Sender> {
    read_sender(text.trim()).ok_or_else(|| {
        "not a sender; allowed: user=source, as checkout=/checkout, and after it ;payment or ;refund and \
         ;NAME for each merchant"
            .to_owned()
    })
}

fn read_sender(text: &str) -> Option<Sender> {
    let mut words = text.split(';');
    let (user, source) = words.next()?.split_once('=')?;
    let fits = (1..=255).contains(&user.len()) && !user.chars().any(|c| c.is_control() || c.is_whitespace());
    fits.then_some(())?;
    let source = CommandSource::parse(source).ok()?;
    let mut sender = Sender { user: user.to_owned(), source, kind: None, merchants: Vec::new() };
    for word in words {
        let kind = match word {
            "payment" => CommandKind::Payment,
            "refund" => CommandKind::Refund,
            name => {
                sender.merchants.push(MerchantName::parse(name).ok()?);
                continue;
            }
        };
        // Both at once is none of them.
        sender.kind.replace(kind).is_none().then_some(())?;
    }
    Some(sender)
}

/// The path of a notification URL: it is signed, so it is compared byte by byte.
pub fn path(text: &str) -> Parsed<String> {
    let fits = text.starts_with('/')
        && text.len() <= TEXT_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not a path; allowed: visible ASCII that starts with `/`, without query and fragment".to_owned())
    }
}

/// It travels in a header.
pub fn client_id(text: &str) -> Parsed<String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("not a Client-Id; allowed: 1 to 128 visible ASCII characters".to_owned())
    }
}

/// DOKU's keys are visible ASCII. Another character came in by copying, and every signature would be wrong by it.
pub fn secret_key(text: &str) -> Parsed<String> {
    let allowed = "allowed: visible ASCII characters alone (! to ~)";
    // The one wrong character is shown, and its position: neither is a part of the key.
    if let Some((at, wrong)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_graphic()) {
        return Err(format!("not a key: character {} is U+{:04X}; {allowed}", at + 1, u32::from(wrong)));
    }
    if (1..=TEXT_MAX).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("not a key: it has {} characters, 1 to {TEXT_MAX} are possible; {allowed}", text.len()))
    }
}

/// Parameters that are used as PostgreSQL's own clients use them; `options[name]` too.
const DATABASE_PARAMETERS: [&str; 10] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "hostaddr", "port", "dbname", "user", "password"];
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Every part of it is used, or refused: what would be ignored in silence (a parameter of another client, a second host) is
/// something that its author relies on.
pub fn database_url(text: &str) -> Parsed<String> {
    if text.contains('#') {
        return Err("it has a `#`; allowed: `%23`, in a password too".to_owned());
    }
    let url = parse_url(text).filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let Some(url) = url else {
        return Err(
            "not a PostgreSQL URL; allowed: postgres://user:password@host:port/database, and in a user or \
                    password `%40` for `@`, `%2F` for `/`, `%3A` for `:`, `%3F` for `?`"
                .to_owned(),
        );
    };
    if url.host_str().is_some_and(|host| host.contains(',')) {
        return Err(ONE_HOST.to_owned());
    }
    let mut unknown = Vec::new();
    for (name, value) in url.query_pairs() {
        if name == "options" || name.starts_with("options[") && name.ends_with(']') {
            continue;
        }
        if !DATABASE_PARAMETERS.contains(&name.as_ref()) {
            unknown.push(if may_be_shown(text, &name) { format!("`{name}`") } else { NOT_SHOWN.to_owned() });
        } else if name == "sslmode" && !SSL_MODES.contains(&value.as_ref()) {
            return Err(format!("no such sslmode; allowed: {}", SSL_MODES.join(", ")));
        } else if matches!(name.as_ref(), "host" | "hostaddr" | "port") && value.contains(',') {
            return Err(ONE_HOST.to_owned());
        } else if name == "port" && value.parse::<u16>().is_err() {
            return Err("no such port; allowed: 1 to 65535".to_owned());
        }
    }
    if unknown.is_empty() {
        return Ok(text.to_owned());
    }
    let allowed = DATABASE_PARAMETERS.join(", ");
    Err(format!("it has a parameter that is not used: {}; allowed: {allowed}, options", unknown.join(", ")))
}

const NOT_SHOWN: &str = "one that is not shown (in a password, `?` is written `%3F`)";
const ONE_HOST: &str =
    "several hosts; allowed: one address that leads to the primary (RUNBOOK, Several database hosts)";

/// Whether the name of a URL's parameter may be: behind a `?` in a password stands the rest of it, and then an `@` follows, or
/// there is no `name=`.
fn may_be_shown(text: &str, name: &str) -> bool {
    let Some((_, query)) = text.split_once('?') else { return false };
    name.len() <= PARAMETER_CHARS_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        && !query.contains('@')
        && query.split('&').any(|one| one.starts_with(&format!("{name}=")))
}

/// What a URL of the broker may say after `?`.
const AMQP_PARAMETERS: [&str; 5] =
    ["auth_mechanism", "channel_max", "connection_timeout", "frame_max", "heartbeat"];

pub fn amqp_url(text: &str) -> Parsed<String> {
    let url = parse_url(text)
        .filter(|url| {
            matches!(url.scheme(), "amqp" | "amqps") && url.host_str().is_some_and(|h| !h.is_empty())
        })
        .filter(|url| url.fragment().is_none());
    let Some(url) = url else {
        return Err("not an AMQP URL; allowed: amqp://user:password@host:port/vhost, or amqps; in user and \
                    password `#` is written %23, `/` %2F, `?` %3F, `@` %40, `,` %2C"
            .to_owned());
    };
    // What the client does not know it would ignore, a parameter that is to make TLS safer too.
    match url.query_pairs().find(|(name, _)| !AMQP_PARAMETERS.contains(&name.as_ref())) {
        None => Ok(text.to_owned()),
        Some((name, _)) => {
            let shown = if may_be_shown(text, &name) { format!(" `{name}`") } else { String::new() };
            Err(format!(
                "unknown parameter{shown}; allowed: {}; an authority of your own is amqp.ca_file",
                AMQP_PARAMETERS.join(", ")
            ))
        }
    }
}

/// Certificates of authorities, PEM.
pub fn authorities(text: &str) -> Parsed<String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let (good, bad) = certificates
        .map_or((0, 1), |certificates| RootCertStore::empty().add_parsable_certificates(certificates));
    if good > 0 && bad == 0 {
        Ok(text.to_owned())
    } else {
        Err("no certificates; allowed: a file with one or more, each as PEM: -----BEGIN CERTIFICATE-----"
            .to_owned())
    }
}

/// Nothing but a scheme, a host and perhaps a port.
pub fn has_only_a_host(url: &Url) -> bool {
    url.host_str().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Without its trailing slash. A path of its own would not be the one that is signed.
pub fn base_url(text: &str) -> Parsed<String> {
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && has_only_a_host(url);
    if parse_url(text).is_some_and(|url| fits(&url)) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("not a base URL; allowed: https://host:port (http outside production), nothing after it"
            .to_owned())
    }
}

/// The host of DOKU's production, as the specification names it.
const PRODUCTION_HOST: &str = "api.doku.com";

/// Whether real money is behind it.
pub fn is_production(base_url: &str) -> bool {
    parse_url(base_url)
        .is_some_and(|url| url.host_str().is_some_and(|host| host.trim_end_matches('.') == PRODUCTION_HOST))
}

/// Whether the traffic can be read and changed on the way.
pub fn is_open(base_url: &str) -> bool {
    let Some(url) = parse_url(base_url) else { return false };
    let stays_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !stays_here
}

/// Whether two URLs name the same place, for any user.
pub fn same_but_for_its_user(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        let mut url = parse_url(text)?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url)
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

pub fn parse_url(text: &str) -> Option<Url> {
    // `url` drops spaces and line breaks in silence; who uses the text later would not.
    if text.len() > TEXT_MAX || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    Url::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ignored_is_refused_by_its_name_alone() {
        for (url, named) in [
            ("postgres://u:p@h/d?sslpassword=S3CRET", "`sslpassword`"),
            ("postgres://u:p@h/d?cacertfile=/S3CRET", "`cacertfile`"),
            ("postgres://u:p@h/d?target_session_attrs=S3CRET", "`target_session_attrs`"),
            ("postgres://u:p@h/d?application_name=S3CRET&sslmode=require", "`application_name`"),
            ("postgres://u:S3CRET@h/d?sslmode=allow", "sslmode"),
            ("postgres://u:S3CRET@a,b/d", "one address"),
            ("postgres:///d?user=u&password=S3CRET&host=a,b", "one address"),
            ("postgres://u:S3C#RET@h/d", "%23"),
            ("postgres://u:S3CRET@h/d?port=x", "port"),
            ("amqp://u:S3CRET@h/d", "not a PostgreSQL URL"),
            ("postgres://u?S3CRET", "not shown"),
            ("postgres://u:12?s3c_ret@h/d", "%3F"),
            ("postgres://u:12?s3c_ret=@h/d", "%3F"),
        ] {
            let problem = database_url(url).unwrap_err();
            assert!(problem.contains(named) && !problem.to_uppercase().contains("S3C"), "{url}: {problem}");
        }
    }

    #[test]
    fn what_is_used_is_allowed() {
        for url in [
            "postgres://u:p@h:5432/d",
            "postgresql://u@[::1]:5432/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres:///d?host=/run/postgresql&user=u&password=p",
            "postgres://u@h/d?options=-c%20search_path%3Dpay&options[work_mem]=8MB",
        ] {
            assert_eq!(database_url(url).as_deref(), Ok(url));
        }
    }
}
