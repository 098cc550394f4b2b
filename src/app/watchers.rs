//! What runs beside the roles: is the database there, what do the gauges say, may the consumers take.

use super::process_status::ProcessStatus;
use crate::{
    config::{Environment, Role},
    domain::{
        ids::MerchantName,
        order::{OrderState, ReviewCause},
        settlement::breaks::Cause,
    },
    flow::{
        gate::{Gate, Since, Stop, StopBy},
        ports::{Account, StoreError},
        store_outage::StoreState,
    },
    metric::{self, Blocked, GaugeGroup},
    postgres::{
        self, CountingPace, Gauges, OpenBreaks, PgPool, PostgresStore, ReportedStop, ReportingProcess,
        Reviews,
    },
    rabbit::Consume,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A database that has not answered by then is away. A host that vanished closes no connection: the kernel
/// would wait for a quarter of an hour.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// Who leads to the primary is asked that often: with a new connection, which costs the server a process.
const ANEW_EVERY: Duration = Duration::from_secs(5);
/// It reads every command since the first that is not settled.
const BALANCE_EVERY: Duration = Duration::from_secs(60);
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// How often a process reports its stops again; a report that is three times as old has expired.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A row of the last hour for each minute of a process.
const REPORT_PROCESS_EVERY: Duration = Duration::from_secs(60);

/// Looks at the database, and says what it sees. Runs for ever.
pub async fn watch_database(pool: PgPool, environment: Environment, status: Arc<ProcessStatus>) {
    let mut was_up = None;
    let mut anew: Option<Instant> = None;
    loop {
        let is_time = anew.is_none_or(|at| at.elapsed() >= ANEW_EVERY);
        if is_time {
            anew = Some(Instant::now());
        }
        let fault = match timeout(LOOK_MAX, look(&pool, environment, &status, is_time)).await {
            Ok(Ok(())) => None,
            Ok(Err(
                StoreError::Away(detail) | StoreError::Contended(detail) | StoreError::Refused(detail),
            )) => Some(detail),
            Err(_) => Some(format!("no answer within {} s", LOOK_MAX.as_secs())),
        };
        let is_up = fault.is_none();
        if was_up != Some(is_up) {
            metric::connection_up(metric::Dependency::Postgres, is_up);
            match &fault {
                Some(detail) => tracing::warn!(detail, "waiting for the database"),
                None => tracing::info!("the database can be reached and is migrated"),
            }
            if was_up == Some(false) && is_up {
                metric::reconnected(metric::Dependency::Postgres);
            }
            was_up = Some(is_up);
        }
        status.database(fault);
        sleep(LOOK_EVERY).await;
    }
}

/// Binding writes, in a way: a database that only reads is not up. A new connection may reach another server than
/// those that are open.
async fn look(
    pool: &PgPool,
    environment: Environment,
    status: &ProcessStatus,
    anew: bool,
) -> Result<(), StoreError> {
    if postgres::is_migrated(pool).await? {
        postgres::check_rights(pool, &status.roles).await?;
        postgres::bind_environment(pool, environment).await?;
        return if anew { pool.try_anew().await } else { Ok(()) };
    }
    Err(StoreError::Refused("the schema is not the one of this version: run `jenius-pay migrate`".to_owned()))
}

/// Tells the gate what operators paused: woken by the process that pauses, and looking every second for a pause
/// that no wake-up announced. While the database is away, what was known before holds. Runs for ever.
pub async fn watch_pauses(store: PostgresStore, gate: Arc<Gate>) {
    let changed = store.pauses_changed();
    loop {
        match store.paused().await {
            Ok(paused) => gate.set_paused(paused),
            Err(StoreError::Away(detail) | StoreError::Contended(detail)) => {
                tracing::debug!(detail, "the pauses cannot be read now; the last ones stay in force")
            }
            Err(StoreError::Refused(detail)) => {
                tracing::warn!(detail, "the pauses cannot be read; the last ones stay in force")
            }
        }
        let _ = timeout(LOOK_EVERY, changed.notified()).await;
    }
}

/// Reports to the database what stops sends here, for an operator who looks at an order from elsewhere. Runs for
/// ever.
pub async fn report_stops(store: PostgresStore, gate: Arc<Gate>) {
    let process = Uuid::new_v4();
    let (mut reported, mut reported_at) = (Vec::new(), Instant::now());
    loop {
        let stops: Vec<ReportedStop> = gate.merchants().filter_map(|m| reported_stop(&gate, m)).collect();
        let which: Vec<_> = stops.iter().map(|stop| (stop.merchant.clone(), stop.detail)).collect();
        let is_old = !which.is_empty() && reported_at.elapsed() >= REPORT_EVERY;
        if (which != reported || is_old) && store.report_stops(process, &stops).await.is_ok() {
            (reported, reported_at) = (which, Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// How this process is named to others.
pub fn this_process(roles: &BTreeSet<Role>) -> ReportingProcess {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    ReportingProcess {
        id: Uuid::new_v4(),
        host: host.filter(|host| !host.is_empty()).unwrap_or_else(|| "unknown".to_owned()),
        version: env!("CARGO_PKG_VERSION"),
        revision: metric::REVISION,
        roles: roles.iter().map(|role| role.name()).collect(),
        uptime: Duration::ZERO,
    }
}

/// Reports that this process runs, and what became of money through it since its last report. Runs for ever.
pub async fn report_process(store: PostgresStore, process: ReportingProcess) {
    let started = Instant::now();
    loop {
        let happened = metric::take_happened();
        let process = ReportingProcess { uptime: started.elapsed(), ..process.clone() };
        let wait = match store.report_process(&process, &happened).await {
            Ok(()) => REPORT_PROCESS_EVERY,
            Err(_) => {
                metric::give_back_happened(happened);
                REPORT_EVERY
            }
        };
        sleep(wait).await;
    }
}

/// What only this process knows: pauses are in the database already.
fn reported_stop(gate: &Gate, merchant: &MerchantName) -> Option<ReportedStop> {
    let Stop { by, since } = gate.stop_of(merchant)?;
    let (by, detail) = match by {
        StopBy::Pause => return None,
        StopBy::Doku => ("breaker", "DOKU fails; one send at a time finds out when it is back"),
        StopBy::Merchant => (
            "breaker",
            "DOKU refuses key, clock or route, or fails for this merchant; one send at a time finds out when that is over",
        ),
        StopBy::Rate => ("rate", "more sends are due than doku.requests_per_second lets go"),
    };
    let ago = match since {
        Since::Ago(ago) => ago,
        Since::At(_) | Since::Unknown => Duration::ZERO,
    };
    Some(ReportedStop { merchant: merchant.clone(), by, ago, detail })
}

/// Keeps the gauges that are counted in the database, and says which could not be. Runs for ever.
pub async fn refresh_gauges(
    store: PostgresStore,
    accounts: Vec<Account>,
    gate: Arc<Gate>,
    status: Arc<ProcessStatus>,
) {
    let mut balanced: Option<Instant> = None;
    let mut faults = BTreeMap::new();
    let mut reviewed = accounts.iter().map(|account| account.merchant.clone()).collect();
    GaugeGroup::ALL.into_iter().for_each(|figures| metric::figures_counted(figures, super::now_here()));
    loop {
        let started = Instant::now();
        let was_well = faults.is_empty();
        if balanced.is_none_or(|at| at.elapsed() >= BALANCE_EVERY) {
            balanced = Some(Instant::now());
            let balance = store.balance().await.and_then(|balance| {
                balance.ok_or_else(|| StoreError::Refused("there is more than one look passes".to_owned()))
            });
            counted(GaugeGroup::Balance, balance, &mut faults).into_iter().for_each(metric::balance);
        }
        let open = count_open(&store, status.makes_sends().then_some(&accounts)).await;
        if let Some(gauges) = counted(GaugeGroup::Open, open, &mut faults) {
            status.stranded.store(count(gauges.stranded_orders), Ordering::Relaxed);
            let age = Duration::from_secs_f64(gauges.outbox_oldest_seconds);
            status.outbox((gauges.outbox_events > 0).then_some(age));
            publish(&gauges, &accounts);
            if status.makes_sends() {
                // A process that sends nothing now knows of no breaker: another says what stops them.
                let reported = store.stopped_by().await.unwrap_or_default();
                publish_due_sends(&gauges, &accounts, &gate, &reported);
            }
        }
        if let Some(reviews) = counted(GaugeGroup::Reviews, store.reviews().await, &mut faults) {
            publish_reviews(&reviews, &mut reviewed);
        }
        if let Some(unmatched) = counted(GaugeGroup::Reports, store.never_matched().await, &mut faults) {
            publish_reports(&unmatched, &accounts);
        }
        let breaks = store.settlement().open_breaks().await;
        counted(GaugeGroup::Settlement, breaks, &mut faults).iter().for_each(|breaks| publish_breaks(breaks));
        let summary = summary(&faults);
        match (was_well, faults.is_empty()) {
            (true, false) => tracing::warn!(
                faults = summary,
                "gauges of the database cannot be counted; they keep their last values"
            ),
            (false, true) => tracing::info!("gauges of the database are counted again"),
            (true, true) | (false, false) => {}
        }
        status.uncounted(summary);
        // With very many open orders the figures come less often.
        sleep(GAUGES_EVERY.max(started.elapsed())).await;
    }
}

async fn count_open(store: &PostgresStore, accounts: Option<&Vec<Account>>) -> Result<Gauges, StoreError> {
    if let Some(accounts) = accounts {
        store.look_for_stranded(accounts).await?;
    }
    store.gauges(CountingPace::Gentle).await
}

/// What was counted, or a fault more.
fn counted<T>(
    figures: GaugeGroup,
    answer: Result<T, StoreError>,
    faults: &mut BTreeMap<&'static str, String>,
) -> Option<T> {
    match answer {
        Ok(answer) => {
            faults.remove(figures.name());
            metric::figures_counted(figures, super::now_here());
            Some(answer)
        }
        Err(StoreError::Away(why) | StoreError::Contended(why) | StoreError::Refused(why)) => {
            faults.insert(figures.name(), why);
            None
        }
    }
}

fn summary(faults: &BTreeMap<&'static str, String>) -> String {
    faults.iter().map(|(figures, why)| format!("{figures}: {why}")).collect::<Vec<_>>().join("; ")
}

/// Consumers take what the store allows.
pub async fn follow_store(mut store: watch::Receiver<StoreState>, consume: watch::Sender<Consume>) {
    loop {
        let allowed = match *store.borrow_and_update() {
            StoreState::Away => Consume::Stopped,
            StoreState::Recovering => Consume::OneAtATime,
            StoreState::Up => Consume::Normal,
        };
        consume.send_if_modified(|now| std::mem::replace(now, allowed) != allowed);
        if store.changed().await.is_err() {
            return;
        }
    }
}

/// Runs until it ends or the stop comes.
pub async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    let _ = stop.run_until_cancelled(work).await;
}

/// A state without orders is set to 0, and does not keep its last figure.
fn publish(gauges: &Gauges, accounts: &[Account]) {
    metric::outbox(count(gauges.outbox_events), Duration::from_secs_f64(gauges.outbox_oldest_seconds));
    metric::stranded_orders(count(gauges.stranded_orders));
    metric::parked_notifications(count(gauges.parked_notifications));
    for account in accounts {
        for state in OrderState::ALL.into_iter().filter(|state| state.is_open()) {
            let found =
                gauges.open_orders.iter().find(|o| o.merchant == account.merchant && o.state == state);
            let (orders, rupiah, oldest) =
                found.map_or((0, 0, 0.0), |o| (o.count, o.rupiah, o.oldest_seconds));
            let oldest = Duration::from_secs_f64(oldest);
            let merchant = account.merchant.as_str();
            metric::open_orders(merchant, state, count(orders), count(rupiah), oldest);
            if let Some(kind) = state.open_command() {
                let doubt = found.map(|o| o.in_doubt).unwrap_or_default();
                let oldest = Duration::from_secs_f64(doubt.oldest_seconds);
                metric::in_doubt(merchant, kind, count(doubt.count), oldest);
            }
        }
    }
}

/// Every reason is set for every merchant: those that block nothing are 0.
fn publish_due_sends(
    gauges: &Gauges,
    accounts: &[Account],
    gate: &Gate,
    reported: &[(MerchantName, String)],
) {
    for Account { merchant, .. } in accounts {
        let stopped = match gate.stop_of(merchant).map(|stop| stop.by) {
            None => reported_by_another(merchant, reported),
            Some(StopBy::Pause) => Blocked::Pause,
            Some(StopBy::Doku | StopBy::Merchant) => Blocked::Breaker,
            Some(StopBy::Rate) => Blocked::Rate,
        };
        for blocked in Blocked::ALL {
            let is_stranded = blocked == Blocked::Stranded;
            let counted = is_stranded || blocked == stopped;
            let mut due = gauges.due_sends.iter().filter(|due| counted && due.merchant == *merchant);
            let found = due.find(|due| due.is_stranded == is_stranded);
            let (sends, oldest) = found.map_or((0, 0.0), |due| (due.count, due.oldest_seconds));
            let oldest = Duration::from_secs_f64(oldest);
            metric::due_sends(merchant.as_str(), blocked, count(sends), oldest);
        }
    }
}

fn reported_by_another(merchant: &MerchantName, reported: &[(MerchantName, String)]) -> Blocked {
    let by = reported.iter().find(|(of, _)| of == merchant).map(|(_, by)| by.as_str());
    by.and_then(|by| Blocked::ALL.into_iter().find(|blocked| blocked.name() == by)).unwrap_or(Blocked::None)
}

/// Orders that wait for a person: one state, whatever the cause; of a merchant that is configured away too, whose
/// figure is 0 after its last one.
fn publish_reviews(reviews: &[Reviews], merchants: &mut BTreeSet<MerchantName>) {
    let state = OrderState::Review(ReviewCause::PaymentUnresolved);
    merchants.extend(reviews.iter().map(|reviews| reviews.merchant.clone()));
    for merchant in merchants.iter() {
        let found = reviews.iter().find(|reviews| reviews.merchant == *merchant);
        let (orders, rupiah, oldest) = found.map_or((0, 0, 0.0), |r| (r.count, r.rupiah, r.oldest_seconds));
        let oldest = Duration::from_secs_f64(oldest);
        metric::open_orders(merchant.as_str(), state, count(orders), count(rupiah), oldest);
    }
}

/// Merchants with requests that no report ever named, although reports named others.
fn publish_reports(unmatched: &[(MerchantName, i64)], accounts: &[Account]) {
    for Account { merchant, .. } in accounts {
        let others = unmatched.iter().find(|(name, _)| name == merchant).map_or(0, |(_, others)| *others);
        metric::reports_never_matched(merchant.as_str(), count(others));
    }
}

/// A cause without an open break is 0, not its last figure.
fn publish_breaks(breaks: &[OpenBreaks]) {
    for cause in Cause::ALL {
        let found = breaks.iter().find(|open| open.cause == cause);
        let (open, rupiah, oldest) = found.map_or((0, 0, 0.0), |b| (b.count, b.rupiah, b.oldest_seconds));
        metric::settlement_breaks(cause, count(open), count(rupiah), Duration::from_secs_f64(oldest));
    }
}

/// A count of rows is never negative.
fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_that_is_configured_away_still_has_its_reviews_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let gone = MerchantName::parse("gone").unwrap();
        let reviews = [Reviews { merchant: gone, count: 2, rupiah: 50_000, oldest_seconds: 9.0 }];
        let mut merchants = BTreeSet::new();
        metrics::with_local_recorder(&recorder, || {
            for (reviews, figure) in [(&reviews[..], 2), (&[], 0)] {
                publish_reviews(reviews, &mut merchants);
                let line = format!("jenius_open_orders{{merchant=\"gone\",state=\"review\"}} {figure}");
                assert!(recorder.handle().render().lines().any(|it| it == line), "{line}");
            }
        });
    }
}
