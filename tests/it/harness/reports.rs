//! DOKU's notifications as a test words them itself: signed with the sandbox's code, never with the product's.

use super::{
    World, eventually, eventually_or, http,
    world::{CLIENT_ID, PATH, SECRET_KEY},
};
use doku_sandbox::signature::{self, SecretKey, SignatureInput, Stamp};
use serde_json::{Value, json};
use uuid::Uuid;

const STAMP: &str = "2026-01-02T03:04:05Z";

/// One notification, and how it is signed.
#[derive(Debug, Clone)]
pub struct Report {
    pub client_id: String,
    pub key: String,
    /// The path that is signed.
    pub signed_path: String,
    pub request_id: String,
    pub body: Vec<u8>,
}

impl Report {
    /// The default merchant's, of an amount as it is to stand in the JSON.
    pub fn of(invoice: &str, status: &str, amount: &str) -> Self {
        let body = format!(
            "{{\"order\":{{\"invoice_number\":{},\"amount\":{amount}}},\
             \"transaction\":{{\"status\":\"{status}\",\"new\":[1]}},\"channel\":{{\"id\":\"JENIUS\"}}}}",
            json!(invoice)
        );
        Self::with_body(body.into_bytes())
    }

    /// The same, about a request that it names: DOKU says so of other channels.
    pub fn about(request_id: &str, invoice: &str, status: &str) -> Self {
        let body = json!({
            "order": {"invoice_number": invoice, "amount": 50000},
            "transaction": {"status": status, "original_request_id": request_id}
        });
        Self::with_body(body.to_string())
    }

    pub fn with_body(body: impl Into<Vec<u8>>) -> Self {
        Self {
            client_id: CLIENT_ID.to_owned(),
            key: SECRET_KEY.to_owned(),
            signed_path: PATH.to_owned(),
            request_id: Uuid::new_v4().to_string(),
            body: body.into(),
        }
    }

    /// A success of the amount every order of the stories has.
    pub fn success(invoice: &str) -> Self {
        Self::of(invoice, "SUCCESS", "\"50000\"")
    }

    pub fn headers(&self) -> [(&'static str, String); 4] {
        let digest = signature::digest(&self.body);
        let signed = SignatureInput {
            client_id: &self.client_id,
            request_id: &self.request_id,
            stamp: Stamp::Request(STAMP),
            target: &self.signed_path,
            digest: Some(&digest),
        };
        [
            ("Client-Id", self.client_id.clone()),
            ("Request-Id", self.request_id.clone()),
            ("Request-Timestamp", STAMP.to_owned()),
            ("Signature", signature::sign(&signed, &SecretKey::new(&self.key))),
        ]
    }

    /// Posts it, and gives the answer's status.
    pub async fn post(&self, url: &str) -> reqwest::Result<u16> {
        let mut request = http().post(url);
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        Ok(request.body(self.body.clone()).send().await?.status().as_u16())
    }

    /// As a gateway of the user's own publishes it.
    pub fn event(&self) -> Value {
        gateways_event(
            self.headers().into_iter().map(|(name, value)| (name.to_owned(), json!(value))),
            &self.body,
        )
    }
}

/// What a gateway of the user's own publishes of a notification, in either form.
pub fn gateways_event(headers: impl Iterator<Item = (String, Value)>, body: &[u8]) -> Value {
    let headers: serde_json::Map<_, _> = headers.collect();
    json!({
        "specversion": "1.0", "id": Uuid::new_v4().to_string(), "source": "/gateway",
        "type": "jenius.notification.received.v1",
        "data": {"request_target": "/gateway/elsewhere", "headers": headers,
                 "body": String::from_utf8(body.to_vec()).unwrap()}
    })
}

impl World {
    /// Posts a notification to this world's ingress, at a path, as often as it takes to get an answer: a
    /// connection may be closed without one, and DOKU tries again.
    pub async fn post(&self, path: &str, report: &Report) -> u16 {
        let url = format!("{}{path}", self.ingress());
        eventually("an answer of the ingress", async || report.post(&url).await.ok()).await
    }

    /// The same, as often as it takes to be taken: so does DOKU while it is asked to come again.
    pub async fn notify(&self, report: &Report) {
        let taken = async || {
            let status = self.post(PATH, report).await;
            assert!([200, 503].contains(&status), "{status} to a good notification");
            (status == 200).then_some(())
        };
        eventually("a notification to be taken", taken).await;
    }

    /// Straight onto the queue.
    pub async fn queue(&self, event: &Value) {
        let body = event.to_string();
        let content_type = "application/cloudevents+json";
        self.broker.publish_to("notifications", "any", content_type, body.as_bytes()).await;
    }

    /// An order that DOKU took and whose customer never pays.
    pub async fn waiting(&self) -> String {
        let invoice = self.invoice();
        self.publish(&super::commands::payment_with(&invoice, "never_pays")).await;
        self.event(&invoice, "payment.accepted").await;
        invoice
    }

    /// Waits until at least so many notifications of an order are recorded: each as status, applied and reason.
    /// There are more where one was posted again.
    pub async fn notified(&self, invoice: &str, count: usize) -> Vec<Value> {
        let recorded = async || {
            let order = self.find_order(invoice).await?;
            Some(order["notifications"].as_array().unwrap().clone())
        };
        let what = || format!("{count} notifications of {invoice}");
        eventually_or(what, async || recorded().await.filter(|all| all.len() >= count)).await
    }

    /// Waits for an order's state.
    pub async fn state(&self, invoice: &str, state: &str) {
        let what = || format!("{invoice} to be {state}; told so far: {:?}", self.told(invoice));
        eventually_or(what, async || {
            self.find_order(invoice).await.filter(|order| order["state"] == state).map(drop)
        })
        .await;
    }
}
