//! DOKU's notifications: signed, sent again after 30 minutes, 6 hours and 12 hours until an answer is 2xx, and
//! then never again. An order's own URL wins over the sandbox's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use url::Url;
use uuid::Uuid;

use super::answer::StatusReport;
use super::clock;
use super::ledger::NotificationSend;
use super::signature::{self, SecretKey, SignatureInput, Stamp};
use super::snap::{self, SnapSignature};
use super::world::World;

/// DOKU's waits before a notification is tried again, before `retry_scale`.
pub const NOTIFY_RETRIES_MS: [u64; 3] = [30 * 60 * 1000, 6 * 3600 * 1000, 12 * 3600 * 1000];
/// No answer within this time counts as none.
pub(super) const NOTIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// The token of a SNAP notification for a merchant that gave none.
const OWN_TOKEN: &str = "sandbox.token";
/// A token that ended long ago.
const STALE_TOKEN: &str = "MC4=.c3RhbGU=";
/// Notifications that are on their way at the same time.
pub(super) const NOTIFY_CONCURRENCY_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct OutgoingNotification {
    pub(super) client_id: Arc<str>,
    pub(super) invoice_number: String,
    /// As it stands in JSON.
    pub(super) amount: String,
    pub(super) status: String,
    pub(super) original_request_id: String,
    pub(super) date: DateTime<Utc>,
    pub(super) url: Option<Url>,
    pub(super) form: NotifyForm,
}

/// In which of its two forms DOKU words and signs a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyForm {
    #[default]
    Jenius,
    Snap(SnapSignature),
}

/// Its amount as SNAP writes it: a text with two digits behind the point.
fn snap_amount(amount: &str) -> String {
    let digits = amount.trim_matches('"');
    if digits.contains('.') { digits.to_owned() } else { format!("{digits}.00") }
}

impl OutgoingNotification {
    pub(super) fn body(&self) -> Bytes {
        StatusReport {
            invoice_number: &self.invoice_number,
            amount: &self.amount,
            status: &self.status,
            date: self.date,
            original_request_id: &self.original_request_id,
        }
        .body()
    }
}

/// Makes the first try, and leaves the others to a task of their own.
pub(super) async fn deliver(world: &Arc<World>, notification: OutgoingNotification) {
    let request_id = Uuid::new_v4().to_string();
    if taken(send(world, &notification, &request_id, 1).await) {
        return;
    }
    let tasks = &world.tasks;
    let world = world.clone();
    tasks.spawn(async move {
        for (wait_ms, attempt) in NOTIFY_RETRIES_MS.into_iter().zip(2..) {
            let wait = Duration::from_millis(wait_ms).mul_f64(world.config.retry_scale);
            if !world.sleep(wait).await || taken(send(&world, &notification, &request_id, attempt).await) {
                return;
            }
        }
    });
}

/// Whether there is nothing more to do: it was answered 2xx, or it has nowhere to go.
fn taken(sent: Result<u16, NotSent>) -> bool {
    match sent {
        Ok(status) => (200..300).contains(&status),
        Err(NotSent::Unwanted | NotSent::UnknownMerchant) => true,
        Err(NotSent::Unanswered(_)) => false,
    }
}

/// Why a notification has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    #[error("there is no URL to notify, or notifications are switched off")]
    Unwanted,
    #[error("the sandbox has no merchant of that Client-Id")]
    UnknownMerchant,
    #[error("the notification was not answered")]
    Unanswered(#[source] reqwest::Error),
}

/// One try, noted in the ledger, signed with the time it is made at.
pub(super) async fn send(
    world: &World,
    notification: &OutgoingNotification,
    request_id: &str,
    attempt: u32,
) -> Result<u16, NotSent> {
    let url = notification.url.clone().or_else(|| world.notify_url()).ok_or(NotSent::Unwanted)?;
    let switch = world.switch();
    if switch.faults.notify_never {
        return Err(NotSent::Unwanted);
    }
    let merchants = world.merchants();
    let keys = merchants.get(&notification.client_id).ok_or(NotSent::UnknownMerchant)?;
    let permit = world.notify_permits.acquire().await;
    let at = clock::now();
    let answer = match notification.form {
        NotifyForm::Jenius => post(world, notification, request_id, &url, &keys.signing).await,
        NotifyForm::Snap(signature) => post_snap(world, notification, &url, &keys.signing, signature).await,
    };
    drop(permit);
    world.book.lock().note_notification(NotificationSend {
        at,
        client_id: notification.client_id.to_string(),
        request_id: request_id.to_owned(),
        invoice_number: notification.invoice_number.clone(),
        amount: notification.amount.clone(),
        status: notification.status.clone(),
        attempt,
        http_status: answer.as_ref().ok().copied(),
    });
    answer
}

