//! Whose sends operators have paused. Inquiries, notifications and events go on.

use super::ids::MerchantName;
use std::{collections::BTreeSet, fmt};

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

/// All pauses together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paused {
    pub everybody: bool,
    /// Those with a pause of their own.
    pub merchants: BTreeSet<MerchantName>,
}

impl Paused {
    pub fn any(&self) -> bool {
        self.everybody || !self.merchants.is_empty()
    }

    pub fn stops(&self, merchant: &MerchantName) -> bool {
        self.everybody || self.merchants.contains(merchant)
    }
}

impl Extend<Scope> for Paused {
    fn extend<T: IntoIterator<Item = Scope>>(&mut self, scopes: T) {
        for scope in scopes {
            match scope {
                Scope::Everybody => self.everybody = true,
                Scope::Merchant(merchant) => {
                    self.merchants.insert(merchant);
                }
            }
        }
    }
}
