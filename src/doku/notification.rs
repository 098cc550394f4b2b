//! DOKU's notifications: which account each is for, and what it reports. What follows from them is the domain's.
//!
//! There is no freshness window: DOKU repeats a notification for hours, and duplicates change nothing.

use super::{
    account::Accounts,
    body::{StatusIn, parse_order_fields},
    signature::{AccountKeys, KeyAge, Signed, Timestamp, digest},
    snap::{
        body as snap_body,
        public_key::PublicKey,
        signature::{Bodies, BodyForm, Signature, Signed as SnapSigned},
        token,
    },
};
use crate::{
    domain::{
        ids::MerchantName,
        money::ReportedAmount,
        notification::Notification,
        signed::{Form, JeniusHeaders, NotAuthentic, SignedBy, SignedHeaders, SnapHeaders},
    },
    flow::ports::{Clock, NotificationReader, ReportOf, Verified},
    metric,
};
use std::{borrow::Cow, sync::Arc};

/// A longer invoice number is no invoice of ours, nor of any channel of the account's.
pub(super) const INVOICE_CHARS_MAX: usize = 128;

/// At most this much of an invalid amount is kept for a person to see.
const AMOUNT_BYTES_MAX: usize = 64;

/// In place of a text that is no amount at all.
pub(super) const NO_NUMBER: &str = "no number";

/// Who signed a notification, with which of an account's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signer {
    Account(KeyAge),
    Doku,
}

/// A verified notification that names no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the notification is no JSON object that names an invoice")]
pub struct Incomplete;

/// Verifies notifications against every account's keys, DOKU's own, and the configured paths.
#[derive(Clone)]
pub struct Verifier {
    accounts: Accounts,
    /// As the outside sees them, the current one first.
    paths: Vec<String>,
    /// DOKU's keys, which sign for no account.
    public_keys: Arc<[PublicKey]>,
    /// By what a notification in the SNAP form needs a token of ours; `None`: it needs none.
    tokens_end_by: Option<Arc<dyn Clock>>,
}

impl Verifier {
    /// `paths`: the notification path and its previous ones.
    pub fn new(accounts: Accounts, paths: Vec<String>) -> Self {
        Self { accounts, paths, public_keys: Arc::default(), tokens_end_by: None }
    }

    #[must_use]
    pub fn with_public_keys(self, public_keys: Arc<[PublicKey]>) -> Self {
        Self { public_keys, ..self }
    }

    /// From now on a notification in the SNAP form needs a bearer token that was issued here and has not ended.
    #[must_use]
    pub fn needing_tokens(self, clock: Arc<dyn Clock>) -> Self {
        Self { tokens_end_by: Some(clock), ..self }
    }

    /// Verifies over the raw bytes. Only the keys of the account it names are tried, so that a merchant's
    /// signature never speaks for another's order.
    fn verify_jenius(&self, headers: &JeniusHeaders, body: &[u8]) -> Result<SignedBy, NotAuthentic> {
        // A Client-Id of no account costs as much time as a real one: by the time it takes, a stranger would
        // learn which exist. A signature with the decoy's key is not believed.
        let account = self.accounts.by_client_id(&headers.client_id);
        let decoy = self.accounts.decoy();
        let keys = account.as_ref().map_or(&decoy.keys, |account| &account.keys);
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
        Ok(signed_by_merchant(&account.merchant, key))
    }

