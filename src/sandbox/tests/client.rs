//! A client of the sandbox, as a merchant would write it.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::signature::{self, SecretKey, SignatureInput, Stamp};
use super::super::*;

const RAW_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base_url: String,
    client_id: String,
    key: SecretKey,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Vec<u8>,
    target: String,
}

pub(super) fn payment_body(invoice: &str, cash_tag: &str) -> String {
    serde_json::json!({
        "order": {"invoice_number": invoice, "amount": "50000", "line_items": [
            {"name": "Ayam", "price": 40000, "quantity": 1}, {"name": "Roti", "price": 5000, "quantity": 2}]},
        "customer": {"name": "Canary Astari", "phone": "6281288910205"},
        "redirect_url": "https://test.com/redirect", "jenius_info": {"cash_tag": cash_tag},
    })
    .to_string()
}

impl Client {
    pub(super) fn new(sandbox: &Sandbox, client_id: &str, secret_key: &str) -> Self {
        Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            base_url: sandbox.base_url(),
            client_id: client_id.into(),
            key: SecretKey::new(secret_key),
        }
    }

    pub(super) fn headers(
        &self,
        request_id: &str,
        target: &str,
        body: Option<&str>,
    ) -> [(&'static str, String); 4] {
        let stamp = clock::stamp(clock::now());
        let digest = body.map(|body| signature::digest(body.as_bytes()));
        let signed = SignatureInput {
            client_id: &self.client_id,
            request_id,
            stamp: Stamp::Request(&stamp),
            target,
            digest: digest.as_deref(),
        };
        let signature = signature::sign(&signed, &self.key);
        [
            ("Client-Id", self.client_id.clone()),
            ("Request-Id", request_id.into()),
            ("Request-Timestamp", stamp),
            ("Signature", signature),
        ]
    }

    pub(super) async fn post(
        &self,
        target: &str,
        request_id: &str,
        body: String,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.http.post(format!("{}{target}", self.base_url));
        for (name, value) in self.headers(request_id, target, Some(&body)) {
            request = request.header(name, value);
        }
        Reply::read(request.body(body), target).await
    }

    pub(super) async fn pay(&self, invoice: &str, cash_tag: &str) -> Result<Reply, reqwest::Error> {
        self.post(PAYMENT_PATH, invoice, payment_body(invoice, cash_tag)).await
    }

    pub(super) async fn refund(
        &self,
        request_id: &str,
        invoice: &str,
        reason: &str,
    ) -> Result<Reply, reqwest::Error> {
        let order = serde_json::json!({"invoice_number": invoice, "amount": "50000", "reason": reason});
        self.post(REFUND_PATH, request_id, serde_json::json!({"order": order}).to_string()).await
    }

    /// `id` as it is to stand in the path.
    pub(super) async fn check(&self, id: &str) -> Result<Reply, reqwest::Error> {
        let target = format!("{CHECK_PATH}{id}");
        let mut request = self.http.get(format!("{}{target}", self.base_url));
        for (name, value) in self.headers(&Uuid::new_v4().to_string(), &target, None) {
            request = request.header(name, value);
        }
        Reply::read(request, &target).await
    }

    pub(super) async fn control(&self, path: &str, body: Option<&str>) -> Reply {
        let url = format!("{}{path}", self.base_url);
        let request = match body {
            Some(body) => self.http.post(url).body(body.to_owned()),
            None => self.http.get(url),
        };
        Reply::read(request, path).await.unwrap()
    }

    /// Every byte that a payment request gets back, and how the connection ended.
    pub(super) async fn raw_payment(&self, invoice: &str, cash_tag: &str) -> (Vec<u8>, std::io::Result<()>) {
        let body = payment_body(invoice, cash_tag);
        let mut text =
            format!("POST {PAYMENT_PATH} HTTP/1.1\r\nHost: doku\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in self.headers(invoice, PAYMENT_PATH, Some(&body)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let address = self.base_url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        let mut got = Vec::new();
        let end = tokio::time::timeout(RAW_WAIT_MAX, stream.read_to_end(&mut got)).await;
        let end = end.expect("the connection was left open").map(|_| ());
        (got, end)
    }

    /// Whether the answer's signature fits, with or without a digest.
    pub(super) fn trusts(&self, reply: &Reply, with_digest: bool) -> bool {
        let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
        let digest = signature::digest(&reply.body);
        let signed = SignatureInput {
            client_id: header("Client-Id").unwrap_or_default(),
            request_id: header("Request-Id").unwrap_or_default(),
            stamp: Stamp::Response(header("Response-Timestamp").unwrap_or_default()),
            target: &reply.target,
            digest: with_digest.then_some(digest.as_str()),
        };
        header("Signature").is_some_and(|given| signature::verify(&signed, &self.key, given))
    }
}

impl Reply {
    async fn read(request: reqwest::RequestBuilder, target: &str) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?.to_vec();
        Ok(Self { status, headers, body, target: target.into() })
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The member at `pointer`, as text; empty if there is none.
    pub(super) fn at(&self, pointer: &str) -> String {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match value.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}
