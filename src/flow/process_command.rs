//! The story of a command: judged, permitted, claimed, asked, recorded, acked, in that order.
//!
//! Never: DOKU is called before the claim is committed; a delivery is acked before its claim or its
//! rejection is.

use super::{
    attempt::{Attempts, Kept},
    disposition::Disposition,
    gate::Gate,
    ports::{Account, Claimed, Gateway, Incoming, NewCommand, Store},
    store_outage::{StoreOutage, StoreRetry},
};
use crate::{
    domain::{
        command::{Command, CommandKind, Order, Rejection, StoredRequest},
        document::Document,
        ids::{MerchantName, payment_request_id, refund_request_id},
        validate::{self, Code, Rules, Violation},
    },
    failpoint::{Failpoint, failpoint},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// How long a command may wait for a permit while its delivery is held; after that follow-up sends it.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(1);

/// From the claim; no send starts later.
#[derive(Debug, Clone, Copy)]
pub struct Budgets {
    pub payment: Duration,
    pub refund: Duration,
}

/// Processes commands, many at a time.
pub struct Worker<S, G> {
    pub store: Arc<S>,
    pub gateway: Arc<G>,
    pub attempts: Arc<Attempts<S, G>>,
    pub gate: Arc<Gate>,
    pub rules: Rules,
    pub budgets: Budgets,
    pub outage: StoreOutage,
}

impl<S: Store, G: Gateway> Worker<S, G> {
    /// Brings one command as far as one attempt can.
    pub async fn process(&self, incoming: Incoming) -> Disposition {
        let came_before = incoming.command.came_before;
        // 1 Judge: nothing that breaks a rule goes further.
        let account = |merchant: &MerchantName| self.gateway.account(merchant);
        let new = match judge(incoming, account, &self.rules, self.budgets) {
            Ok(new) => new,
            Err(rejection) => return self.reject(*rejection).await,
        };
        let mut retry = StoreRetry::start();
        loop {
            // 2 Permit, before the claim, so that no lease runs out in our own queue.
            let (merchant, kind) = (&new.order.merchant, new.command.kind);
            let permit = self.gate.first_permit(merchant, kind, PERMIT_WAIT_MAX).await.ok();
            // 3 Claim: from here on the command is ours or due, whatever happens to this process.
            failpoint(Failpoint::BeforeClaim).await;
            let lease = permit.is_some().then(|| self.attempts.lease());
            let claiming = self.outage.claiming();
            let claimed = self.store.claim(NewCommand { lease, ..new.clone() }).await;
            drop(claiming);
            failpoint(Failpoint::AfterClaim).await;
            match (claimed, permit) {
                // 4 Ask and record.
                (Ok(Claimed::Granted(claim)), Some(permit)) => {
                    self.outage.store_is_back();
                    // While DOKU takes its time, nothing is kept but what the attempt needs.
                    drop(new);
                    return self.disposition_of(self.attempts.make(*claim, permit).await, came_before).await;
                }
                (Ok(Claimed::Granted(claim)), None) => {
                    self.outage.store_is_back();
                    return self.disposition_of(self.attempts.release_claim(&claim).await, came_before).await;
                }
                (Ok(Claimed::Deferred | Claimed::Duplicate | Claimed::Rejected), _) => {
                    self.outage.store_is_back();
                    return Disposition::Ack;
                }
                (Err(error), permit) => {
                    drop(permit);
                    if let Some(given_up) = self.outage.on(&mut retry, &error).await {
                        return given_up;
                    }
                }
            }
        }
    }

    /// What the store does not know is known to the broker alone: acked, it would be lost. Given back, it is
    /// claimed anew, or recognised.
    async fn disposition_of(&self, kept: Kept, came_before: u64) -> Disposition {
        match kept {
            Kept::ByTheStore => Disposition::Ack,
            Kept::Nowhere | Kept::Unknown => self.outage.requeue(came_before).await,
        }
    }

    async fn reject(&self, rejection: Rejection) -> Disposition {
        let mut retry = StoreRetry::start();
        loop {
            match self.store.reject(rejection.clone()).await {
                Ok(_) => {
                    failpoint(Failpoint::AfterRejection).await;
                    self.outage.store_is_back();
                    return Disposition::Ack;
                }
                Err(error) => {
                    if let Some(given_up) = self.outage.on(&mut retry, &error).await {
                        return given_up;
                    }
                }
            }
        }
    }
}

/// What can be judged without the store: a command to claim, or why it is rejected. `account` is the
/// configured account of a merchant.
pub fn judge(
    incoming: Incoming,
    account: impl Fn(&MerchantName) -> Option<Account>,
    rules: &Rules,
    budgets: Budgets,
) -> Result<NewCommand, Box<Rejection>> {
    let Incoming { mut command, data, body, violations } = incoming;
    command.budget_from_time = match command.kind {
        CommandKind::Payment => Some(budgets.payment),
        CommandKind::Refund => None,
    };
    let account = MerchantName::parse(command.merchant.as_str()).ok().and_then(|merchant| account(&merchant));
    let Some(account) = account else {
        let fault = violations.into_iter().find(Violation::leaves_no_merchant);
        let unknown = fault.unwrap_or_else(|| {
            let found = validate::shown_value(&command.merchant);
            Violation::of_merchant(Code::MerchantUnknown, found.as_deref())
        });
        return Err(Box::new(Rejection { command, violations: vec![unknown] }));
    };
    match judge_data(&command, &account, &data, rules, violations) {
        Ok(order) => {
            let request = Arc::new(stored_request(&command, &order, account, body));
            let budget = match command.kind {
                CommandKind::Payment => budgets.payment,
                CommandKind::Refund => budgets.refund,
            };
            Ok(NewCommand { command, order, request, budget, lease: None, token: Uuid::new_v4() })
        }
        Err(violations) => Err(Box::new(Rejection { command, violations })),
    }
}

fn judge_data(
    command: &Command,
    account: &Account,
    data: &Document,
    rules: &Rules,
    mut violations: Vec<Violation>,
) -> Result<Order, Vec<Violation>> {
    let judged = match command.kind {
        CommandKind::Payment => validate::payment(data, rules),
        CommandKind::Refund => validate::refund(data),
    };
    match judged {
        Ok(valid) if violations.is_empty() => Ok(Order {
            merchant: account.merchant.clone(),
            invoice_number: valid.invoice_number,
            amount: valid.amount,
        }),
        Ok(_) => Err(violations),
        Err(more) => {
            violations.extend(more);
            Err(violations)
        }
    }
}

fn stored_request(command: &Command, order: &Order, account: Account, body: Vec<u8>) -> StoredRequest {
    let request_id = match command.kind {
        CommandKind::Payment => payment_request_id(&order.invoice_number),
        CommandKind::Refund => refund_request_id(&order.merchant, &command.identity),
    };
    StoredRequest {
        merchant: order.merchant.clone(),
        kind: command.kind,
        invoice_number: order.invoice_number.clone(),
        amount: order.amount,
        request_id,
        client_id: account.client_id,
        base_url: account.base_url,
        body,
        // The store has it.
        payment_body: Vec::new(),
    }
}
