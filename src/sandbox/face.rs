//! The sandbox for a person who tries the product in a browser: the customer's app, in which payments wait for an answer, and
//! the ledger with the misbehaviour as forms. It plays for one person on one machine.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use url::form_urlencoded;

use super::answer;
use super::customer;
use super::ledger::{Charge, Ledger, TransactionStatus};
use super::switch::{Faults, Switch};
use super::world::World;

const HTML: &str = "text/html; charset=utf-8";
/// The latest of each list.
const ROWS: usize = 50;
const STYLE: &str = ":root{color-scheme:light dark;--line:#8885;--ground:#fff;--ink:#1a2026;--quiet:#56626e;--accent:#0b6a75;--on:#fff}\
    @media(prefers-color-scheme:dark){:root{--ground:#12161a;--ink:#e6eaee;--quiet:#9aa6b2;--accent:#6cc5cf;--on:#08292d}}\
    body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:760px;padding:16px;background:var(--ground);color:var(--ink)}h1{font-size:24px}h2{font-size:17px;margin-top:32px}\
    a{color:var(--accent)}nav{display:flex;gap:8px 20px;flex-wrap:wrap;border-bottom:1px solid var(--line);padding-bottom:12px}\
    .quiet{color:var(--quiet)}.pay,.card{border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:0 0 12px}\
    .pay p{margin:0 0 10px;overflow-wrap:anywhere}.pay strong{display:block;font-size:26px}\
    button,input{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:8px;padding:8px 14px;margin:0 4px 6px 0}\
    button{cursor:pointer}button.main{background:var(--accent);border-color:var(--accent);color:var(--on);font-weight:600}\
    input[type=checkbox]{width:18px;height:18px;vertical-align:middle}input:not([type]){display:block;width:100%;box-sizing:border-box}\
    label{display:block;margin:0 0 12px}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:8px;border-bottom:1px solid var(--line)}\
    td:first-child{overflow-wrap:anywhere}.money{text-align:right;white-space:nowrap}";
/// The customer's page looks again while nothing waits.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("3");

type SharedWorld = State<Arc<World>>;

/// What others wrote, as text.
fn text(others: &str) -> String {
    let mut safe = String::with_capacity(others.len());
    for c in others.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// As Indonesians write it: Rp50.000.
fn rupiah(amount: &impl Display) -> String {
    let digits = amount.to_string();
    let mut written = "Rp".to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            written.push('.');
        }
        written.push(digit);
    }
    written
}

fn page(title: &str, body: &str) -> Response<Body> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><nav aria-label=\"Pages\"><a href=\"/app\">The customer's app</a>\
         <a href=\"/\">DOKU's side</a><a href=\"/help\">Fault words</a></nav><main><h1>{title}</h1>{body}</main></body></html>"
    );
    answer::unsigned(200, HTML, html)
}

fn to(path: &'static str) -> Response<Body> {
    let mut answer = answer::unsigned(303, HTML, "");
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static(path));
    answer
}

fn field(body: &[u8], name: &str) -> Option<String> {
    let found = form_urlencoded::parse(body).find(|(other, _)| other == name)?.1;
    Some(found.trim().to_owned()).filter(|value| !value.is_empty())
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", text(value))
}

/// The payments that reached the customer.
pub(super) async fn app(State(world): SharedWorld) -> Response<Body> {
    let by_hand = world.by_hand.load(Ordering::Relaxed);
    let ledger = world.book.lock().snapshot();
    let (who, other) = if by_hand {
        ("You are the customer: payments wait for you.", "Let customers answer by themselves")
    } else {
        ("Customers answer by themselves after a moment.", "Let me answer")
    };
    let mut body = format!(
        "<form action=\"/app/hand\" method=\"post\"><p>{who}</p>{}<button{}>{other}</button></form>",
        hidden("by_hand", if by_hand { "" } else { "yes" }),
        if by_hand { "" } else { " class=\"main\"" }
    );
    let waiting: Vec<&Charge> =
        ledger.charges.iter().rev().filter(|charge| charge.status == TransactionStatus::Pending).collect();
    body.push_str("<h2>Payments that wait</h2>");
    let looks_again = waiting.is_empty();
    if looks_again {
        body.push_str("<p class=\"quiet\">None. This page looks again by itself.</p>");
    }
    for charge in waiting.into_iter().take(ROWS) {
        body.push_str(&format!(
            "<form class=\"pay\" action=\"/app\" method=\"post\"><p><strong>{}</strong> for {}</p>{}{}",
            rupiah(&charge.amount),
            text(&charge.invoice_number),
            hidden("client_id", &charge.client_id),
            hidden("invoice", &charge.invoice_number)
        ));
        for (at, (choice, word)) in CHOICES.into_iter().enumerate() {
            let class = if at == 0 { " class=\"main\"" } else { "" };
            body.push_str(&format!("<button{class} name=\"choice\" value=\"{choice}\">{word}</button>"));
        }
        body.push_str("</form>");
    }
    body.push_str("<h2>Answered</h2>");
    body.push_str(&charges(&ledger, |charge| charge.status != TransactionStatus::Pending));
    let mut answer = page("Payment requests", &body);
    if looks_again {
        answer.headers_mut().insert(header::REFRESH, LOOK_AGAIN);
    }
    answer
}

