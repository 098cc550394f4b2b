//! Starts the listener for DOKU's notifications.

use super::{
    App,
    role_context::{notification_paths, verifier},
};
use crate::{
    config::TokenRule,
    doku::{
        clock::SystemClock,
        snap::{public_keys, tokens::Tokens},
    },
    flow::ports::Clock,
    http::{BoundServer, ingress},
    rabbit::{Broker, Part},
    startup,
};
use anyhow::Context;
use std::{net::SocketAddr, sync::Arc};

impl App {
    /// It needs the broker only, and a publisher that nothing else keeps busy.
    pub(super) async fn start_ingress(&mut self, broker: &Broker) -> anyhow::Result<()> {
        let listen = self.config.ingress_listen;
        let limits = ingress::LIMITS.within(startup::descriptors());
        let bound =
            BoundServer::new(listen, limits).await.with_context(|| format!("ingress.listen {listen}"))?;
        self.ingress = Some(bound.address());
        let publisher = self.publisher(broker, "ingress_publisher", &[Part::Notifications]);
        let (doku, accounts) = (&self.config.doku, &self.secrets.accounts);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reader = verifier(doku, accounts.clone());
        let reader = match doku.snap.token {
            TokenRule::Any => reader,
            TokenRule::Issued => reader.needing_tokens(Arc::clone(&clock)),
        };
        let tokens = Tokens::new(accounts.clone(), public_keys(&doku.snap), clock);
        let paths = notification_paths(doku);
        let router = ingress::router(ingress::Ingress { paths, reader, publisher, tokens });
        self.intake.essential("ingress", bound.serve(router, self.intake.stop().clone()));
        Ok(())
    }

    /// Where notifications come in, if this process takes them.
    pub fn ingress_address(&self) -> Option<SocketAddr> {
        self.ingress
    }
}
