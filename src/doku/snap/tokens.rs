//! DOKU asks for a bearer token before it sends a notification in the SNAP form: who asks is known by DOKU's own key.
//!
//! Never: an account is looked up for a request that DOKU did not sign.

use super::{
    super::account::Accounts,
    public_key::PublicKey,
    signature::decode,
    token::{TOKEN_LIFE, issue},
};
use crate::{
    domain::Time,
    flow::ports::{Clock, TokenIssuer, TokenRequest},
};
use chrono::{DateTime, TimeDelta};
use std::sync::Arc;

/// Where DOKU asks for tokens, on the ingress listener.
pub const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";

/// A request is not older, and not further ahead.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// Issues tokens for every configured account.
#[derive(Clone)]
pub struct Tokens {
    accounts: Accounts,
    public_keys: Arc<[PublicKey]>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    pub fn new(accounts: Accounts, public_keys: Arc<[PublicKey]>, clock: Arc<dyn Clock>) -> Self {
        Self { accounts, public_keys, clock }
    }

    fn is_dokus(&self, request: &TokenRequest, now: Time) -> bool {
        let is_fresh = DateTime::parse_from_rfc3339(&request.timestamp)
            .is_ok_and(|at| (at.to_utc() - now).abs() <= FRESH);
        let Some(signature) = decode(&request.signature).filter(|_| is_fresh) else { return false };
        let text = format!("{}|{}", request.client_id, request.timestamp);
        self.public_keys.iter().any(|key| key.verifies(text.as_bytes(), &signature))
    }
}

impl TokenIssuer for Tokens {
    fn path(&self) -> Option<&str> {
        (!self.public_keys.is_empty()).then_some(TOKEN_PATH)
    }

    fn issue(&self, request: &TokenRequest) -> Option<(String, u64)> {
        let now = self.clock.now();
        if !self.is_dokus(request, now) {
            return None;
        }
        let account = self.accounts.by_client_id(&request.client_id)?;
        Some((issue(&account, now.timestamp()), TOKEN_LIFE.as_secs()))
    }
}

#[cfg(test)]
mod tests;
