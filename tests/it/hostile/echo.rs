//! A DOKU that repeats the customer's data and our keys wherever it can: none of it is told on, stored
//! beside the request, or logged at any level.

use super::Thrown;
use crate::harness::{
    World,
    child::Service,
    eventually_or, payment, refund,
    world::{CLIENT_ID, SECRET_KEY},
};
use doku_sandbox::signature::{self, SecretKey, SignatureInput, Stamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PRIVATE: &str =
    "Astari ASTARI <astari@doku.com> 081288910205 $admin SK-canary-default-key sk-canary-default-key";
/// The same, as somebody else may write it. None of it is one of the canaries as they are.
const OTHERWISE: &str =
    "Pak ASTARI, +62 812-8891-0205 (6281288910205, 0812 8891 0205, 812.8891.0205), astari, tag admin";
const STAMP: &str = "2026-01-02T03:04:05Z";

/// Status, body (with the invoice number for `INV`), whether it is signed.
fn answers() -> Vec<(u16, String, bool)> {
    let status = |word: &str| {
        format!(
            r#"{{"order":{{"invoice_number":"INV","amount":"50000"}},"internet_banking_payment":{{"status":"{word}"}}}}"#
        )
    };
    vec![
        (400, format!(r#"{{"error":{{"code":"invalid_amount","message":"{PRIVATE}"}}}}"#), false),
        (400, format!(r#"{{"error":{{"code":"{PRIVATE}","message":"no"}}}}"#), false),
        (400, r#"{"error":{"code":"081288910205","message":"no"}}"#.to_owned(), false),
        (400, r#"{"error":{"code":"SK-canary-default-key","message":"no"}}"#.to_owned(), false),
        (400, r#"{"error":{"code":"Astari","message":"no"}}"#.to_owned(), true),
        (400, format!(r#"{{"error":{{"code":"no","message":"{OTHERWISE}"}}}}"#), true),
        (422, format!(r#"{{"error_messages":["{PRIVATE}"],"{PRIVATE}":"{PRIVATE}"}}"#), false),
        (400, format!(r#"{{"message":["{PRIVATE}","x"]}}"#), true),
        (200, status(PRIVATE), true),
        (200, status("Astari"), true),
        (200, status("081288910205"), true),
        (409, status(PRIVATE), true),
        (500, format!("<html>{PRIVATE}</html>"), false),
        (503, PRIVATE.to_owned(), false),
        (302, PRIVATE.to_owned(), false),
        (404, format!(r#"{{"error":"{PRIVATE}","path":"{PRIVATE}"}}"#), false),
        (200, format!(r#"{{"{PRIVATE}":1,"#), true),
        // Taken and paid: its refund is declined with the payment's customer.
        (200, status("SUCCESS"), true),
    ]
}

struct Asked {
    request_id: String,
    target: String,
    is_check: bool,
}

async fn asked(stream: &mut TcpStream) -> Option<Asked> {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let size = stream.read(&mut piece).await.ok().filter(|size| *size > 0)?;
        read.extend_from_slice(&piece[..size]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|l| {
                l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
            })
        };
        if body.len() >= header("Content-Length").map_or(0, |length| length.parse().unwrap()) {
            let (request_id, target) = (header("Request-Id")?.to_owned(), head.split(' ').nth(1)?.to_owned());
            return Some(Asked { request_id, target, is_check: head.starts_with("GET") });
        }
    }
}

/// Of the invoice whose number ends in `-N`: the Nth answer, or what Check Status says.
fn said(invoice: &str, is_check: bool) -> (u16, String, bool) {
    let nth: usize = invoice.rsplit('-').next().unwrap().parse().unwrap();
    let (status, body, is_signed) = answers()[nth].clone();
    if !is_check {
        return (status, body.replace("INV", invoice), is_signed);
    }
    let word = match nth {
        last if last + 1 == answers().len() => "SUCCESS",
        even if even.is_multiple_of(2) => PRIVATE,
        _ => "PENDING",
    };
    let order = format!(r#""order":{{"invoice_number":"{invoice}","amount":"50000"}}"#);
    (200, format!(r#"{{{order},"transaction":{{"status":"{word}"}}}}"#), true)
}

/// Answers the payment whose invoice number ends in `-N` with the Nth answer, and inquiries with private words.
async fn answer(mut stream: TcpStream) {
    while let Some(asked) = asked(&mut stream).await {
        let invoice = asked.target.rsplit('/').next().filter(|_| asked.is_check).unwrap_or(&asked.request_id);
        let (status, body, is_signed) = if asked.target.contains("Refund") {
            (400, format!(r#"{{"error":{{"code":"no","message":"{PRIVATE} {OTHERWISE}"}}}}"#), true)
        } else {
            said(invoice, asked.is_check)
        };
        let digest = signature::digest(body.as_bytes());
        let signed = SignatureInput {
            client_id: CLIENT_ID,
            request_id: &asked.request_id,
            stamp: Stamp::Response(STAMP),
            target: &asked.target,
            digest: Some(&digest),
        };
        let seal = if is_signed {
            format!("Signature: {}\r\n", signature::sign(&signed, &SecretKey::new(SECRET_KEY)))
        } else {
            String::new()
        };
        let text = format!(
            "HTTP/1.1 {status} {PRIVATE}\r\nResponse-Timestamp: {STAMP}\r\nX-Echo: {PRIVATE}\r\nLocation: http://127.0.0.1:9/{}\r\n\
             {seal}Content-Length: {}\r\n\r\n{body}",
            "SK-canary-default-key",
            body.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_doku_repeats_of_the_customer_or_our_keys_gets_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let setting = World::with().set("BREAKER__FAILURES", 1000).set("RETRY__PAYMENT_MAX_ELAPSED_MS", 3000);
    let mut world = setting.without_service().build().await;
    world.settings.insert("DOKU_BASE_URL".to_owned(), url);
    world.settings.insert("RUST_LOG".to_owned(), "debug".to_owned());
    let service = Service::start(&world).await;
    let count = answers().len();
    let invoices: Vec<String> = (0..count).map(|nth| format!("{}-{nth}", world.invoice())).collect();
    for invoice in &invoices {
        world.publish(&payment(invoice)).await;
    }
    const ASKED: &str = "SELECT count(DISTINCT command_key) FROM attempts WHERE kind = 'send'";
    const INQUIRED: &str = "SELECT count(DISTINCT command_key) FROM attempts WHERE kind = 'inquiry'";
    const DECLINED: &str = "SELECT count(*) FROM commands WHERE outcome = 'declined'";
    let all = async || {
        let sent = world.database.count(ASKED).await == i64::try_from(count).unwrap();
        let inquired = world.database.count(INQUIRED).await >= 3;
        (sent && inquired && world.database.count(DECLINED).await == 8).then_some(())
    };
    eventually_or(|| service.log(), all).await;
    let paid = invoices.last().unwrap();
    world.event(paid, "order.paid").await;
    world.publish(&refund(paid)).await;
    let declined = world.event(paid, "refund.declined").await;
    assert!(declined.data("error")["message"].as_str().unwrap().starts_with("*** *** "), "{declined:?}");
    for page in ["metrics", "readyz"] {
        crate::harness::world::assert_no_canary(page, &service.page(page).await);
    }
    crate::harness::world::assert_no_canary("the log", &service.log());
    assert!(!service.log().contains("panicked"), "{}", service.log());
    assert_eq!(world.broker.depth("dead").await, 0);
    let log = service.log();
    for form in ["812-8891-0205", "6281288910205", "0812 8891 0205", "812.8891.0205", "tag admin"] {
        assert!(!log.contains(form), "{form} in the log");
        assert!(world.events(|event| event.body.to_string().contains(form)).is_empty(), "{form} in an event");
        let attempt = world.database.find("attempts", "detail", "text", &[form]).await;
        assert!(attempt.is_none(), "{attempt:?}");
    }
    drop(service);
    world.end().await;
    serving.abort();
    let became = "9 declined with masked words, the rest in doubt".to_owned();
    Thrown { what: "answers that repeat customers and keys", count, became, worst: None }.prove();
}
