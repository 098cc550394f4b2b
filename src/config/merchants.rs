//! The accounts at DOKU: `default` through `doku.*`, the others through `merchants.<name>.*`.

use super::{MerchantConfig, load::Reader, parse};
use crate::domain::ids::MerchantName;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that are in rotation at one time.
const PREVIOUS_KEYS_MAX: usize = 16;
/// Every merchant has its own breaker, limits and metrics.
const MERCHANTS_MAX: usize = 1000;

/// Reads every account. Where `needed`, there is at least one and each is complete.
pub fn read(r: &mut Reader<'_>, needed: bool) -> BTreeMap<MerchantName, MerchantConfig> {
    let default = MerchantName::default_account();
    let named = r.given.names("merchants");
    let in_doku = MEMBERS.iter().any(|member| r.says(&format!("doku.{member}")));
    if in_doku && named.contains(&default) {
        let problem =
            "given twice; allowed: the default merchant in `doku` or in `merchants.default`, not both";
        r.fault("doku.client_id", problem);
    }
    if named.len() > MERCHANTS_MAX {
        r.fault("merchants", format!("too many merchants; allowed: at most {MERCHANTS_MAX}"));
    }
    if needed && !in_doku && named.is_empty() {
        r.missing("doku.client_id");
        r.missing("doku.secret_key");
    }
    let mut sections: Vec<_> =
        named.into_iter().map(|name| (format!("merchants.{name}"), name)).take(MERCHANTS_MAX).collect();
    if in_doku {
        sections.push(("doku".to_owned(), default));
    }
    let mut merchants = BTreeMap::new();
    let mut client_ids = BTreeSet::new();
    for (section, name) in sections {
        if let Some(merchant) = account(r, &section, needed, &mut client_ids) {
            merchants.insert(name, merchant);
        }
    }
    merchants
}

const MEMBERS: [&str; 3] = ["client_id", "secret_key", "previous_secret_keys"];

fn account(
    r: &mut Reader<'_>,
    section: &str,
    needed: bool,
    client_ids: &mut BTreeSet<String>,
) -> Option<MerchantConfig> {
    let [id, key, previous] = MEMBERS.map(|member| format!("{section}.{member}"));
    if needed && !r.says(&id) {
        r.missing(&id);
    }
    let client_id = r.get(&id, parse::client_id);
    // A notification's Client-Id decides which key verifies it: two merchants with one Client-Id would be one.
    if client_id.clone().is_some_and(|client_id| !client_ids.insert(client_id)) {
        r.fault(&id, "another merchant has this Client-Id; allowed: one merchant for each");
    }
    let secret_key = r.secret(&key, needed, parse::secret_key);
    let previous = r.list(&previous, PREVIOUS_KEYS_MAX, parse::secret_key);
    let previous_secret_keys = previous.into_iter().map(SecretString::from).collect();
    Some(MerchantConfig { client_id: client_id?, secret_key: secret_key?, previous_secret_keys })
}
