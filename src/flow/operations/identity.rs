//! What the console asks a provider: who a person is, and in which groups.

use super::{KeyHash, StoreError};
use crate::domain::console::Person;
use std::{future::Future, time::Duration};

/// Who has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Without roles, where groups give them.
    pub person: Person,
    /// As the provider gave them, and how long ago; `None`: no provider did.
    pub groups: Option<(Vec<String>, Duration)>,
}

/// What one login is known by: made of a key that the browser alone holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcLogin {
    pub state: String,
    pub nonce: String,
    /// PKCE.
    pub verifier: String,
}

/// Who a person is, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedPerson {
    /// By which the provider knows the person, whatever the name.
    pub subject: String,
    pub name: String,
    pub groups: Vec<String>,
}

/// A browser that came back from the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcReturn {
    pub login: OidcLogin,
    pub code: String,
    pub session: KeyHash,
    /// The peer's address.
    pub from: String,
}

/// Why a person is not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginFault {
    /// The provider, or its answer, cannot be used; why.
    #[error("{0}")]
    Provider(String),
    #[error("{0}")]
    Store(#[from] StoreError),
}

pub trait IdentityOperations {
    /// Where a browser logs in.
    fn login_address(&self, login: &OidcLogin) -> impl Future<Output = Result<String, LoginFault>> + Send;

    /// Lets a person in, as the provider names them.
    fn log_in(&self, back: OidcReturn) -> impl Future<Output = Result<(), LoginFault>> + Send;
}
