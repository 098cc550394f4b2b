//! What would become of a dead letter, were it worked on now: read and judged by the code that reads and
//! judges deliveries, as far as nothing is written.

use super::role_context::{budgets, rules, verifier};
use crate::{
    config::Config,
    doku::{account::Accounts, client::Client, clock::SystemClock, notification::Verifier},
    domain::{
        command::{ClaimForecast, Command, CommandKind},
        ids::MerchantName,
        money::Rupiah,
        notification::Notification,
        senders::{SenderClaim, Senders},
        signed::{Form, SignedBy},
        validate::Rules,
    },
    flow::{
        disposition::DeadReason,
        ports::{Gateway, NotificationReader, StoreError},
        process_command::{Budgets, judge},
    },
    postgres::{PgPool, forecast},
    rabbit::{
        dead::Destination,
        wire::{
            self,
            notification::{self, Unreadable},
        },
    },
};

/// What would become of a message.
#[derive(Debug, Clone)]
pub enum ReplayForecast {
    Command(Box<CommandForecast>),
    /// It would be reconciled with this order; one that DOKU's own key signed makes an inquiry due.
    Notification {
        signed_by: SignedBy,
        form: Form,
        invoice_number: String,
    },
    /// It would be dead-lettered anew.
    DeadAgain {
        reason: DeadReason,
        detail: String,
    },
    /// It does not say what it is: no role would take it.
    Nowhere,
}

/// What would become of a command.
#[derive(Debug, Clone)]
pub struct CommandForecast {
    pub command: Command,
    /// Where its data keeps the rules.
    pub amount: Option<Rupiah>,
    pub prospect: ClaimForecast,
}

/// Tells fates. It asks the database, and changes nothing.
pub struct Forecaster {
    gateway: Client<SystemClock>,
    verifier: Verifier,
    rules: Rules,
    budgets: Budgets,
    senders: Senders,
    pool: PgPool,
}

impl Forecaster {
    /// # Errors
    /// A configuration that cannot work.
    pub fn new(config: &Config, pool: PgPool) -> anyhow::Result<Self> {
        let accounts = Accounts::new(&config.merchants);
        Ok(Self {
            gateway: Client::new(&config.doku, accounts.clone(), SystemClock)?,
            verifier: verifier(&config.doku, accounts),
            rules: rules(config),
            budgets: budgets(config),
            senders: config.need_amqp()?.senders.clone(),
            pool,
        })
    }

    /// # Errors
    /// The database is away.
    pub async fn forecast(
        &self,
        destination: Option<Destination>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<ReplayForecast, StoreError> {
        match destination {
            Some(Destination::Command(kind)) => self.forecast_command(kind, content_type, body).await,
            Some(Destination::Notification) => Ok(self.forecast_notification(content_type, body)),
            None => Ok(ReplayForecast::Nowhere),
        }
    }

    async fn forecast_command(
        &self,
        kind: CommandKind,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<ReplayForecast, StoreError> {
        let incoming = match wire::read_command(kind, content_type, body) {
            Ok(incoming) => incoming,
            Err(malformed) => {
                return Ok(ReplayForecast::DeadAgain {
                    reason: DeadReason::Malformed,
                    detail: malformed.detail,
                });
            }
        };
        // The operator who replays it did not send it: what is published again has no user.
        let source = &incoming.command.identity.source;
        let claim = SenderClaim { source, user_id: None, kind, merchant: &incoming.command.merchant };
        if let Err(detail) = self.senders.judge(claim) {
            return Ok(ReplayForecast::DeadAgain { reason: DeadReason::NotAuthentic, detail });
        }
        let account = |merchant: &MerchantName| self.gateway.account(merchant);
        let fate = match judge(incoming, account, &self.rules, self.budgets) {
            Ok(new) => CommandForecast {
                prospect: forecast::forecast_claim(&self.pool, &new).await?,
                amount: Some(new.order.amount),
                command: new.command,
            },
            Err(rejection) => CommandForecast {
                prospect: forecast::forecast_rejection(&self.pool, &rejection).await?,
                amount: None,
                command: rejection.command,
            },
        };
        Ok(ReplayForecast::Command(Box::new(fate)))
    }

    fn forecast_notification(&self, content_type: Option<&str>, body: &[u8]) -> ReplayForecast {
        let dead = |reason, detail: &str| ReplayForecast::DeadAgain { reason, detail: detail.to_owned() };
        let received = match notification::read(content_type, body) {
            Ok(received) => received,
            Err(Unreadable::Malformed(why)) => return dead(DeadReason::Malformed, &why.detail),
            Err(Unreadable::NotSigned(missing)) => {
                return dead(DeadReason::NotAuthentic, &missing.to_string());
            }
        };
        let verified = match self.verifier.verify(&received.headers, &received.body) {
            Ok(verified) => verified,
            Err(why) => return dead(DeadReason::NotAuthentic, &why.to_string()),
        };
        match self.verifier.read(&verified) {
            Some(Notification { form, invoice_number, .. }) => {
                ReplayForecast::Notification { signed_by: verified.by, form, invoice_number }
            }
            None => dead(DeadReason::Malformed, "it names no order"),
        }
    }
}
