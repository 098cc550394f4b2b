//! The client against a server of odd bytes: what is sent once, what is in doubt, what is certain.

use super::*;
use crate::domain::{Time, ids::RequestId, money::Rupiah};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// 2026-01-02T03:04:05.678Z: signing drops the fraction.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Time {
        chrono::DateTime::parse_from_rfc3339("2026-01-02T03:04:05.678Z").unwrap().to_utc()
    }
}

/// What the server does with one request.
#[derive(Clone)]
enum Does {
    /// Writes these bytes and closes.
    Writes(Vec<u8>),
    Drops,
    Hangs,
    /// Signs its answer with this key.
    Answers {
        status: &'static str,
        body: &'static str,
        key: &'static str,
        digest: bool,
    },
}

/// A DOKU of bytes: one request a connection. It keeps every request as it came.
struct Server {
    base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, count) = (Arc::clone(&requests), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, does.clone(), Arc::clone(&seen)));
            }
        });
        Self { base_url, requests, connections, task }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, does: Does, seen: Arc<Mutex<Vec<String>>>) {
    let request = read_request(&mut socket).await;
    seen.lock().unwrap().push(request.clone());
    let bytes = match does {
        Does::Drops => return,
        Does::Hangs => return std::future::pending().await,
        Does::Writes(bytes) => bytes,
        Does::Answers { status, body, key, digest } => signed_answer(&request, status, body, key, digest),
    };
    let _ = socket.write_all(&bytes).await;
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

fn header_of(request: &str, name: &str) -> String {
    let line =
        request.lines().find(|line| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())));
    line.unwrap_or_else(|| panic!("no {name} in {request}")).split_once(':').unwrap().1.trim().to_owned()
}

fn target_of(request: &str) -> String {
    request.split(' ').nth(1).unwrap().to_owned()
}

fn signed_answer(request: &str, status: &str, body: &str, key: &str, with_digest: bool) -> Vec<u8> {
    let digest = digest(body.as_bytes());
    let signature = Signed {
        client_id: &header_of(request, "Client-Id"),
        request_id: &header_of(request, "Request-Id"),
        timestamp: Timestamp::Response("2026-01-02T03:04:06Z"),
        target: &target_of(request),
        digest: with_digest.then_some(digest.as_str()),
    }
    .sign(&keys(key));
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nResponse-Timestamp: 2026-01-02T03:04:06Z\r\nSignature: {signature}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn keys(key: &str) -> super::super::signature::AccountKeys {
    super::super::signature::AccountKeys { current: key.into(), previous: vec![] }
}

fn client(base_url: &str) -> Client<FixedClock> {
    let doku = config::Doku {
        environment: config::Environment::Sandbox,
        base_url: base_url.to_owned(),
        connect_timeout: Duration::from_millis(200),
        timeout: Duration::from_millis(600),
        notification_path: "/payments/notifications".to_owned(),
        previous_notification_paths: vec![],
        trust_response: false,
        match_request_id: true,
        response_signature: config::ResponseSignature::Required,
        snap: crate::config::SnapConfig::default(),
        requests_per_second: 0,
        concurrency: 4,
    };
    let merchant = config::MerchantConfig {
        client_id: "MCH-1".to_owned(),
        secret_key: "SK-1".into(),
        previous_secret_keys: vec!["SK-old".into()],
    };
    let merchants = BTreeMap::from([(MerchantName::default_account(), merchant)]);
    Client::new(&doku, Accounts::new(&merchants), FixedClock).unwrap()
}

const BODY: &str = r#"{ "kept" : "byte for byte" }"#;

fn request(base_url: &str) -> StoredRequest {
    StoredRequest {
        merchant: MerchantName::default_account(),
        kind: CommandKind::Payment,
        invoice_number: InvoiceNumber::parse("INV-1").unwrap(),
        amount: Rupiah::new(50_000).unwrap(),
        request_id: RequestId::parse("INV-1").unwrap(),
        client_id: "MCH-1".to_owned(),
        base_url: base_url.to_owned(),
        body: BODY.as_bytes().to_vec(),
        payment_body: Vec::new(),
    }
}

async fn send(server: &Server) -> SendFinding {
    client(&server.base_url).send(&request(&server.base_url)).await
}

async fn inquire(server: &Server, invoice: &str) -> InquiryFinding {
    let (merchant, invoice) = (MerchantName::default_account(), InvoiceNumber::parse(invoice).unwrap());
    let inquiry = Inquiry { merchant: &merchant, invoice_number: &invoice };
    client(&server.base_url).inquire(inquiry).await
}

const SUCCESS: &str = r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"internet_banking_payment":{"status":"SUCCESS"}}"#;
const REPORT: &str =
    r#"{"order":{"invoice_number":"INV-1","amount":50000},"transaction":{"status":"SUCCESS"}}"#;

