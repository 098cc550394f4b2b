//! A test's own database, and the jumps of its clock.

use sqlx::{Connection, Executor, PgConnection, PgPool, Row, postgres::PgPoolOptions};
use std::time::Duration;
use url::Url;

pub struct Database {
    pub url: Url,
    pub pool: PgPool,
    program: jenius_pay::postgres::PgPool,
    server: Url,
    name: String,
}

pub fn url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run ./deploy/local/test")
}

impl Database {
    /// A new, empty database on a server.
    pub async fn create(server: &str, unique: &str) -> Self {
        let server: Url = server.parse().unwrap();
        let name = format!("jp_{unique}");
        let mut admin = PgConnection::connect(server.as_str()).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        admin.close().await.unwrap();
        let mut url = server.clone();
        url.set_path(&name);
        let pool = PgPoolOptions::new().max_connections(3).connect_lazy(url.as_str()).unwrap();
        let options = url.as_str().parse().unwrap();
        let program = jenius_pay::postgres::pool(options, 1);
        Self { url, pool, program, server, name }
    }

    /// As the program connects.
    pub fn program_pool(&self) -> jenius_pay::postgres::PgPool {
        self.program.clone()
    }

    /// Runs a script on a connection of its own: what it sets for its session ends with it.
    pub async fn load(&self, script: &str) {
        let mut connection = PgConnection::connect(self.url.as_str()).await.unwrap();
        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(script.to_owned()))).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Moves the one clock that judges leases, due times and budgets to `ahead` of the real time.
    pub async fn jump(&self, ahead: Duration) {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION jenius_now() RETURNS timestamptz LANGUAGE sql VOLATILE \
             AS $$ SELECT clock_timestamp() + interval '{} milliseconds' $$",
            ahead.as_millis()
        );
        self.pool.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }

    /// One number from the tables.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&self.pool).await.unwrap().get(0)
    }

    /// Who is connected, does what, and holds which advisory lock: for whoever has to find out why.
    pub async fn sessions(&self) -> String {
        let sql = "SELECT concat_ws(' | ', pid, application_name, state, wait_event, now() - state_change,
                          (SELECT string_agg(objid::text, ' ') FROM pg_locks l
                           WHERE l.pid = a.pid AND locktype = 'advisory' AND granted), left(query, 80))
                   FROM pg_stat_activity a WHERE datname = current_database()";
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap();
        rows.join("\n")
    }

    /// Every column that can hold a text: its table, name and type.
    pub async fn columns(&self) -> Vec<(String, String, String)> {
        let sql = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
                   WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'bytea', 'json', 'jsonb')";
        sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// A value of a column that has one of these words in it, in any letter case.
    pub async fn find(&self, table: &str, column: &str, kind: &str, words: &[&str]) -> Option<String> {
        let text = if kind == "bytea" {
            format!("encode(\"{column}\", 'escape')")
        } else {
            format!("\"{column}\"::text")
        };
        let sql = format!(
            "SELECT value FROM (SELECT {text} AS value FROM \"{table}\") v \
             WHERE EXISTS (SELECT FROM unnest($1) AS word WHERE position(word IN lower(value)) > 0) LIMIT 1"
        );
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(words).fetch_optional(&self.pool).await.unwrap()
    }

    /// Keeps a copy of it as it is now. Whoever is connected loses the connection.
    pub async fn back_up(&self) {
        let name = &self.name;
        self.disconnect().await;
        self.as_admin(&format!("CREATE DATABASE {name}_backup TEMPLATE {name}")).await;
        self.as_admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    }

    /// Puts that copy in its place, under whoever uses it.
    pub async fn go_back(&self) {
        let name = &self.name;
        self.disconnect().await;
        self.as_admin(&format!("ALTER DATABASE {name} RENAME TO {name}_lost")).await;
        self.as_admin(&format!("ALTER DATABASE {name}_backup RENAME TO {name}")).await;
    }

    async fn disconnect(&self) {
        let name = &self.name;
        self.as_admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        let end =
            format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'");
        self.as_admin(&end).await;
    }

    async fn as_admin(&self, sql: &str) {
        let mut admin = PgConnection::connect(self.server.as_str()).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
        admin.close().await.unwrap();
    }

    pub async fn drop(self) {
        self.pool.close().await;
        for of_it in ["", "_backup", "_lost"] {
            self.as_admin(&format!("DROP DATABASE IF EXISTS {}{of_it} WITH (FORCE)", self.name)).await;
        }
    }
}