async fn post(
    world: &World,
    notification: &OutgoingNotification,
    request_id: &str,
    url: &Url,
    key: &SecretKey,
) -> Result<u16, NotSent> {
    let body = notification.body();
    let stamp = clock::stamp(world.now());
    let digest = signature::digest(&body);
    let signed = SignatureInput {
        client_id: &notification.client_id,
        request_id,
        stamp: Stamp::Request(&stamp),
        target: url.path(),
        digest: Some(&digest),
    };
    let response = world
        .client
        .post(url.clone())
        .header("Client-Id", signed.client_id)
        .header("Request-Id", request_id)
        .header("Request-Timestamp", &stamp)
        .header("Signature", signature::sign(&signed, key))
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await
        .map_err(|error| NotSent::Unanswered(error.without_url()))?;
    Ok(response.status().as_u16())
}

async fn post_snap(
    world: &World,
    notification: &OutgoingNotification,
    url: &Url,
    key: &SecretKey,
    signature: SnapSignature,
) -> Result<u16, NotSent> {
    let amount = snap_amount(&notification.amount);
    let reference = &notification.original_request_id;
    let body = snap::body(&notification.invoice_number, &amount, &notification.status, reference);
    let token = match signature {
        SnapSignature::StaleToken => STALE_TOKEN.to_owned(),
        _ => fetch_token(world, notification, url).await.unwrap_or_else(|| OWN_TOKEN.to_owned()),
    };
    let (path, timestamp) = (url.path(), snap::timestamp(world.now()));
    let minified = snap::minify(&body);
    let hmac = |body: &str, key: &SecretKey| snap::sign(path, &token, &timestamp, body.as_bytes(), key);
    let signature = match (signature, &world.snap_key) {
        (SnapSignature::Rsa, Some(rsa)) => snap::sign_rsa(path, &timestamp, minified.as_bytes(), rsa),
        (SnapSignature::HmacOverRaw, _) => hmac(&body, key),
        (SnapSignature::OtherKey, _) => hmac(&minified, &SecretKey::new("SK-of-another")),
        (SnapSignature::Hmac | SnapSignature::StaleToken | SnapSignature::Rsa, _) => hmac(&minified, key),
    };
    let external_id = Uuid::new_v4().as_u128().to_string();
    let request = world
        .client
        .post(url.clone())
        .header("X-TIMESTAMP", &timestamp)
        .header("X-SIGNATURE", signature)
        .header("X-PARTNER-ID", &*notification.client_id)
        .header("X-EXTERNAL-ID", &external_id[..external_id.len().min(18)])
        .header("CHANNEL-ID", "H2H")
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json");
    let response =
        request.body(body).send().await.map_err(|error| NotSent::Unanswered(error.without_url()))?;
    Ok(response.status().as_u16())
}

/// The token that the merchant's server hands out; `None` without DOKU's key, or if it gives none.
async fn fetch_token(world: &World, notification: &OutgoingNotification, url: &Url) -> Option<String> {
    let key = world.snap_key.as_ref()?;
    let timestamp = snap::timestamp(world.now());
    let response = world
        .client
        .post(url.join(snap::TOKEN_PATH).ok()?)
        .header("X-CLIENT-KEY", &*notification.client_id)
        .header("X-TIMESTAMP", &timestamp)
        .header("X-SIGNATURE", snap::sign_token_request(&notification.client_id, &timestamp, key))
        .header("Content-Type", "application/json")
        .body(snap::TOKEN_BODY)
        .send()
        .await
        .ok()?;
    snap::token_of(&response.text().await.ok()?)
}
