//! Every page among millions of orders: only where `JENIUS_TEST_PAGES` says how many, since it takes minutes and some
//! gigabytes (`./deploy/local/test --pages`).

use super::{address_for, with_roles};
use crate::harness::{World, eventually};
use jenius_pay::app::Role;
use reqwest::{Client, redirect::Policy};
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

/// In transactions of a bounded size.
const CHUNK: i64 = 100_000;
const ROUNDS: usize = 5;
/// Of the rounds after the first, which reads what is not in memory yet.
const PAGE_MAX: Duration = Duration::from_millis(50);
const PAY_OUT: &str = "/settlement/batch?name=B-LARGE";
/// Its page waits as long for its sums before it says that they are being counted.
const PAY_OUT_MAX: Duration = Duration::from_millis(400);
/// A page with its style sheet and its script.
const TRANSFER_MAX: usize = 60_000;
/// Of all pages together and their rounds: far less than one table.
const ROWS_READ_MAX: i64 = 500_000;

/// Orders of the last 60 days, the last one the youngest: most are paid, and of each 10,000 one waits for a person, two for DOKU.
const ORDERS: [&str; 8] = [
    "INSERT INTO commands (key, source, id, kind, merchant, digest, invoice_number, received_at, request_id, client_id, base_url,
         request_body, claimed_at, sends_end_at, sends, last_send_at, outcome, settled_at, outcome_event) OVERRIDING SYSTEM VALUE
     SELECT k, '/checkout', 'old-' || k, 'payment', 'default', sha256(k::text::bytea), {invoice}, {at}, {invoice}, 'MCH-1',
         'http://127.0.0.1:9', ''::bytea, {at}, {at}, 1, {at}, 'accepted', {at}, {event1} FROM {range}",
    "INSERT INTO attempts (command_key, number, kind, started_at, finished_at, http_status, result, token)
     SELECT k, 1, 'send', {at}, {at}, 200, 'accepted', {event1} FROM {range}",
    "INSERT INTO orders (order_key, merchant, invoice_number, amount, payment, created_at, revision, doku_status, state_since, version,
         announced_paid, evidence, state, review_cause) OVERRIDING SYSTEM VALUE
     SELECT k, 'default', {invoice}, 10000 + k % 90000, k, {at}, 2, 'SUCCESS', {at}, 2, k % 10000 > 2, 'notification',
         CASE k % 10000 WHEN 0 THEN 'review' WHEN 1 THEN 'awaiting_payment' WHEN 2 THEN 'awaiting_payment' ELSE 'paid' END,
         CASE k % 10000 WHEN 0 THEN 'amount_mismatch' END FROM {range}",
    "INSERT INTO due (order_key, merchant, inquire_rank, inquire_at)
     SELECT k, 'default', 1, jenius_now() + interval '1 day' FROM {range} WHERE k % 10000 IN (1, 2)",
    "INSERT INTO events (event_id, order_key, version, type, correlation_id, body, created_at)
     SELECT {event1}, k, 1, 'payment.accepted', 'old-' || k, {body}, {at} FROM {range}",
    "INSERT INTO events (event_id, order_key, version, type, correlation_id, body, created_at)
     SELECT {event2}, k, 2, CASE k % 10000 WHEN 0 THEN 'order.review' ELSE 'order.paid' END, 'old-' || k, {body}, {at} FROM {range}",
    "INSERT INTO publications SELECT {event1}, {at} FROM {range} UNION ALL SELECT {event2}, {at} FROM {range}",
    "INSERT INTO notifications (merchant, invoice_number, order_key, request_id, status, amount, applied, reason, report_key)
     SELECT 'default', {invoice}, k, 'N-' || k, 'SUCCESS', '50001', k % 10000 > 2, CASE WHEN k % 10000 <= 2 THEN 'amount_mismatch' END,
         E'SUCCESS\\n50001\\n' FROM {range}",
];
/// One pay-out with half of the orders, at most a million, and breaks.
const SETTLEMENT: [&str; 3] = [
    "INSERT INTO settlement_files (merchant, sha256, name, profile, state, done_at, batch, form, encoding)
     VALUES ('default', sha256('x'::bytea), 'large.csv', 'doku', 'done', jenius_now(), 'B-LARGE', 'csv', 'utf-8')",
    "INSERT INTO settlement_rows (id, number, merchant, batch, invoice_number, kind, gross, fee, discount, net, transaction_on,
         paid_out_on, files)
     SELECT md5(k::text)::uuid, 1, 'default', 'B-LARGE', {invoice}, 'purchase', 10000 + k % 90000, 1500, 0,
         8500 + k % 90000, current_date, current_date, ARRAY(SELECT key FROM settlement_files) FROM {range}",
    "INSERT INTO settlement_breaks (merchant, cause, subject, invoice_number, batch, at_stake, found)
     SELECT 'default', 'fee_mismatch', 'r' || k, {invoice}, 'B-LARGE', k % 5000, 'DOKU 2000, by the rule 1500'
     FROM {range} WHERE k % 1000 = 0",
];

