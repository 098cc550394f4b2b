//! What only the management plugin tells, for `doctor`: how many members a queue has, and whether a policy ends
//! its messages early. Nothing depends on it: if it does not answer, `doctor` reports that, and all else goes on.
//!
//! It is asked where RabbitMQ puts it: at the port of `amqp.url` + 10,000, as that user, with TLS where the URL
//! has it.

use crate::rabbit::{connection::Broker, url::host};
use lapin::uri::{AMQPScheme, AMQPUri};
use reqwest::{Certificate, Client, StatusCode};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const PORT_APART: u16 = 10_000;
/// A queue's page is a few kilobytes.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;
const MESSAGE_TTL: &str = "message-ttl";

/// A queue, as the management plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedQueue {
    pub name: String,
    pub members: usize,
    /// Nodes where a member is stopped.
    pub stopped: Vec<String>,
    /// A policy ends its messages after a while.
    pub has_message_ttl: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Nodes of the cluster; `None`: this user may not see them.
    pub nodes: Option<usize>,
    pub queues: Vec<ManagedQueue>,
}

#[derive(Deserialize)]
#[serde(try_from = "FirstOfEach")]
struct Page {
    members: Vec<String>,
    online: Option<Vec<String>>,
    effective_policy_definition: serde_json::Value,
}

/// An object whose keys may come twice. RabbitMQ 3 sends what it has just looked up of a queue, and after it the same
/// keys from its last statistics where these differ.
struct FirstOfEach(serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for FirstOfEach {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FirstKeys;
        impl<'de> Visitor<'de> for FirstKeys {
            type Value = FirstOfEach;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<FirstOfEach, A::Error> {
                let mut first = serde_json::Map::new();
                while let Some((key, value)) = entries.next_entry()? {
                    first.entry::<String>(key).or_insert(value);
                }
                Ok(FirstOfEach(first))
            }
        }
        from.deserialize_map(FirstKeys)
    }
}

impl TryFrom<FirstOfEach> for Page {
    type Error = serde_json::Error;

    fn try_from(FirstOfEach(mut keys): FirstOfEach) -> Result<Self, Self::Error> {
        let mut take = |key| keys.remove(key).unwrap_or_default();
        Ok(Self {
            members: serde_json::from_value::<Option<_>>(take("members"))?.unwrap_or_default(),
            online: serde_json::from_value(take("online"))?,
            effective_policy_definition: take("effective_policy_definition"),
        })
    }
}

impl Broker {
    /// What the first node that answers tells; an error says why none does.
    pub async fn managed(&self) -> Result<Managed, String> {
        let mut client = Client::builder().timeout(ANSWER_LIMIT).redirect(reqwest::redirect::Policy::none());
        if let Some(authorities) = &self.tls().cert_chain {
            let read = Certificate::from_pem_bundle(authorities.as_bytes()).map_err(|e| e.to_string())?;
            client = read.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        let client = client.build().map_err(|e| e.to_string())?;
        let mut faults = Vec::new();
        for node in self.nodes() {
            match self.ask(&client, &node).await {
                Ok(managed) => return Ok(managed),
                Err(fault) => faults.push(format!("{}: {fault}", host(&node))),
            }
        }
        Err(faults.join("; "))
    }

    async fn ask(&self, client: &Client, node: &AMQPUri) -> Result<Managed, String> {
        let mut queues = Vec::new();
        for queue in self.names().queues() {
            let path = ["queues", &node.vhost, queue.name];
            if let Some(page) = get::<Page>(client, node, &path).await? {
                let has_message_ttl = page.effective_policy_definition.get(MESSAGE_TTL).is_some();
                let (name, members) = (queue.name.to_owned(), page.members.len());
                let mut stopped = page.members;
                stopped.retain(|node| page.online.as_ref().is_some_and(|online| !online.contains(node)));
                queues.push(ManagedQueue { name, members, stopped, has_message_ttl });
            }
        }
        let nodes = get::<Vec<serde_json::Value>>(client, node, &["nodes"]).await;
        Ok(Managed { nodes: nodes.ok().flatten().map(|nodes| nodes.len()), queues })
    }
}

/// `None`: there is no such thing.
async fn get<T: for<'de> Deserialize<'de>>(
    client: &Client,
    node: &AMQPUri,
    path: &[&str],
) -> Result<Option<T>, String> {
    let scheme = match node.scheme {
        AMQPScheme::AMQP => "http",
        AMQPScheme::AMQPS => "https",
    };
    let port = node.authority.port.checked_add(PORT_APART).ok_or("its port would be no port")?;
    let mut url = url::Url::parse(&format!("{scheme}://localhost/api")).map_err(|e| e.to_string())?;
    url.set_host(Some(&bracketed(&node.authority.host))).map_err(|e| e.to_string())?;
    url.set_port(Some(port)).map_err(|()| "its port would be no port")?;
    url.path_segments_mut().map_err(|()| "no path")?.extend(path);
    let user = &node.authority.userinfo;
    let asked = client.get(url).basic_auth(&user.username, Some(&user.password)).send().await;
    // The URL holds no secret, and is long.
    let answer =
        asked.map_err(|e| format!("port {port} does not answer: {}", innermost(&e.without_url())))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(format!("port {port} answers {status}")),
    }
    if answer.content_length().is_some_and(|length| length > PAGE_BYTES_MAX) {
        return Err(format!("port {port} answers too much"));
    }
    let body = answer.bytes().await.map_err(|e| innermost(&e.without_url()))?;
    serde_json::from_slice(&body).map(Some).map_err(|_| format!("port {port} answers no JSON of RabbitMQ"))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The cause, without what it was the cause of.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_counts_before_what_the_statistics_repeat() {
        let page = br#"{"members":["a","b"],"online":["a"],"arguments":{},"online":["a","b"],"messages":0}"#;
        let page: Page = serde_json::from_slice(page).unwrap();
        assert_eq!((page.members.len(), page.online), (2, Some(vec!["a".to_owned()])));
        // A classic queue.
        let page: Page = serde_json::from_slice(br#"{"node":"a"}"#).unwrap();
        assert_eq!((page.members.len(), page.online), (0, None));
        serde_json::from_slice::<Page>(br#"{"members":7}"#).err().unwrap();
    }
}
