//! Who a person is, where a provider says it.

use super::Desk;
use crate::{
    config::{ConsoleAuth, ConsoleConfig},
    flow::ports::{IdentityOperations, LoginFault, OidcLogin, OidcReturn},
    identity::IdentityProvider,
};

const NOT_CONFIGURED: &str = "no provider is configured";

/// `None`: other ways say who a person is.
pub(super) fn provider(config: &ConsoleConfig) -> anyhow::Result<Option<IdentityProvider>> {
    match (&config.auth, &config.public_url) {
        (ConsoleAuth::Oidc(auth), Some(public_url)) => {
            Ok(Some(IdentityProvider::new(auth.clone(), public_url)?))
        }
        (ConsoleAuth::Oidc(_) | ConsoleAuth::Local | ConsoleAuth::Proxy(_), _) => Ok(None),
    }
}

impl IdentityOperations for Desk {
    async fn login_address(&self, login: &OidcLogin) -> Result<String, LoginFault> {
        let provider = self.provider.as_ref().ok_or_else(not_configured)?;
        provider.login_address(login).await.map_err(LoginFault::Provider)
    }

    async fn log_in(&self, back: OidcReturn) -> Result<(), LoginFault> {
        let provider = self.provider.as_ref().ok_or_else(not_configured)?;
        let found = provider.identify(&back.login, &back.code).await.map_err(LoginFault::Provider)?;
        Ok(self.store.log_in(found, back.session, back.from).await?)
    }
}

fn not_configured() -> LoginFault {
    LoginFault::Provider(NOT_CONFIGURED.to_owned())
}
