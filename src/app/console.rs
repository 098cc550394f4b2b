//! What stands behind the console's pages: the functions of the command line, on connections of their own.

mod events;
mod figures;
mod identity;
mod letters;
mod live;
mod second_person;
mod service;
mod settlement;
mod sums;
mod work;

use super::{
    App, DokuClient, Secrets, now_here, process_status::ProcessStatus, role_context::RoleContext,
    settlement::Import,
};
use crate::{
    config::Config,
    domain::{
        Time,
        action::{Action, ActionKind},
        console::Person,
        finding::InquiryFindingKind,
        ids::{InvoiceNumber, MerchantName},
        pause::{PauseLift, Scope},
    },
    flow::{
        check_order::{check_order, words},
        ports::{
            Act, ActionFilter, Asked, BatchSums, BreakEnd, BroughtIn, ConsoleEntry, CustomerLook, Decision,
            DoctorView, FiguresView, FormEnd, Hold, KeyHash, NewFile, Operations, OrderCustomer, OrderFilter,
            OrderPage, Resolved, SeenFile, SendsView, SentForm, ServiceView, SessionView, StoreError,
        },
        view::{
            ActionPage, OrderView, ProposalView,
            settlement::{BreakFilter, BreakView, FileView},
        },
    },
    http::{
        BoundServer,
        console::{self, ConsoleSetting},
    },
    identity::IdentityProvider,
    postgres::{self, PauseChange, PgPool, PostgresStore},
    rabbit::Broker,
};
use anyhow::Context;
use figures::{Counted, count};
use letters::KeptLook;
use live::LiveDesk;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use sums::PayOutSums;
use tokio::{
    io::AsyncRead,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use work::Works;

/// Connections of all viewers together: no page waits long for one, and payments keep theirs.
const CONNECTIONS: u32 = 4;
/// All who look see the same figures for as long.
const FIGURES_LAST: Duration = Duration::from_secs(5);
const SERVICE_LASTS: Duration = Duration::from_secs(1);
/// A person waits for DOKU no longer; the question goes on.
const ASK_MAX: Duration = Duration::from_secs(15);
/// An order has far fewer: its events are one slice.
const EVENTS_OF_ONE_ORDER: u32 = 1000;

impl App {
    pub(super) async fn start_console(&mut self, shared: &RoleContext) -> anyhow::Result<()> {
        let listen = shared.config.console.listen;
        let bound = BoundServer::new(listen, console::LIMITS)
            .await
            .with_context(|| format!("console.listen {listen}"))?;
        let address = bound.address();
        self.console = Some(address);
        let desk = Desk::new(shared, self.shutdown.stop.clone())?;
        let setting = ConsoleSetting {
            config: Arc::clone(&shared.config.console),
            environment: shared.config.doku.environment,
            zone: shared.config.time_zone,
            now: now_here,
            merchants: shared.config.merchants.keys().cloned().collect(),
            profiles: shared.config.settlement.profiles.keys().cloned().collect(),
        };
        self.keep_second_person_rule(shared);
        let router = console::router(desk, setting);
        self.rest.essential("console", bound.serve(router, self.rest.stop().clone()));
        tracing::info!(%address, "the console listens");
        Ok(())
    }

    /// Where the operators' pages are, if this process serves them.
    pub fn console_address(&self) -> Option<SocketAddr> {
        self.console
    }
}

/// What the pages read and do.
struct Desk {
    pool: PgPool,
    store: PostgresStore,
    broker: Broker,
    status: Arc<ProcessStatus>,
    gateway: Arc<DokuClient>,
    /// How long DOKU is given for its answer.
    timeout: Duration,
    merchants: Vec<MerchantName>,
    /// Brings settlement files in.
    import: Arc<Import>,
    service: Mutex<Option<(Instant, ServiceView)>>,
    figures: Mutex<Counted>,
    config: Arc<Config>,
    /// What signs and lets in now: keys and passwords may have been exchanged since the start.
    secrets: Arc<Secrets>,
    look: Arc<Mutex<Option<KeptLook>>>,
    /// One look or one work has the letters at a time.
    letter_lock: Arc<Mutex<()>>,
    works: Works,
    doctor: Arc<Mutex<Option<DoctorView>>>,
    doctor_lock: Arc<Mutex<()>>,
    live: LiveDesk,
    provider: Option<IdentityProvider>,
    sums: PayOutSums,
}

impl Desk {
    fn new(shared: &RoleContext, stop: CancellationToken) -> anyhow::Result<Self> {
        let options = postgres::console_connect_options(shared.config.need_database()?)?;
        let pool = shared.pool.separate_pool(options, CONNECTIONS);
        shared.secrets.add_pool(&pool, postgres::console_connect_options);
        let (import, importing) = settlement::importer(shared)?;
        shared.secrets.add_pool(&importing, postgres::connect_options);
        let store = PostgresStore::new(pool.clone(), shared.config.schedule());
        Ok(Self {
            sums: PayOutSums::new(store.settlement()),
            store,
            pool,
            broker: shared.broker.clone(),
            status: Arc::clone(&shared.status),
            gateway: Arc::clone(&shared.gateway),
            timeout: shared.config.doku.timeout,
            merchants: shared.config.merchants.keys().cloned().collect(),
            import,
            service: Mutex::default(),
            figures: Mutex::default(),
            config: Arc::clone(&shared.config),
            secrets: Arc::clone(&shared.secrets),
            look: Arc::default(),
            letter_lock: Arc::default(),
            works: Works::default(),
            doctor: Arc::default(),
            doctor_lock: Arc::default(),
            live: LiveDesk::new(shared.broker.for_operators(), stop),
            provider: identity::provider(&shared.config.console)?,
        })
    }
}

fn pause_change(scope: Scope, act: Act) -> PauseChange {
    PauseChange { scope, reason: Some(act.reason), done_by: Some(act.by), mark: Some(act.mark) }
}

impl Operations for Desk {
    async fn enter(&self, entry: ConsoleEntry) -> Result<Option<Person>, StoreError> {
        self.store.enter(entry).await
    }

    async fn session(&self, key: KeyHash) -> Result<Option<SessionView>, StoreError> {
        self.reach()?;
        self.store.session(key).await
    }

    async fn leave(&self, key: KeyHash, person: &Person, from: &str) -> Result<(), StoreError> {
        self.store.leave(key, person, from).await
    }

    async fn service(&self) -> ServiceView {
        let mut kept = self.service.lock().await;
        let is_old = kept.as_ref().is_none_or(|(at, _)| at.elapsed() >= SERVICE_LASTS);
        if is_old {
            let before = kept.take().map(|(_, view)| view).unwrap_or_default();
            // What stopped sends before the database went away stops them still.
            let stops = self.stops().await.unwrap_or(before);
            *kept = Some((Instant::now(), stops));
        }
        let view = kept.as_ref().map(|(_, view)| view.clone()).unwrap_or_default();
        ServiceView { faults: self.faults(), ..view }
    }

    async fn figures(&self) -> FiguresView {
        let mut counted = self.figures.lock().await;
        if counted.tried.is_none_or(|at| at.elapsed() >= FIGURES_LAST) {
            match self.count(&mut counted).await {
                Ok(figures) => {
                    let at: Time = now_here();
                    counted.view = FiguresView { figures: Some((at, figures)), ..FiguresView::default() };
                }
                Err(error) => counted.view.fault = Some(error.to_string()),
            }
            counted.tried = Some(Instant::now());
        }
        FiguresView { dependencies: self.status.dependencies(&self.broker), ..counted.view.clone() }
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<OrderPage, StoreError> {
        postgres::walk_orders(&self.pool, filter).await
    }

    async fn order(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
    ) -> Result<Option<OrderView>, StoreError> {
        postgres::order_view(&self.pool, merchant.as_str(), invoice.as_str()).await
    }

    async fn customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
    ) -> Result<Option<OrderCustomer>, StoreError> {
        self.store.customer(merchant, invoice).await
    }

    async fn show_customer(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<CustomerLook, StoreError> {
        let action = Action {
            kind: ActionKind::ShowCustomer,
            subject: invoice.to_string(),
            merchant: Some(merchant.to_string()),
            reason: Some(act.reason),
            done_by: Some(act.by),
            detail: None,
        };
        if !postgres::record_form(&self.pool, &action, &act.mark).await? {
            return Ok(CustomerLook::Repeated);
        }
        Ok(CustomerLook::Shown(self.store.customer(merchant, invoice).await?))
    }

    async fn hold(&self, order_key: i64, by: &str) -> Result<(), StoreError> {
        self.store.hold(order_key, by).await
    }

    async fn holds(&self, order_keys: &[i64]) -> Result<Vec<Hold>, StoreError> {
        self.store.holds(order_keys).await
    }

    async fn proposal(&self, order_key: i64) -> Result<Option<ProposalView>, StoreError> {
        postgres::open_proposal(&self.pool, order_key).await
    }

    async fn foresee(&self, decision: Decision) -> Result<Resolved, StoreError> {
        self.store.foresee(decision).await
    }

    async fn decide(&self, decision: Decision, form: SentForm) -> Result<FormEnd, StoreError> {
        self.store.resolve_by_form(decision, form).await
    }

    async fn ask_doku(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<Asked, StoreError> {
        let action = Action {
            kind: ActionKind::CheckOrder,
            subject: invoice.to_string(),
            merchant: Some(merchant.to_string()),
            reason: Some(act.reason),
            done_by: Some(act.by),
            detail: None,
        };
        if !postgres::record_form(&self.pool, &action, &act.mark).await? {
            return Ok(Asked::Repeated);
        }
        // In a task of its own: what was claimed is recorded, whether or not the person waits for it.
        let (store, gateway, limit) = (self.store.clone(), Arc::clone(&self.gateway), self.timeout);
        let (merchant, invoice) = (merchant.clone(), invoice.clone());
        let asking =
            tokio::spawn(async move { check_order(&store, &*gateway, &merchant, &invoice, limit).await });
        let Ok(asked) = timeout(ASK_MAX, asking).await else {
            return Ok(Asked::NotAnswered("no answer yet; load the page again in a moment".to_owned()));
        };
        let Ok(asked) = asked else {
            return Ok(Asked::NotAnswered("the task that asked has ended; see the log".to_owned()));
        };
        Ok(match asked {
            Ok(finding) if matches!(finding.kind, InquiryFindingKind::Failed { .. }) => {
                Asked::NotAnswered(words(&finding))
            }
            Ok(finding) => Asked::Answered(words(&finding)),
            Err(error) => Asked::NotAnswered(error.to_string()),
        })
    }

    async fn publish_again(
        &self,
        merchant: &MerchantName,
        invoice: &InvoiceNumber,
        act: Act,
    ) -> Result<Option<u64>, StoreError> {
        let Some(of) = self.store.order_to_replay(merchant, invoice).await? else { return Ok(Some(0)) };
        let Some(slice) = self.store.next_slice(of, None, None, EVENTS_OF_ONE_ORDER).await? else {
            return Ok(Some(0));
        };
        let published = self.store.count_published(slice, None).await?;
        let action = Action {
            kind: ActionKind::ReplayEvents,
            subject: invoice.to_string(),
            merchant: Some(merchant.to_string()),
            reason: Some(act.reason),
            done_by: Some(act.by),
            detail: Some(format!("{published} published events")),
        };
        if !postgres::record_form(&self.pool, &action, &act.mark).await? {
            return Ok(None);
        }
        Ok(Some(count(self.store.put_back(slice, None).await?.count)))
    }

    async fn sends(&self) -> Result<Vec<SendsView>, StoreError> {
        let merchants = self.merchants.iter().cloned().map(Scope::Merchant);
        let mut sends = Vec::new();
        for scope in std::iter::once(Scope::AllMerchants).chain(merchants) {
            let waiting = self.store.waiting_sends(&scope).await?;
            sends.push(SendsView { scope, waiting: count(waiting.count), first_end: waiting.first_end });
        }
        Ok(sends)
    }

    async fn pause(&self, scope: Scope, act: Act) -> Result<(), StoreError> {
        self.store.pause(pause_change(scope, act)).await?;
        // The next page says so.
        *self.service.lock().await = None;
        Ok(())
    }

    async fn resume(&self, scope: Scope, since: Time, act: Act) -> Result<PauseLift, StoreError> {
        let lift = self.store.resume(pause_change(scope, act), Some(since)).await?;
        *self.service.lock().await = None;
        Ok(lift)
    }

    async fn breaks(&self, filter: &BreakFilter) -> Result<Vec<BreakView>, StoreError> {
        self.store.settlement().list_breaks(filter).await
    }

    async fn settlement_files(&self, limit: u32) -> Result<Vec<FileView>, StoreError> {
        self.store.settlement().list_files(limit).await
    }

    async fn settlement_file(&self, number: i64) -> Result<Option<FileView>, StoreError> {
        self.store.settlement().view_file(number).await
    }

    async fn batch(&self, name: &str) -> Result<BatchSums, StoreError> {
        self.sums.of_batch(name).await
    }

    async fn bring_in(
        &self,
        file: NewFile,
        bytes: impl AsyncRead + Send + Unpin,
        act: Act,
    ) -> Result<BroughtIn, StoreError> {
        self.keep_and_read(file, bytes, act).await
    }

    async fn match_file(&self, number: i64, seen: SeenFile, act: Act) -> Result<BroughtIn, StoreError> {
        self.match_kept(number, seen, act).await
    }

    async fn close_break(&self, number: i64, name: &str, act: Act) -> Result<BreakEnd, StoreError> {
        self.close_named(number, name, act).await
    }

    async fn actions(&self, filter: &ActionFilter) -> Result<ActionPage, StoreError> {
        postgres::actions(&self.pool, filter).await
    }
}
