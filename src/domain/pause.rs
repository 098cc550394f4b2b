//! Which merchants' sends operators have paused. Inquiries, notifications and events go on.

use super::{Time, ids::MerchantName};
use std::{collections::BTreeMap, fmt};

/// Which merchants' sends one pause stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    AllMerchants,
    Merchant(MerchantName),
}

impl Scope {
    /// As it is stored.
    pub fn name(&self) -> &str {
        match self {
            Self::AllMerchants => "*",
            Self::Merchant(merchant) => merchant.as_str(),
        }
    }

    pub fn merchant(&self) -> Option<&MerchantName> {
        match self {
            Self::AllMerchants => None,
            Self::Merchant(merchant) => Some(merchant),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllMerchants => f.write_str("all merchants"),
            Self::Merchant(merchant) => write!(f, "{merchant}"),
        }
    }
}

/// What became of a wish to let sends go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseLift {
    Lifted,
    NotPaused,
    /// Another pause stands than the one that was seen, and it was left.
    Another,
}

/// All pauses together, and since when each holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paused {
    pub all: Option<Time>,
    /// Those with a pause of their own.
    pub merchants: BTreeMap<MerchantName, Time>,
}

impl Paused {
    pub fn any(&self) -> bool {
        self.all.is_some() || !self.merchants.is_empty()
    }

    pub fn stops(&self, merchant: &MerchantName) -> bool {
        self.since(merchant).is_some()
    }

    /// Since when a merchant's sends are paused.
    pub fn since(&self, merchant: &MerchantName) -> Option<Time> {
        let own = self.merchants.get(merchant).copied();
        match (self.all, own) {
            (Some(all), Some(own)) => Some(all.min(own)),
            (all, own) => all.or(own),
        }
    }
}

impl Extend<(Scope, Time)> for Paused {
    fn extend<T: IntoIterator<Item = (Scope, Time)>>(&mut self, scopes: T) {
        for (scope, since) in scopes {
            match scope {
                Scope::AllMerchants => self.all = Some(since),
                Scope::Merchant(merchant) => {
                    self.merchants.insert(merchant, since);
                }
            }
        }
    }
}
