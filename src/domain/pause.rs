//! Whose sends operators have paused. Inquiries, notifications and events go on.

use super::{Time, ids::MerchantName};
use std::{collections::BTreeMap, fmt};

/// Whose sends one pause stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Everybody,
    Merchant(MerchantName),
}

impl Scope {
    /// As it is stored.
    pub fn name(&self) -> &str {
        match self {
            Self::Everybody => "*",
            Self::Merchant(merchant) => merchant.as_str(),
        }
    }

    pub fn merchant(&self) -> Option<&MerchantName> {
        match self {
            Self::Everybody => None,
            Self::Merchant(merchant) => Some(merchant),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Merchant(merchant) => write!(f, "{merchant}"),
        }
    }
}

/// All pauses together, and since when each holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paused {
    pub everybody: Option<Time>,
    /// Those with a pause of their own.
    pub merchants: BTreeMap<MerchantName, Time>,
}

impl Paused {
    pub fn any(&self) -> bool {
        self.everybody.is_some() || !self.merchants.is_empty()
    }

    pub fn stops(&self, merchant: &MerchantName) -> bool {
        self.since(merchant).is_some()
    }

    /// Since when a merchant's sends are paused.
    pub fn since(&self, merchant: &MerchantName) -> Option<Time> {
        let own = self.merchants.get(merchant).copied();
        match (self.everybody, own) {
            (Some(everybody), Some(own)) => Some(everybody.min(own)),
            (everybody, own) => everybody.or(own),
        }
    }
}

impl Extend<(Scope, Time)> for Paused {
    fn extend<T: IntoIterator<Item = (Scope, Time)>>(&mut self, scopes: T) {
        for (scope, since) in scopes {
            match scope {
                Scope::Everybody => self.everybody = Some(since),
                Scope::Merchant(merchant) => {
                    self.merchants.insert(merchant, since);
                }
            }
        }
    }
}