fn filled(statement: &str, orders: i64, range: (i64, i64)) -> String {
    let id = |version| {
        format!(
            "(lpad(to_hex((extract(epoch FROM {{at}}) * 1000)::bigint), 12, '0') || '7{version}00' || '8000' || lpad(to_hex(k), 12, '0'))::uuid"
        )
    };
    let body = "convert_to('{\"specversion\":\"1.0\",\"id\":\"' || {event1} || '\",\"source\":\"/jenius-pay/default\",\
                \"type\":\"jenius.order.paid.v1\",\"subject\":\"' || {invoice} || '\",\"sequence\":\"1\",\
                \"time\":\"2026-01-02T03:04:05.678901Z\",\"data\":{\"merchant\":\"default\",\"invoice_number\":\"' || {invoice} || \
                '\",\"amount\":\"50000\",\"currency\":\"IDR\",\"state\":\"paid\",\"evidence\":\"response\",\"doku_status\":\"SUCCESS\",\
                \"request_id\":\"' || {invoice} || '\",\"error\":null,\"late\":false}}', 'UTF8')";
    statement
        .replace("{body}", body)
        .replace("{event1}", &id(1))
        .replace("{event2}", &id(2))
        .replace("{invoice}", "('OLD-' || lpad(k::text, 9, '0'))")
        .replace(
            "{at}",
            &format!("(date_trunc('hour', jenius_now()) - interval '60 days' * ({orders} - k) / {orders})"),
        )
        .replace("{range}", &format!("generate_series({}::bigint, {}::bigint) AS k", range.0, range.1))
}

