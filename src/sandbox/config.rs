//! What a sandbox is started with. What can change while it runs is in [`super::Faults`].

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;

use super::notify::NotifyForm;

/// The merchant of [`SandboxConfig::default`]: an example, no secret.
pub const EXAMPLE_CLIENT_ID: &str = "MCH-0001-10791114622547";
/// The key of [`EXAMPLE_CLIENT_ID`].
pub const EXAMPLE_SECRET_KEY: &str = "SK-sandbox-example";

#[derive(Clone, Debug)]
pub struct Merchant {
    pub client_id: String,
    pub secret_key: SecretString,
}

impl Merchant {
    #[must_use]
    pub fn new(client_id: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { client_id: client_id.into(), secret_key: SecretString::from(secret_key.into()) }
    }
}

/// How answers of Check Status are signed: DOKU's pages leave it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckSignature {
    #[default]
    WithDigest,
    WithoutDigest,
    Unsigned,
}

#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub merchants: Vec<Merchant>,
    /// Where notifications go, unless a payment overrides it; `None`: nowhere.
    pub notify_url: Option<String>,
    /// The customer's pace: from the payment request to the first change of the transaction, and between changes.
    pub pay_after_ms: u64,
    /// What `notify_late` adds.
    pub notify_late_ms: u64,
    /// Multiplies DOKU's waits before a notification is tried again: 30 minutes, 6 hours, 12 hours.
    pub retry_scale: f64,
    /// How long `hang` and `hang_then_act` last without an argument.
    pub hang_ms: u64,
    /// The share of requests and inquiries that a random fault strikes, 0 to 1.
    pub fault_rate: f64,
    /// The same seed strikes the same sends of the same Request-Ids with the same faults.
    pub seed: u64,
    pub check_signature: CheckSignature,
    /// Whether answers that decline a request, and Check Status' 404, are signed.
    pub sign_errors: bool,
    /// The form of notifications, unless an order's words say otherwise.
    pub notify_form: NotifyForm,
    /// DOKU's RSA key (PEM, PKCS#8): with it a token is fetched before each SNAP notification.
    pub snap_private_key: Option<String>,
    /// For load: payments only, verified and counted, and nothing else remembered.
    pub fast: bool,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            merchants: vec![Merchant::new(EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY)],
            notify_url: None,
            pay_after_ms: 1000,
            notify_late_ms: 5000,
            retry_scale: 1.0,
            hang_ms: 60_000,
            fault_rate: 0.0,
            seed: 0,
            check_signature: CheckSignature::default(),
            sign_errors: true,
            notify_form: NotifyForm::default(),
            snap_private_key: None,
            fast: false,
        }
    }
}
