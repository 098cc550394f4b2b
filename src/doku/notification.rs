//! DOKU's notifications: whose they are, and what they say. What follows from them is the domain's.
//!
//! There is no freshness window: DOKU repeats a notification for hours, and duplicates change nothing.

use super::{
    account::Accounts,
    signature::{KeyAge, Signed, Timestamp, digest},
    wire::{StatusIn, read_said},
};
use crate::domain::{
    ids::MerchantName,
    learned::{Report, ReportedStatus},
    notification::Notification,
};

/// The headers that are signed, and the signature.
pub const HEADERS: [&str; 4] = ["Client-Id", "Request-Id", "Request-Timestamp", "Signature"];

/// Longer headers are nobody's: DOKU's own limit for a Request-Id is 128.
const HEADER_BYTES_MAX: usize = 256;

/// A longer invoice number is no invoice of ours, nor of any channel of the account's.
const INVOICE_CHARS_MAX: usize = 128;

/// The signed headers of one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHeaders<'a> {
    pub client_id: &'a str,
    pub request_id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
}

/// A header that is missing, empty, or nothing DOKU would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing or unusable")]
pub struct MissingHeader(pub &'static str);

/// Whose notification it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub merchant: MerchantName,
    pub key: KeyAge,
}

/// The Client-Id is unknown, or no key of its account made the signature for a configured path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature or the Client-Id is wrong")]
pub struct NotAuthentic;

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

impl<'a> SignedHeaders<'a> {
    /// Reads them through `get`, which finds a header by its name in any letter case.
    pub fn read(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MissingHeader> {
        let usable = |value: &&str| {
            (1..=HEADER_BYTES_MAX).contains(&value.len()) && !value.contains(|c: char| c.is_control())
        };
        let read = |name: &'static str| get(name).filter(usable).ok_or(MissingHeader(name));
        let [client_id, request_id, timestamp, signature] = HEADERS;
        Ok(Self {
            client_id: read(client_id)?,
            request_id: read(request_id)?,
            timestamp: read(timestamp)?,
            signature: read(signature)?,
        })
    }
}

impl Verifier {
    /// `paths`: the notification path and its previous ones.
    pub fn new(accounts: Accounts, paths: Vec<String>) -> Self {
        Self { accounts, paths }
    }

    /// Verifies over the raw bytes. Only the keys of the account it names are tried, so that a merchant's
    /// signature never speaks for another's order.
    pub fn verify(&self, headers: SignedHeaders<'_>, body: &[u8]) -> Result<Verified, NotAuthentic> {
        let account = self.accounts.of_client_id(headers.client_id).ok_or(NotAuthentic)?;
        let digest = digest(body);
        let verifies = |path: &String| {
            let signed = Signed {
                client_id: headers.client_id,
                request_id: headers.request_id,
                timestamp: Timestamp::Request(headers.timestamp),
                target: path,
                digest: Some(&digest),
            };
            signed.verify(&account.keys, headers.signature)
        };
        let key = self.paths.iter().find_map(verifies).ok_or(NotAuthentic)?;
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
    let report = said.status.zip(said.amount).map(|(word, amount)| Report {
        status: ReportedStatus::read(&word),
        word,
        amount,
    });
    Ok(Notification { request_id: request_id.to_owned(), invoice_number, report })
}

#[cfg(test)]
mod tests;