async fn execute(sql: &mut PgConnection, statement: &str) {
    let done = sql.execute(sqlx::AssertSqlSafe(statement.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{error}: {}", statement.chars().take(200).collect::<String>()));
}

/// Without looking up every reference: each is there by construction.
async fn fill(sql: &mut PgConnection, orders: i64) {
    execute(sql, "SET session_replication_role = replica").await;
    let mut settled = 0;
    execute(sql, &filled(SETTLEMENT[0], orders, (1, 1))).await;
    let first = (1..=orders).step_by(usize::try_from(CHUNK).unwrap());
    for range in first.map(|first| (first, (first + CHUNK - 1).min(orders))) {
        for statement in ORDERS {
            execute(sql, &filled(statement, orders, range)).await;
        }
        if settled < (orders / 2).min(1_000_000) {
            settled = range.1;
            for statement in &SETTLEMENT[1..] {
                execute(sql, &filled(statement, orders, range)).await;
            }
        }
    }
    for table in ["commands", "orders"] {
        let key = if table == "orders" { "order_key" } else { "key" };
        execute(sql, &format!("SELECT setval(pg_get_serial_sequence('{table}', '{key}'), {orders})")).await;
    }
    execute(sql, "UPDATE balance SET settled_below = (SELECT max(key) FROM commands)").await;
    execute(sql, "SET session_replication_role = origin").await;
    execute(sql, "VACUUM (ANALYZE)").await;
    execute(sql, "CHECKPOINT").await;
}

/// A person with every role, without the browser.
struct Visitor {
    client: Client,
    console: String,
    cookie: String,
}

impl Visitor {
    async fn enter(world: &World, console: String) -> Self {
        let address = address_for(world, "budi", &["support", "operator", "finance", "decider"]).await;
        let key = address.split_once("key=").unwrap().1.to_owned();
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let request = client.post(format!("{console}/enter")).header("origin", &console);
        let entered = request.body(format!("key={key}")).send().await.unwrap();
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { client, console, cookie }
    }

    async fn get(&self, path: &str) -> (Duration, String) {
        let began = Instant::now();
        let request = self.client.get(format!("{}{path}", self.console)).header("cookie", &self.cookie);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        let took = began.elapsed();
        // One hit leads straight to its order.
        assert!(status == 200 || status == 303, "{path}: {status} {body}");
        (took, body)
    }
}

fn pages(orders: i64) -> Vec<String> {
    let (middle, review) =
        (format!("OLD-{:09}", orders / 2 + 7), format!("OLD-{:09}", orders / 20_000 * 10_000));
    let mut pages: Vec<String> = [
        "/",
        "/orders",
        "/orders?since=31d",
        "/orders?state=paid",
        "/orders?state=awaiting_payment",
        "/orders?state=review",
        "/orders?state=failed&since=31d",
        "/orders?min=99999&since=31d",
        "/orders?declined=none&since=31d",
        "/orders?first=oldest",
        "/orders?text=OLD-0000",
        "/orders?text=nobody",
        "/review",
        "/review?first=dearest",
        "/sends",
        "/dead",
        "/events",
        "/events?type=order.review",
        "/events?type=command.rejected",
        "/live",
        "/settlement",
        "/settlement?cause=fee_mismatch",
        "/settlement/file?number=1",
        "/audit",
        "/audit?by=budi",
        "/doctor",
        "/about",
    ]
    .map(str::to_owned)
    .into();
    pages.push(format!("/order?merchant=default&invoice={middle}"));
    pages.push(format!("/orders?text={middle}"));
    pages.push(format!("/orders?text=old-{}", orders / 2));
    pages.push(format!("/events?invoice={middle}"));
    pages.push(format!("/order/decide?merchant=default&invoice={review}"));
    pages
}

/// Rows of large tables that were read one after the other, without an index.
async fn rows_read(sql: &mut PgConnection) -> i64 {
    let read = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables
                WHERE relname IN ('orders', 'commands', 'attempts', 'events', 'publications', 'notifications', 'settlement_rows')";
    sqlx::query_scalar(read).fetch_one(sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_answers_within_50_ms_among_millions_of_orders() {
    let Ok(orders) = std::env::var("JENIUS_TEST_PAGES") else { return };
    let orders: i64 = orders.parse().expect("JENIUS_TEST_PAGES is how many orders");
    let (world, console) = with_roles(&[Role::Console]).await;
    let mut sql = PgConnection::connect(world.database.url.as_str()).await.unwrap();
    let began = Instant::now();
    fill(&mut sql, orders).await;
    eprintln!("{orders} orders in {:?}", began.elapsed());
    let visitor = Visitor::enter(&world, console).await;
    let page = visitor.get("/").await.1;
    let mut beside = 0;
    for part in page
        .split('"')
        .filter(|part| part.starts_with("/assets/") || part.ends_with(".css") || part.ends_with(".js"))
    {
        beside += visitor.get(part).await.1.len();
    }
    assert!(beside > 10_000, "neither style sheet nor script: {beside}");
    let before = rows_read(&mut sql).await;
    let mut slow = Vec::new();
    for page in pages(orders) {
        let mut took = Vec::new();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let (time, body) = visitor.get(&page).await;
            took.push(time);
            bytes = body.len() + beside;
        }
        let first = took.remove(0);
        took.sort();
        let (usual, worst) = (took[took.len() / 2], took[took.len() - 1]);
        eprintln!("{page}: {usual:?}, worst {worst:?}, first {first:?}, {bytes} bytes");
        if usual > PAGE_MAX || bytes > TRANSFER_MAX {
            slow.push(format!("{page}: {usual:?}, {bytes} bytes"));
        }
    }
    // Sessions tell what they read when they have nothing to do for a while.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let read = rows_read(&mut sql).await - before;
    eprintln!("{read} rows of large tables were read without an index");
    // Its sums read every row of it.
    let began = Instant::now();
    let (took, _) = visitor.get(PAY_OUT).await;
    eventually("the sums of a large pay-out", async || {
        visitor.get(PAY_OUT).await.1.contains("Counted").then_some(())
    })
    .await;
    eprintln!("{PAY_OUT}: {took:?}, its sums were there after {:?}", began.elapsed());
    assert!(took < PAY_OUT_MAX, "{took:?}");
    assert!(slow.is_empty(), "{slow:#?}");
    assert!(read < ROWS_READ_MAX, "{read} rows of large tables were read without an index");
    world.end().await;
}
