//! The configured accounts at DOKU with their keys. A Client-Id belongs to one merchant.
//!
//! Every clone is a handle of the same accounts: when keys are exchanged, all signing and verifying uses the
//! new ones from the same moment on.

use super::signature::{self, AccountKeys};
use crate::{config, domain::ids::MerchantName};
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One account, as requests are signed for it and answers verified.
#[derive(Debug, Clone)]
pub struct KeyedAccount {
    pub merchant: MerchantName,
    pub client_id: String,
    pub keys: AccountKeys,
}

/// The accounts, and a decoy: it costs a stranger who guesses a Client-Id as much time as a real account.
#[derive(Debug)]
struct AccountTable {
    accounts: BTreeMap<MerchantName, Arc<KeyedAccount>>,
    decoy: Arc<KeyedAccount>,
}

/// Every configured account.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<RwLock<Arc<AccountTable>>>);

impl Accounts {
    pub fn new(merchants: &BTreeMap<MerchantName, config::MerchantConfig>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(table(merchants)))))
    }

    /// From now on these keys sign and verify. What is under way keeps the ones it began with.
    pub fn exchange(&self, merchants: &BTreeMap<MerchantName, config::MerchantConfig>) {
        *self.0.write() = Arc::new(table(merchants));
    }

    pub fn by_merchant(&self, merchant: &MerchantName) -> Option<Arc<KeyedAccount>> {
        self.now().accounts.get(merchant).cloned()
    }

    /// Looks at every account, whichever it is.
    pub fn by_client_id(&self, client_id: &str) -> Option<Arc<KeyedAccount>> {
        self.now()
            .accounts
            .values()
            .filter(|account| account.client_id == client_id)
            .fold(None, |_, account| Some(Arc::clone(account)))
    }

    /// An account with as many keys as any. A stranger who knows this text could sign for it: its signature proves nothing.
    pub(super) fn decoy(&self) -> Arc<KeyedAccount> {
        Arc::clone(&self.now().decoy)
    }

    pub fn all_accounts(&self) -> Vec<Arc<KeyedAccount>> {
        self.now().accounts.values().cloned().collect()
    }

    /// Of every account's keys, whichever of them signs, of the paths that notifications are signed for, and of DOKU's
    /// own keys.
    pub fn fingerprint<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a str>,
        public_keys: &[config::RsaKey],
    ) -> String {
        let mut parts: Vec<String> = Vec::new();
        for account in self.now().accounts.values() {
            let all = std::iter::once(&account.keys.current).chain(&account.keys.previous);
            let keys: BTreeSet<&str> = all.map(|key| key.expose_secret()).collect();
            parts.extend([account.client_id.clone(), keys.len().to_string()]);
            parts.extend(keys.into_iter().map(str::to_owned));
        }
        let paths: BTreeSet<&str> = paths.into_iter().collect();
        let public_keys: BTreeSet<String> = public_keys.iter().map(|key| STANDARD.encode(&key.der)).collect();
        let all = parts.iter().map(String::as_str).chain(paths);
        signature::fingerprint(all.chain(public_keys.iter().map(String::as_str)))
    }

    /// The lock is held for the copy of a pointer.
    fn now(&self) -> Arc<AccountTable> {
        Arc::clone(&self.0.read())
    }
}

fn table(merchants: &BTreeMap<MerchantName, config::MerchantConfig>) -> AccountTable {
    let previous_max =
        merchants.values().map(|merchant| merchant.previous_secret_keys.len()).max().unwrap_or_default();
    // Every account has the same number of keys, or the time of a refusal would tell them apart.
    let keyed =
        |merchant: &MerchantName, client_id: &str, current: &SecretString, previous: &[SecretString]| {
            let mut previous = previous.to_vec();
            previous.resize(previous_max, current.clone());
            let keys = AccountKeys { current: current.clone(), previous };
            Arc::new(KeyedAccount { merchant: merchant.clone(), client_id: client_id.to_owned(), keys })
        };
    let account = |(merchant, configured): (&MerchantName, &config::MerchantConfig)| {
        let config::MerchantConfig { client_id, secret_key, previous_secret_keys } = configured;
        (merchant.clone(), keyed(merchant, client_id, secret_key, previous_secret_keys))
    };
    let decoy = keyed(&MerchantName::default_account(), "", &SecretString::from("decoy"), &[]);
    AccountTable { accounts: merchants.iter().map(account).collect(), decoy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_what_verifies_and_not_what_signs() {
        let of_all = |current: &str, previous: &[&str], paths: &[&str], keys: &[config::RsaKey]| {
            let merchant = config::MerchantConfig {
                client_id: "MCH-1".to_owned(),
                secret_key: current.into(),
                previous_secret_keys: previous.iter().map(|key| (*key).into()).collect(),
            };
            let accounts = Accounts::new(&BTreeMap::from([(MerchantName::default_account(), merchant)]));
            accounts.fingerprint(paths.iter().copied(), keys)
        };
        let of = |current: &str, previous: &[&str], paths: &[&str]| of_all(current, previous, paths, &[]);
        let one = of("new", &["old"], &["/a", "/b"]);
        assert_eq!(one.len(), 8);
        assert_eq!(of("old", &["new"], &["/b", "/a"]), one, "the same notifications verify");
        for other in [
            of("new", &[], &["/a", "/b"]),
            of("new", &["old"], &["/a"]),
            of("new", &["older"], &["/a", "/b"]),
            of_all("new", &["old"], &["/a", "/b"], &[config::RsaKey { der: vec![1], modulus_bytes: 256 }]),
        ] {
            assert_ne!(other, one);
        }
    }
}