fn accepted() -> SendFindingKind {
    SendFindingKind::Accepted { status: "SUCCESS".to_owned() }
}

#[tokio::test]
async fn a_send_carries_the_stored_bytes_timed_and_signed() {
    let server =
        Server::start(Does::Answers { status: "200 OK", body: SUCCESS, key: "SK-1", digest: true }).await;
    let learned = send(&server).await;
    assert_eq!((learned.kind, learned.http_status), (accepted(), Some(200)));
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert!(request.starts_with("POST /jenius-digital-banking/v2/ServiceRequestPayment HTTP/1.1\r\n"));
    assert!(request.ends_with(&format!("\r\n\r\n{BODY}")), "{request}");
    assert_eq!(header_of(request, "Request-Timestamp"), "2026-01-02T03:04:05Z");
    assert!(request.contains("\r\nContent-Type: application/json\r\n"), "{request}");
    let signed = Signed {
        client_id: &header_of(request, "Client-Id"),
        request_id: &header_of(request, "Request-Id"),
        timestamp: Timestamp::Request("2026-01-02T03:04:05Z"),
        target: "/jenius-digital-banking/v2/ServiceRequestPayment",
        digest: Some(&digest(BODY.as_bytes())),
    };
    assert_eq!((signed.client_id, signed.request_id), ("MCH-1", "INV-1"));
    assert_eq!(header_of(request, "Signature"), signed.sign(&keys("SK-1")));
}

#[tokio::test]
async fn an_answer_signed_by_a_previous_key_is_believed_and_by_another_is_not() {
    for (key, believed) in [("SK-old", true), ("SK-other", false)] {
        let server =
            Server::start(Does::Answers { status: "200 OK", body: SUCCESS, key, digest: true }).await;
        assert_eq!(send(&server).await.kind == accepted(), believed, "{key}");
    }
}

