//! DOKU's side, as a real HTTP server: for upstream teams to test against, and the oracle of our own tests.
//!
//! It plays DOKU as its documentation and its recorded traffic show it: checks headers, timestamp, Client-Id,
//! signature and body in that order; signs its answers; answers a known Request-Id with the same body and 409;
//! has customers who pay later; notifies, and tries again; and misbehaves on demand (`GET /help`). Its ledger
//! (`GET /ledger`) says what it really did.
//!
//! It is a crate of its own and depends on nothing of the service: an oracle built from the parts it judges proves
//! nothing. It must never be given real keys or customers: what it knows, it keeps in memory and shows to every client.

mod answer;
mod body;
mod book;
mod check;
mod clock;
mod config;
mod customer;
mod face;
mod fast;
mod fault_script;
mod faults;
mod ledger;
mod notify;
mod play;
mod raw_connection;
mod request;
mod server;
mod settlement;
pub mod signature;
pub mod snap;
mod switch;
#[cfg(test)]
mod tests;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use uuid::Uuid;

pub use config::{CheckSignature, EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY, Merchant, SandboxConfig};
pub use fast::Counts;
pub use ledger::{
    Charge, Ledger, NOTIFICATIONS_KEPT_MAX, NotificationSend, Operation, REQUESTS_KEPT_MAX, Refund, Request,
    TransactionStatus,
};
pub use notify::{NOTIFY_RETRIES_MS, NotSent, NotifyForm};
pub use server::{CHECK_PATH, PAYMENT_PATH, REFUND_PATH};
pub use settlement::{NotPlanted, Planted, SETTLEMENT_FEE, SettlementFile, SettlementRequest};
pub use switch::{Faults, UnknownFault};

use check::{Keys, Merchants};
use fault_script::FaultScript;
use notify::{NOTIFY_CONCURRENCY_MAX, NOTIFY_TIMEOUT, OutgoingNotification};
use raw_connection::{RawConnection, WiredListener};
use switch::Switch;
use world::World;

/// How long [`Sandbox::stop`] waits for answers that are being written.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

/// The largest `retry_scale`: waits of years are a mistake.
pub const RETRY_SCALE_MAX: f64 = 1000.0;

/// A running sandbox. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    world: Arc<World>,
    serving: JoinHandle<()>,
}

/// A notification that a test or an operator words himself, signed with the merchant's key.
#[derive(Clone, Debug)]
pub struct HandMade {
    pub client_id: String,
    /// `None`: a fresh one.
    pub request_id: Option<String>,
    pub invoice_number: String,
    /// As it is to stand in the JSON: `"50000"` with its quotation marks, `50000`, `50000.00`.
    pub amount: String,
    pub status: String,
    pub original_request_id: String,
    pub form: NotifyForm,
}

