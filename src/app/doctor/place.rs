//! Where a server is, without the password that leads to it.

use secrecy::{ExposeSecret, SecretString};
use std::{fmt, net::IpAddr};
use url::{Host, Url};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlace {
    pub text: String,
    /// The way to it leaves this machine.
    pub is_remote: bool,
}

impl ServerPlace {
    /// Of a URL: scheme, host, port and path.
    pub fn from_url(url: &SecretString) -> Self {
        let Ok(url) = Url::parse(url.expose_secret()) else {
            return Self { text: "a URL that cannot be read".to_owned(), is_remote: true };
        };
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        Self {
            text: format!("{}://{host}{port}{}", url.scheme(), url.path()),
            is_remote: match url.host() {
                Some(Host::Domain(name)) => is_remote(name),
                Some(Host::Ipv4(ip)) => !ip.is_loopback(),
                Some(Host::Ipv6(ip)) => !ip.is_loopback(),
                // A socket in the file system.
                None => false,
            },
        }
    }
}

/// The host of a scheme that the standard does not know is a name, an address too.
fn is_remote(name: &str) -> bool {
    let is_here = name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    // A percent sign begins the path of a socket.
    !(is_here || name == "localhost" || name.starts_with('%'))
}

impl fmt::Display for ServerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_where_and_no_password() {
        for (url, text, is_remote) in [
            ("postgres://u:hunter2@db.local:5433/pay?x=y", "postgres://db.local:5433/pay", true),
            ("postgres://u:hunter2@127.0.0.1/pay", "postgres://127.0.0.1/pay", false),
            ("postgres://[::1]:5/pay", "postgres://[::1]:5/pay", false),
            ("postgres://localhost/pay", "postgres://localhost/pay", false),
            ("postgres://%2Frun%2Fpostgresql/pay", "postgres://%2Frun%2Fpostgresql/pay", false),
            ("postgres:///pay", "postgres:///pay", false),
            ("https://api.doku.com", "https://api.doku.com:443/", true),
            ("hunter2", "a URL that cannot be read", true),
        ] {
            let expected = ServerPlace { text: text.to_owned(), is_remote };
            assert_eq!(ServerPlace::from_url(&SecretString::from(url)), expected, "{url}");
        }
    }
}
