//! The one place here that knows the service's tables: it fills them with what would take hours to come about by
//! itself. What is written keeps every constraint, and is checked with the service's own answers afterwards.

use super::{commands::Commands, progress::ProgressLine};
use anyhow::Context;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// Rows of one statement.
const CHUNK: u64 = 250_000;

/// What is inserted: `$k` is a command's number, from 1.
pub struct Filled<'a> {
    pub commands: &'a Commands,
    pub client_id: &'a str,
    pub base_url: &'a str,
    pub count: u64,
}

/// Identifiers in the order of time, as UUIDv7 are.
const EVENT_ID: &str =
    "(lpad(to_hex(k), 8, '0') || '-0000-7' || $N$ || '00-8000-' || lpad(to_hex(k), 12, '0'))::uuid";

impl Filled<'_> {
    /// Orders that DOKU took and no customer has paid.
    pub async fn awaiting_payment(&self, sql: &mut PgConnection) -> anyhow::Result<()> {
        let orders = "state_since, version, announced_paid, evidence, state";
        let values = "now(), 1, false, 'response', 'awaiting_payment'";
        let due = "INSERT INTO due (order_key, merchant, inquire_rank, inquire_at)
                   SELECT k, 'default', 1, now() + interval '1 day' FROM {range};";
        self.fill(sql, orders, values, &format!("{} {due}", self.published(1, "payment.accepted"))).await
    }

    /// Orders that were paid long ago, with all that belongs to them.
    pub async fn paid(&self, sql: &mut PgConnection) -> anyhow::Result<()> {
        let orders = "state_since, version, announced_paid, evidence, state";
        let values = "now() - interval '30 days', 2, true, 'notification', 'paid'";
        let more = format!(
            "{} {} INSERT INTO notifications (merchant, invoice_number, order_key, request_id, status, amount, applied,
                                               report_key)
             SELECT 'default', {invoice}, k, 'N-' || k, 'SUCCESS', '50000', true, E'SUCCESS\\n50000\\n' FROM {{range}};",
            self.published(1, "payment.accepted"),
            self.published(2, "order.paid"),
            invoice = self.invoice(),
        );
        self.fill(sql, orders, values, &more).await
    }

    /// Events that are not published yet.
    pub async fn unpublished(&self, sql: &mut PgConnection) -> anyhow::Result<()> {
        let outbox = format!(
            "INSERT INTO outbox (event_id, order_key) SELECT {}, k FROM {{range}} ORDER BY k;",
            EVENT_ID.replace("$N$", "'1'")
        );
        self.chunks(sql, &format!("{} {outbox}", self.event(1, "payment.accepted"))).await
    }

    fn invoice(&self) -> String {
        // The commands' own numbers are from 0.
        let first = self.commands.invoice(0);
        let stem = &first[..first.len() - 9];
        format!("('{stem}' || lpad((k - 1)::text, 9, '0'))")
    }

    /// An event, and that it was published long ago.
    fn published(&self, version: u32, event_type: &str) -> String {
        let id = EVENT_ID.replace("$N$", &format!("'{version}'"));
        let publication = format!("INSERT INTO publications SELECT {id}, now() FROM {{range}};");
        format!("{} {publication}", self.event(version, event_type))
    }

    fn event(&self, version: u32, event_type: &str) -> String {
        let id = EVENT_ID.replace("$N$", &format!("'{version}'"));
        let body = format!(
            "convert_to('{{\"specversion\":\"1.0\",\"id\":\"' || {id} || '\",\"source\":\"/jenius-pay/default\",\
             \"type\":\"jenius.{event_type}.v1\",\"subject\":\"' || {invoice} || '\",\"sequence\":\"{version}\",\
             \"time\":\"2026-01-02T03:04:05.678901Z\",\"data\":{{\"merchant\":\"default\",\"invoice_number\":\"' || \
             {invoice} || '\",\"amount\":\"50000\",\"currency\":\"IDR\",\"state\":\"awaiting_payment\",\
             \"evidence\":\"response\",\"doku_status\":\"SUCCESS\",\"request_id\":\"' || {invoice} || '\",\
             \"error\":null,\"late\":false}}}}', 'UTF8')",
            invoice = self.invoice(),
        );
        format!(
            "INSERT INTO events (event_id, order_key, version, type, correlation_id, body, created_at)
             SELECT {id}, k, {version}, '{event_type}', 'bench-' || k, {body}, now() FROM {{range}};"
        )
    }

    /// Commands, attempts and orders; `more` comes in the same transaction.
    async fn fill(
        &self,
        sql: &mut PgConnection,
        names: &str,
        values: &str,
        more: &str,
    ) -> anyhow::Result<()> {
        let (invoice, client_id, base_url) = (self.invoice(), self.client_id, self.base_url);
        let event = EVENT_ID.replace("$N$", "'1'");
        let statements = format!(
            "INSERT INTO commands (key, source, id, kind, merchant, digest, invoice_number, received_at, request_id,
                 client_id, base_url, request_body, claimed_at, sends_end_at, sends, last_send_at, outcome,
                 settled_at, outcome_event) OVERRIDING SYSTEM VALUE
             SELECT k, '/checkout', 'bench-' || k, 'payment', 'default', sha256(k::text::bytea), {invoice}, now(),
                 {invoice}, '{client_id}', '{base_url}', ''::bytea, now(), now(), 1, now(), 'accepted', now(), {event}
             FROM {{range}};
             INSERT INTO attempts (command_key, number, kind, started_at, finished_at, http_status, result, token)
             SELECT k, 1, 'send', now(), now(), 200, 'accepted', {event} FROM {{range}};
             INSERT INTO orders (order_key, merchant, invoice_number, amount, payment, created_at, revision,
                 doku_status, {names}) OVERRIDING SYSTEM VALUE
             SELECT k, 'default', {invoice}, 50000, k, now(), 2, 'SUCCESS', {values} FROM {{range}};
             {more}"
        );
        self.chunks(sql, &statements).await?;
        // What is settled for years was passed long ago.
        sql.execute(
            "UPDATE balance SET settled_below = (SELECT max(key) FROM commands WHERE outcome IS NOT NULL)",
        )
        .await?;
        for (table, column) in [("commands", "key"), ("orders", "order_key")] {
            let set = format!("SELECT setval(pg_get_serial_sequence('{table}', '{column}'), {})", self.count);
            sql.execute(AssertSqlSafe(set)).await?;
        }
        Ok(())
    }

    /// In transactions of a bounded size, without looking up every reference: each is there by construction.
    async fn chunks(&self, sql: &mut PgConnection, statements: &str) -> anyhow::Result<()> {
        let progress = ProgressLine::new("filling tables", self.count);
        sql.execute("SET session_replication_role = replica")
            .await
            .context("filling tables needs a superuser")?;
        for start in (1..=self.count).step_by(usize::try_from(CHUNK)?) {
            let end = (start + CHUNK - 1).min(self.count);
            let range = format!("generate_series({start}::bigint, {end}::bigint) AS k");
            let chunk = format!("BEGIN; {} COMMIT;", statements.replace("{range}", &range));
            sql.execute(AssertSqlSafe(chunk)).await?;
            progress.at(end);
        }
        sql.execute("SET session_replication_role = origin").await?;
        Ok(())
    }
}

/// So that nothing of the filling is left to do while something else is measured.
pub async fn settle(sql: &mut PgConnection) -> anyhow::Result<()> {
    sql.execute("VACUUM (ANALYZE)").await?;
    sql.execute("CHECKPOINT").await?;
    Ok(())
}