impl Sandbox {
    /// Binds and serves in the background of the current runtime.
    ///
    /// # Errors
    /// The address is taken, a value of the configuration cannot be used, or no HTTP client can be built.
    pub async fn start(config: SandboxConfig) -> io::Result<Self> {
        // The first call installs the provider; it is the same one for the whole process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(NOTIFY_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .map_err(io::Error::other)?;
        if !(0.0..=RETRY_SCALE_MAX).contains(&config.retry_scale) {
            return Err(invalid(format!("retry_scale must be from 0 to {RETRY_SCALE_MAX}")));
        }
        let notify_url = config.notify_url.as_deref().map(parse_url).transpose()?;
        let snap_key = config.snap_private_key.as_deref().map(read_snap_key).transpose()?;
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let world = Arc::new(World {
            merchants: RwLock::new(Arc::new(merchants(&config)?)),
            config,
            snap_key,
            client,
            notify_permits: Semaphore::new(NOTIFY_CONCURRENCY_MAX),
            stopped: CancellationToken::new(),
            by_hand: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            book: Mutex::default(),
            switch: RwLock::default(),
            tally: fast::Tally::default(),
            notify_url: RwLock::new(notify_url),
        });
        let service = server::router(world.clone()).into_make_service_with_connect_info::<RawConnection>();
        let stopped = world.stopped.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            let server = axum::serve(WiredListener(listener), service).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                tracing::error!(%error, "the sandbox stopped serving");
            }
        });
        Ok(Self { address, world, serving })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What DOKU did so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.world.book.lock().snapshot()
    }

    /// A settlement file of what DOKU did so far, with what was planted in it.
    ///
    /// # Errors
    /// A word that does not exist, or that finds nothing to strike.
    pub fn settlement(&self, request: &SettlementRequest) -> Result<SettlementFile, NotPlanted> {
        settlement::settlement_file(&self.ledger(), request, self.world.now())
    }

    /// What DOKU did so far, in the fast mode.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.world.tally.counts()
    }

    /// Replaces the global switch.
    ///
    /// # Errors
    /// A word that does not exist; the switch stays as it was.
    pub fn set_faults(&self, faults: Faults) -> Result<(), UnknownFault> {
        self.world.set_switch(Switch::parse(faults)?);
        Ok(())
    }

    #[must_use]
    pub fn faults(&self) -> Faults {
        self.world.switch().faults.clone()
    }

    /// Exchanges a merchant's key: requests must be signed with the one, answers and notifications are signed
    /// with the other.
    pub fn set_keys(&self, client_id: &str, taken: &str, signing: &str) {
        self.world.set_keys(client_id, Keys::new(taken, signing));
    }

    /// Where notifications go from now on; `None`: nowhere.
    ///
    /// # Errors
    /// Not an absolute http(s) URL.
    pub fn set_notify_url(&self, url: Option<&str>) -> io::Result<()> {
        self.world.set_notify_url(url.map(parse_url).transpose()?);
        Ok(())
    }

    /// Sends a notification now, once, to [`Sandbox::set_notify_url`]'s URL, and gives the HTTP status it got.
    ///
    /// # Errors
    /// No URL, an unknown merchant, or no answer.
    pub async fn notify(&self, made: HandMade) -> Result<u16, NotSent> {
        let notification = OutgoingNotification {
            client_id: Arc::from(made.client_id),
            invoice_number: made.invoice_number,
            amount: made.amount,
            status: made.status,
            original_request_id: made.original_request_id,
            date: clock::now(),
            url: None,
            form: made.form,
        };
        let request_id = made.request_id.unwrap_or_else(|| Uuid::new_v4().to_string());
        notify::send(&self.world, &notification, &request_id, 1).await
    }

    /// An order that was paid before anybody looked: its charge is in the ledger, no request is. An order that
    /// exists already is only set to paid.
    pub fn seed_paid(&self, client_id: &str, invoice_number: &str, amount: u64) {
        let at = clock::now();
        let charge = Charge {
            at,
            client_id: client_id.to_owned(),
            request_id: invoice_number.to_owned(),
            invoice_number: invoice_number.to_owned(),
            amount,
            status: TransactionStatus::Success,
        };
        let mut book = self.world.book.lock();
        let order = book.open(&Arc::from(client_id), charge, None, Arc::new(FaultScript::default()));
        book.change(order, TransactionStatus::Success, at);
    }

    /// What the back office, the customer or time did to a transaction, without a notification. False if there
    /// is no such order.
    #[must_use]
    pub fn set_status(&self, client_id: &str, invoice_number: &str, status: TransactionStatus) -> bool {
        let mut book = self.world.book.lock();
        let order = book.order_of(&Arc::from(client_id), invoice_number);
        if let Some(order) = order {
            book.change(order, status, clock::now());
        }
        order.is_some()
    }

    /// Stops listening, ends hanging requests, drops notifications that wait to be tried again, and gives what
    /// was done. The address is free afterwards.
    pub async fn stop(mut self) -> Ledger {
        self.world.stopped.cancel();
        self.world.tasks.close();
        let ended = async {
            let _ = (&mut self.serving).await;
            self.world.tasks.wait().await;
        };
        if tokio::time::timeout(STOP_WAIT_MAX, ended).await.is_err() {
            tracing::warn!("the sandbox was stopped with requests in flight");
        }
        self.ledger()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.world.stopped.cancel();
        self.serving.abort();
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

fn merchants(config: &SandboxConfig) -> io::Result<Merchants> {
    let mut merchants = Merchants::new();
    for merchant in &config.merchants {
        let key = merchant.secret_key.expose_secret();
        if merchants.insert(Arc::from(merchant.client_id.as_str()), Keys::new(key, key)).is_some() {
            return Err(invalid(format!("the Client-Id {} is given twice", merchant.client_id)));
        }
    }
    Ok(merchants)
}

fn parse_url(text: &str) -> io::Result<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| invalid(format!("not an absolute http(s) URL: {text}")))
}

fn read_snap_key(pem: &str) -> io::Result<snap::PrivateKey> {
    snap::PrivateKey::read(pem)
        .ok_or_else(|| invalid("snap_private_key must be an RSA key in PEM form (PKCS#8)".to_owned()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