    /// The same for the SNAP form; gives the bytes that were hashed. A signature of no possible length costs no hash.
    fn verify_snap<'a>(
        &self,
        headers: &SnapHeaders,
        body: &'a [u8],
    ) -> Result<(SignedBy, Cow<'a, [u8]>), NotAuthentic> {
        let account = self.accounts.by_client_id(&headers.partner_id);
        let decoy = self.accounts.decoy();
        let keys = account.as_ref().map_or(&decoy.keys, |account| &account.keys);
        let signed = Signature::read(&headers.signature, &self.public_keys).and_then(|signature| {
            let bodies = Bodies::new(body);
            let (signer, form) = self.paths.iter().find_map(|path| {
                let signed = SnapSigned { path, token: headers.token(), timestamp: &headers.timestamp };
                self.signer(&signed, keys, &bodies, &signature)
            })?;
            Some((signer, bodies.into_form(form)))
        });
        let has_token = self.tokens_end_by.as_ref().is_none_or(|clock| {
            token::is_valid(headers.token(), &headers.partner_id, keys, clock.now().timestamp())
        });
        let account = account.ok_or(NotAuthentic::ClientIdUnknown)?;
        let (signer, body) = signed.ok_or(NotAuthentic::SignatureWrong)?;
        if !has_token {
            return Err(NotAuthentic::TokenWrong);
        }
        let by = match signer {
            Signer::Account(key) => signed_by_merchant(&account.merchant, key),
            Signer::Doku => SignedBy::Doku { named: account.merchant.clone() },
        };
        Ok((by, body))
    }

    fn signer(
        &self,
        signed: &SnapSigned<'_>,
        keys: &AccountKeys,
        bodies: &Bodies<'_>,
        signature: &Signature,
    ) -> Option<(Signer, BodyForm)> {
        match signature {
            Signature::Hmac(hmac) => {
                signed.verify_hmac(keys, bodies, hmac).map(|(age, form)| (Signer::Account(age), form))
            }
            Signature::Rsa(rsa) => {
                signed.verify_rsa(&self.public_keys, bodies, rsa).map(|form| (Signer::Doku, form))
            }
        }
    }
}

fn signed_by_merchant(merchant: &MerchantName, key: KeyAge) -> SignedBy {
    metric::key_verified(merchant.as_str(), key.into());
    SignedBy::Merchant(merchant.clone())
}

/// Reads a verified notification. Service, channel and every unknown member are ignored: the account's
/// other channels notify too, and DOKU adds members.
pub fn read(request_id: &str, body: &[u8]) -> Result<Notification, Incomplete> {
    let fields = parse_order_fields(body, StatusIn::Report).ok_or(Incomplete)?;
    let invoice_number = fields.invoice_number.ok_or(Incomplete)?;
    if invoice_number.chars().count() > INVOICE_CHARS_MAX {
        return Err(Incomplete);
    }
    let amount = fields.amount.map(|written| kept_amount(&written));
    let (status, request) = (fields.status, fields.request);
    let (form, request_id) = (Form::Jenius, request_id.to_owned());
    Ok(Notification { form, request_id, invoice_number, status, amount, request })
}

/// An amount as it is kept: whole rupiah as digits, whatever DOKU's notation; another number as written, and
/// marked where it is cut, so that it is never read as a possible amount. A text that is neither a number nor
/// a word may be private.
pub(super) fn kept_amount(written: &str) -> String {
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
    fn verify<'a>(&self, headers: &'a SignedHeaders, body: &'a [u8]) -> Result<Verified<'a>, NotAuthentic> {
        let (by, body) = match headers {
            SignedHeaders::Jenius(signed) => (self.verify_jenius(signed, body)?, Cow::Borrowed(body)),
            SignedHeaders::Snap(signed) => self.verify_snap(signed, body)?,
        };
        Ok(Verified { headers, by, body })
    }

    fn report_of(&self, verified: &Verified<'_>) -> ReportOf {
        let is_snap = verified.headers.form() == Form::Snap;
        if is_snap && snap_body::is_of_virtual_account(&verified.body) {
            ReportOf::VirtualAccount
        } else {
            ReportOf::Order
        }
    }

    fn read(&self, verified: &Verified<'_>) -> Option<Notification> {
        let request_id = verified.headers.request_id();
        match verified.headers.form() {
            Form::Jenius => read(request_id, &verified.body).ok(),
            Form::Snap => snap_body::read(request_id, &verified.body).ok(),
        }
    }
}

#[cfg(test)]
mod snap_tests;
#[cfg(test)]
mod tests;
