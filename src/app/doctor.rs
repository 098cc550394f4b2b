//! `doctor`: connects to everything, and says of each thing whether it is well and what to do if it is not. What
//! is away fails its own checks, in bounded time, and the others are made all the same.
//!
//! Never: change anything but probes of its own, print a password or a key.

mod broker;
pub mod check;
mod doku;
mod limits;
mod managed;
mod place;
mod postgres;
mod service;
mod settlement;
mod work;

pub use check::{Check, Status};

use super::parts;
use crate::{
    config::Config,
    doku::{account::Accounts, client::Client, clock::SystemClock},
    domain::ids::MerchantName,
    flow::ports::StoreError,
    postgres::{PostgresStore, connect_options, examine as examine_postgres, pool},
    rabbit::BrokerError,
};
use futures_util::{StreamExt, stream};
use place::ServerPlace;
use std::{future::Future, time::Duration};
use tokio::time::timeout;

/// For everything that is asked of one server; the parts have limits of their own, and there are many.
const SERVER_MAX: Duration = Duration::from_secs(30);
/// DOKU may be given longer for a payment; a person waits for this page.
const DOKU_MAX: Duration = Duration::from_secs(15);
/// Merchants that are asked about at a time.
const MERCHANTS_AT_ONCE: usize = 8;

/// Everything at once, in the order of the page.
///
/// # Errors
/// A configuration that cannot work.
pub async fn examine(config: &Config, processes: &[String]) -> anyhow::Result<Vec<Check>> {
    let (postgres, broker, doku, service) = tokio::join!(
        look_at_postgres(config),
        look_at_broker(config),
        look_at_doku(config),
        service::checks(config, processes)
    );
    Ok([limits::limits(config)?, postgres?, broker?, doku, service, settlement::checks(config)].concat())
}

async fn look_at_postgres(config: &Config) -> anyhow::Result<Vec<Check>> {
    let database = config.need_database()?;
    let options = connect_options(database)?;
    let facts = within(examine_postgres(&options, &SystemClock))
        .await
        .unwrap_or_else(|silent| Err(StoreError::Away(silent)));
    let ours = postgres::Ours {
        place: ServerPlace::from_url(&database.url),
        environment: config.doku.environment,
        max_connections: database.max_connections,
    };
    let mut checks = postgres::judge(&ours, &facts);
    if let Ok(facts) = &facts
        && facts.migrations.pending.is_empty()
    {
        let store = PostgresStore::new(pool(options, 1), config.schedule());
        let work = within(work::count(&store)).await.unwrap_or_else(|silent| Err(StoreError::Away(silent)));
        checks.extend(work::judge(&facts.paused, &work));
    }
    Ok(checks)
}

async fn look_at_broker(config: &Config) -> anyhow::Result<Vec<Check>> {
    let broker = parts::broker_of(config.need_amqp()?)?;
    let silent = |cause| Err(BrokerError::Failed { doing: "looking around", cause });
    let (greetings, inspection, managed) =
        tokio::join!(broker.greetings(), within(broker.inspect()), within(broker.managed()));
    let ours = broker::Ours { place: broker.place(), is_remote: broker.is_remote(), names: broker.names() };
    let mut checks = broker::judge(&ours, &greetings, &inspection.unwrap_or_else(silent));
    if greetings.iter().any(|(_, greeting)| greeting.is_ok()) {
        checks.extend(managed::judge(&managed.unwrap_or_else(Err)));
    }
    Ok(checks)
}

async fn look_at_doku(config: &Config) -> Vec<Check> {
    let client = match Client::new(&config.doku, Accounts::new(&config.merchants), SystemClock) {
        Ok(client) => client,
        Err(no_tls) => return doku::unreachable(&config.doku, &no_tls),
    };
    let ask = |merchant: MerchantName| {
        let client = &client;
        async move {
            let asked = timeout(DOKU_MAX, client.probe(&merchant)).await;
            let silent = |_| Err(format!("no answer within {} s", DOKU_MAX.as_secs()));
            (merchant, asked.unwrap_or_else(silent))
        }
    };
    let merchants: Vec<MerchantName> = config.merchants.keys().cloned().collect();
    let answers = stream::iter(merchants).map(ask).buffered(MERCHANTS_AT_ONCE).collect().await;
    doku::judge(&config.doku, &answers)
}

async fn within<T>(asked: impl Future<Output = T>) -> Result<T, String> {
    let answer = timeout(SERVER_MAX, asked).await;
    answer.map_err(|_| format!("no answer within {} s", SERVER_MAX.as_secs()))
}
