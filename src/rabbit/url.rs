//! The broker's URL: where it is, and who we are there. It is never shown: it holds the password.

use super::connection::{CONNECT_LIMIT, HEARTBEAT_SECONDS};
use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};

/// A URL that names no broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("amqp.url: amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://; the virtual host `/` is `%2f`")]
pub struct BadUrl;

/// The nodes of one broker.
pub(super) fn read_all(urls: &[SecretString]) -> Result<Vec<AMQPUri>, BadUrl> {
    let nodes: Vec<AMQPUri> = urls.iter().map(|url| read(url.expose_secret())).collect::<Result<_, _>>()?;
    if nodes.is_empty() { Err(BadUrl) } else { Ok(nodes) }
}

pub(super) fn host(node: &AMQPUri) -> String {
    format!("{}:{}", node.authority.host, node.authority.port)
}

/// Hosts, ports and virtual host, for a person.
pub(super) fn place(nodes: &[AMQPUri]) -> String {
    let hosts: Vec<String> = nodes.iter().map(host).collect();
    let vhost = nodes.first().map_or("/", |node| &node.vhost);
    format!("{}, virtual host {vhost}", hosts.join(" or "))
}

/// lapin's own reading, except: the virtual host of a URL that ends in `/` is `/` and not the empty
/// one; an IPv6 address is not taken for `localhost`; heartbeats and frames are ours to choose.
fn read(text: &str) -> Result<AMQPUri, BadUrl> {
    const VHOST_BYTES_MAX: usize = 255;
    let mut uri: AMQPUri = text.parse().map_err(|_| BadUrl)?;
    let url: url::Url = text.parse().map_err(|_| BadUrl)?;
    match url.host() {
        Some(url::Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(url::Host::Domain(_) | url::Host::Ipv4(_)) => {}
        None => return Err(BadUrl),
    }
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    if uri.vhost.len() > VHOST_BYTES_MAX {
        return Err(BadUrl);
    }
    uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
    uri.query.connection_timeout = u64::try_from(CONNECT_LIMIT.as_millis()).ok();
    uri.query.frame_max = None;
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_and_virtual_host() {
        let of = |text: &str| read(text).map(|u| (u.authority.host, u.authority.port, u.vhost));
        let expect = |host: &str, port, vhost: &str| Ok((host.to_owned(), port, vhost.to_owned()));
        assert_eq!(of("amqp://h"), expect("h", 5672, "/"));
        assert_eq!(of("amqp://h/"), expect("h", 5672, "/"));
        assert_eq!(of("amqp://h:1/%2f"), expect("h", 1, "/"));
        assert_eq!(of("amqps://u:p%40@h/shop"), expect("h", 5671, "shop"));
        assert_eq!(of("amqp://[::1]:5/x"), expect("::1", 5, "x"));
        assert_eq!(of("amqp://10.0.0.7:5/x"), expect("10.0.0.7", 5, "x"));
        for bad in ["", "h:5672", "http://h", "amqp:h", "amqp://", "amqp://h:99999"] {
            assert_eq!(of(bad), Err(BadUrl), "{bad:?}");
        }
    }

    #[test]
    fn the_limits_are_ours_whatever_the_url_says() {
        let uri = read("amqp://h?heartbeat=0&frame_max=1&connection_timeout=0").unwrap();
        assert_eq!(uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!((uri.query.frame_max, uri.query.connection_timeout), (None, Some(5_000)));
    }
}
