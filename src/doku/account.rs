//! The configured accounts at DOKU with their keys. A Client-Id belongs to one merchant.
//!
//! Every clone is a handle of the same accounts: when keys are exchanged, whoever signs or verifies has the
//! new ones from the same moment on.

use super::signature::Keys;
use crate::{config, domain::ids::MerchantName};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// One account, as requests are signed for it and answers verified.
#[derive(Debug, Clone)]
pub struct KeyedAccount {
    pub merchant: MerchantName,
    pub client_id: String,
    pub keys: Keys,
}

type Table = BTreeMap<MerchantName, Arc<KeyedAccount>>;

/// Every configured account.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<RwLock<Arc<Table>>>);

impl Accounts {
    pub fn new(merchants: &BTreeMap<MerchantName, config::Merchant>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(table(merchants)))))
    }

    /// From now on these keys sign and verify. What is under way keeps the ones it began with.
    pub fn exchange(&self, merchants: &BTreeMap<MerchantName, config::Merchant>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table(merchants));
    }

    pub fn of_merchant(&self, merchant: &MerchantName) -> Option<Arc<KeyedAccount>> {
        self.now().get(merchant).cloned()
    }

    pub fn of_client_id(&self, client_id: &str) -> Option<Arc<KeyedAccount>> {
        self.now().values().find(|account| account.client_id == client_id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<KeyedAccount>> {
        self.now().values().cloned().collect()
    }

    /// The lock is held for the copy of a pointer.
    fn now(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn table(merchants: &BTreeMap<MerchantName, config::Merchant>) -> Table {
    let account = |(merchant, configured): (&MerchantName, &config::Merchant)| {
        let keys = Keys {
            current: configured.secret_key.clone(),
            previous: configured.previous_secret_keys.clone(),
        };
        let client_id = configured.client_id.clone();
        (merchant.clone(), Arc::new(KeyedAccount { merchant: merchant.clone(), client_id, keys }))
    };
    merchants.iter().map(account).collect()
}
