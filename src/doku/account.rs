//! The configured accounts at DOKU with their keys. A Client-Id belongs to one merchant.

use super::signature::Keys;
use crate::{config, domain::ids::MerchantName};
use std::collections::BTreeMap;

/// One account, as requests are signed for it and answers verified.
#[derive(Debug, Clone)]
pub struct KeyedAccount {
    pub merchant: MerchantName,
    pub client_id: String,
    pub keys: Keys,
}

/// Every configured account.
#[derive(Debug, Clone)]
pub struct Accounts(BTreeMap<MerchantName, KeyedAccount>);

impl Accounts {
    pub fn new(merchants: &BTreeMap<MerchantName, config::Merchant>) -> Self {
        let account = |(merchant, configured): (&MerchantName, &config::Merchant)| {
            let keys = Keys {
                current: configured.secret_key.clone(),
                previous: configured.previous_secret_keys.clone(),
            };
            let client_id = configured.client_id.clone();
            (merchant.clone(), KeyedAccount { merchant: merchant.clone(), client_id, keys })
        };
        Self(merchants.iter().map(account).collect())
    }

    pub fn of_merchant(&self, merchant: &MerchantName) -> Option<&KeyedAccount> {
        self.0.get(merchant)
    }

    pub fn of_client_id(&self, client_id: &str) -> Option<&KeyedAccount> {
        self.0.values().find(|account| account.client_id == client_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &KeyedAccount> {
        self.0.values()
    }
}