#[tokio::test]
async fn whatever_breaks_after_the_request_left_is_in_doubt_and_sent_once() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"order\":".to_vec();
    // Signed and right, but for its length.
    let body = format!("{SUCCESS}{}", " ".repeat(answer::BODY_BYTES_MAX)).leak();
    let long = Does::Answers { status: "200 OK", body, key: "SK-1", digest: true };
    let redirect =
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (name, does, status) in [
        ("dropped", Does::Drops, None),
        ("hangs", Does::Hangs, None),
        ("no HTTP", Does::Writes(b"SSH-2.0-x\r\n".to_vec()), None),
        ("cut in the headers", Does::Writes(b"HTTP/1.1 200 OK\r\nContent-".to_vec()), None),
        ("cut in the body", Does::Writes(cut), Some(200)),
        ("too long", long, Some(200)),
        ("redirected", Does::Writes(redirect.to_vec()), Some(307)),
    ] {
        let server = Server::start(does).await;
        let learned = send(&server).await;
        assert!(matches!(learned.kind, SendFindingKind::InDoubt { .. }), "{name}: {learned:?}");
        assert_eq!((learned.http_status, learned.health), (status, DokuHealth::Unwell), "{name}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.requests().len(), 1, "{name}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_does_not_repeat_a_send() {
    // It says that it keeps the connection, and resets it under the second request.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            read_request(&mut socket).await;
            count.fetch_add(1, Ordering::SeqCst);
            socket.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            read_request(&mut socket).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = client(&base_url);
    for made in 1..=2 {
        let learned = client.send(&request(&base_url)).await;
        assert!(matches!(learned.kind, SendFindingKind::InDoubt { .. }), "{learned:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(requests.load(Ordering::SeqCst), made);
    }
    server.abort();
}

#[tokio::test]
async fn a_refused_connection_is_not_acted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let learned = client(&base_url).send(&request(&base_url)).await;
    assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
    assert_eq!((learned.http_status, learned.health), (None, DokuHealth::Unwell));
}

#[tokio::test]
async fn a_host_nobody_knows_is_not_acted() {
    let base_url = "http://doku.invalid";
    let learned = client(base_url).send(&request(base_url)).await;
    assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_acted() {
    for says in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("https://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(says).await.unwrap();
            std::future::pending::<()>().await;
        });
        let learned = client(&base_url).send(&request(&base_url)).await;
        assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
        server.abort();
    }
}

#[tokio::test]
async fn a_request_made_for_another_account_or_host_is_not_sent() {
    let server =
        Server::start(Does::Answers { status: "200 OK", body: SUCCESS, key: "SK-1", digest: true }).await;
    let client = client(&server.base_url);
    let other_account = StoredRequest { client_id: "MCH-2".to_owned(), ..request(&server.base_url) };
    let other_host =
        StoredRequest { base_url: format!("{}/x", server.base_url), ..request(&server.base_url) };
    for stranded in [other_account, other_host] {
        let learned = client.send(&stranded).await;
        assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn retry_after_is_read_from_the_headers() {
    let busy = "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Server::start(Does::Writes(busy.into())).await;
    let learned = send(&server).await;
    assert!(matches!(learned.kind, SendFindingKind::NotActed { .. }), "{learned:?}");
    assert_eq!(learned.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_inquiry_signs_no_digest_and_believes_an_answer_with_or_without_one() {
    for digest in [true, false] {
        let server =
            Server::start(Does::Answers { status: "200 OK", body: REPORT, key: "SK-1", digest }).await;
        let learned = inquire(&server, "INV-1").await;
        let InquiryFindingKind::Reported(report) = learned.kind else { panic!("{learned:?}") };
        assert_eq!(report.word, "SUCCESS");
        let request = &server.requests()[0];
        assert!(request.starts_with("GET /orders/v1/status/INV-1 HTTP/1.1\r\n"), "{request}");
        let signed = Signed {
            client_id: "MCH-1",
            request_id: &header_of(request, "Request-Id"),
            timestamp: Timestamp::Request("2026-01-02T03:04:05Z"),
            target: "/orders/v1/status/INV-1",
            digest: None,
        };
        assert_eq!(header_of(request, "Signature"), signed.sign(&keys("SK-1")));
    }
}

#[tokio::test]
async fn a_number_that_needs_encoding_is_signed_as_it_is_sent() {
    let not_found = Does::Answers { status: "404 Not Found", body: "{}", key: "SK-1", digest: true };
    let server = Server::start(not_found).await;
    let learned = inquire(&server, "INV/2026?#%+").await;
    assert_eq!(learned.kind, InquiryFindingKind::NotFound { proves: false });
    let request = &server.requests()[0];
    assert_eq!(target_of(request), "/orders/v1/status/INV%2F2026%3F%23%25%2B");
    let signed = Signed {
        client_id: "MCH-1",
        request_id: &header_of(request, "Request-Id"),
        timestamp: Timestamp::Request("2026-01-02T03:04:05Z"),
        target: &target_of(request),
        digest: None,
    };
    assert_eq!(header_of(request, "Signature"), signed.sign(&keys("SK-1")));
    assert_eq!(inquire(&server, "INV-1").await.kind, InquiryFindingKind::NotFound { proves: true });
}

#[tokio::test]
async fn an_inquiry_that_fails_teaches_nothing() {
    let wrong = Does::Answers { status: "404 Not Found", body: "{}", key: "SK-other", digest: true };
    for does in [Does::Drops, Does::Hangs, wrong] {
        let server = Server::start(does).await;
        let learned = inquire(&server, "INV-1").await;
        assert!(matches!(learned.kind, InquiryFindingKind::Failed { .. }), "{learned:?}");
    }
}

mod accounts;