const CHOICES: [(&str, &str); 4] = [
    ("accept", "Pay"),
    ("decline", "Decline"),
    ("expire", "Let it expire"),
    ("wrong_amount", "Pay, and DOKU reports another amount"),
];

fn charges(ledger: &Ledger, wanted: impl Fn(&Charge) -> bool) -> String {
    let rows: Vec<String> = ledger
        .charges
        .iter()
        .rev()
        .filter(|charge| wanted(charge))
        .take(ROWS)
        .map(|charge| {
            let (invoice, status) = (text(&charge.invoice_number), charge.status.as_str());
            let amount = rupiah(&charge.amount);
            format!("<tr><td>{invoice}</td><td class=\"money\">{amount}</td><td>{status}</td></tr>")
        })
        .collect();
    if rows.is_empty() {
        return "<p class=\"quiet\">None yet.</p>".to_owned();
    }
    let head = "<tr><th scope=\"col\">Invoice</th><th scope=\"col\" class=\"money\">Amount</th><th scope=\"col\">Status</th></tr>";
    format!("<table><thead>{head}</thead><tbody>{}</tbody></table>", rows.join(""))
}

/// The customer's answer.
pub(super) async fn answer_payment(State(world): SharedWorld, body: Bytes) -> Response<Body> {
    let status = match field(&body, "choice").as_deref() {
        Some("accept" | "wrong_amount") => TransactionStatus::Success,
        Some("decline") => TransactionStatus::Failed,
        Some("expire") => TransactionStatus::Expired,
        _ => return to("/app"),
    };
    let is_wrong = field(&body, "choice").as_deref() == Some("wrong_amount");
    let named = field(&body, "client_id").zip(field(&body, "invoice"));
    if let Some((client_id, invoice)) = named {
        let order = world.book.lock().order_of(&Arc::from(client_id.as_str()), &invoice);
        if let Some(order) = order {
            customer::answer(&world, order, status, is_wrong);
        }
    }
    to("/app")
}

/// Who answers from now on.
pub(super) async fn set_hand(State(world): SharedWorld, body: Bytes) -> Response<Body> {
    world.by_hand.store(field(&body, "by_hand").is_some(), Ordering::Relaxed);
    to("/app")
}

/// DOKU's side: what it did, and how it misbehaves from now on.
pub(super) async fn home(State(world): SharedWorld) -> Response<Body> {
    let ledger = world.book.lock().snapshot();
    let faults = world.switch().faults.clone();
    let mut body = format!(
        "<p>Charges: {}, refunds: {}, requests: {}, notifications: {}. <a href=\"/ledger\">All of it</a>, \
         <a href=\"/settlement\">a settlement file</a>.</p>{}<h2>Misbehave</h2><form class=\"card\" action=\"/faults/form\" method=\"post\">",
        ledger.charges.len(),
        ledger.refunds.len(),
        ledger.requests.len(),
        ledger.notifications.len(),
        charges(&ledger, |_| true)
    );
    for (name, words, value) in [
        ("payment", "Fault words for every payment", &faults.payment),
        ("refund", "for every refund", &faults.refund),
        ("check", "for every inquiry", &faults.check),
    ] {
        let value = text(value.as_deref().unwrap_or_default());
        body.push_str(&format!("<label>{words} <input name=\"{name}\" value=\"{value}\"></label>"));
    }
    let never = if faults.notify_never { " checked" } else { "" };
    body.push_str(&format!(
        "<label><input type=\"checkbox\" name=\"notify_never\" value=\"yes\"{never}> No notification leaves</label>\
         <button class=\"main\">From now on</button></form>"
    ));
    page("DOKU's side", &body)
}

pub(super) async fn set_faults(State(world): SharedWorld, body: Bytes) -> Response<Body> {
    let faults = Faults {
        payment: field(&body, "payment"),
        refund: field(&body, "refund"),
        check: field(&body, "check"),
        notify_never: field(&body, "notify_never").is_some(),
        ..world.switch().faults.clone()
    };
    match Switch::parse(faults) {
        Ok(switch) => {
            world.set_switch(switch);
            to("/")
        }
        Err(unknown) => page("That is no fault", &format!("<p>{}</p>", text(&unknown.to_string()))),
    }
}
