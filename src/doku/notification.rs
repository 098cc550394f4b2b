//! DOKU's notifications: whose they are, and what they say. What follows from them is the domain's.
//!
//! There is no freshness window: DOKU repeats a notification for hours, and duplicates change nothing.

use super::{
    account::Accounts,
    signature::{KeyAge, Signed, Timestamp, digest},
    wire::{StatusIn, read_said},
};
use crate::{
    domain::{
        ids::MerchantName,
        money::ReportedAmount,
        notification::{NotAuthentic, Notification, SignedHeaders},
    },
    flow::ports::{NotificationReader, ReceivedNotification},
    metric,
};

/// A longer invoice number is no invoice of ours, nor of any channel of the account's.
const INVOICE_CHARS_MAX: usize = 128;

/// So much of an amount that is none is kept for a person to see.
const AMOUNT_BYTES_MAX: usize = 64;

/// In place of a text that is no amount at all.
const NO_NUMBER: &str = "no number";

/// Whose notification it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub merchant: MerchantName,
    pub key: KeyAge,
}

/// A verified notification that names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification is no JSON object with an order.invoice_number")]
pub struct Incomplete;

/// Verifies notifications against every account's keys and the configured paths.
#[derive(Debug, Clone)]
pub struct Verifier {
    accounts: Accounts,
    /// As the outside sees them, the current one first.
    paths: Vec<String>,
}

impl Verifier {
    /// `paths`: the notification path and its previous ones.
    pub fn new(accounts: Accounts, paths: Vec<String>) -> Self {
        Self { accounts, paths }
    }

    /// Verifies over the raw bytes. Only the keys of the account it names are tried, so that a merchant's
    /// signature never speaks for another's order.
    pub fn verify(&self, headers: &SignedHeaders, body: &[u8]) -> Result<Verified, NotAuthentic> {
        // A Client-Id that nobody has costs as much as one that somebody has: by the time it takes, a stranger would
        // learn which exist. What nobody's key says is not believed.
        let account = self.accounts.of_client_id(&headers.client_id);
        let nobody = self.accounts.nobody();
        let keys = account.as_ref().map_or(&nobody.keys, |account| &account.keys);
        let digest = digest(body);
        let verifies = |path: &String| {
            let signed = Signed {
                client_id: &headers.client_id,
                request_id: &headers.request_id,
                timestamp: Timestamp::Request(&headers.timestamp),
                target: path,
                digest: Some(&digest),
            };
            signed.verify(keys, &headers.signature)
        };
        let key = self.paths.iter().find_map(verifies);
        let account = account.ok_or(NotAuthentic::ClientIdUnknown)?;
        let key = key.ok_or(NotAuthentic::SignatureWrong)?;
        Ok(Verified { merchant: account.merchant.clone(), key })
    }
}

/// Reads a verified notification. Service, channel and every unknown member are ignored: the account's
/// other channels notify too, and DOKU adds members.
pub fn read(request_id: &str, body: &[u8]) -> Result<Notification, Incomplete> {
    let said = read_said(body, StatusIn::Report).ok_or(Incomplete)?;
    let invoice_number = said.invoice_number.ok_or(Incomplete)?;
    if invoice_number.chars().count() > INVOICE_CHARS_MAX {
        return Err(Incomplete);
    }
    let amount = said.amount.map(|written| kept(&written));
    let (status, request) = (said.status, said.request);
    Ok(Notification { request_id: request_id.to_owned(), invoice_number, status, amount, request })
}

/// An amount as it is kept: whole rupiah as digits, whatever DOKU's notation; another number as written, and
/// marked where it is cut, so that it is never read as a possible amount. A text that is neither a number nor
/// a word may be private.
fn kept(written: &str) -> String {
    let is_number = written.bytes().all(|b| b.is_ascii_digit() || b"+-.,eE".contains(&b));
    let is_word = written.bytes().all(|b| b.is_ascii_alphabetic());
    match ReportedAmount::read(written) {
        ReportedAmount::Whole(amount) => amount.to_string(),
        ReportedAmount::Other if !is_number && !is_word => NO_NUMBER.to_owned(),
        ReportedAmount::Other if written.len() <= AMOUNT_BYTES_MAX => written.to_owned(),
        ReportedAmount::Other => format!("{}…", &written[..AMOUNT_BYTES_MAX]),
    }
}

impl NotificationReader for Verifier {
    fn verify(&self, headers: &SignedHeaders, body: &[u8]) -> Result<MerchantName, NotAuthentic> {
        let verified = Self::verify(self, headers, body)?;
        metric::key_verified(verified.merchant.as_str(), verified.key.into());
        Ok(verified.merchant)
    }

    fn read(&self, received: &ReceivedNotification) -> Option<Notification> {
        read(&received.headers.request_id, &received.body).ok()
    }
}

#[cfg(test)]
mod tests;
