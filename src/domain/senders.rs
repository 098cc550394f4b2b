//! Which broker users speak for which sources (`amqp.sources`), for which merchants and with which commands. The
//! broker refuses a message if its `user_id` is not the user who publishes it, so a `user_id` that is set is
//! true. As soon as one source is bound, a source that is not bound is refused.

use super::{
    command::CommandKind,
    ids::{CommandSource, MerchantName},
};
use std::collections::BTreeMap;

/// One user, and what it may send for one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub user: String,
    pub source: CommandSource,
    /// `None`: both.
    pub kind: Option<CommandKind>,
    /// Empty: all.
    pub merchants: Vec<MerchantName>,
}

/// The senders of each bound source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders(BTreeMap<CommandSource, Vec<Sender>>);

/// What a command says of itself, and who published it.
#[derive(Debug, Clone, Copy)]
pub struct SenderClaim<'a> {
    pub source: &'a CommandSource,
    pub user_id: Option<&'a str>,
    pub kind: CommandKind,
    /// As it was written.
    pub merchant: &'a str,
}

impl Senders {
    pub fn bind(&mut self, sender: Sender) {
        self.0.entry(sender.source.clone()).or_default().push(sender);
    }

    /// Whether a command may have been published by this user; an error says what is wrong.
    pub fn judge(&self, claim: SenderClaim<'_>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let source = claim.source;
        let Some(senders) = self.0.get(source) else {
            return Err(format!("source {source}: not in amqp.sources; allowed: the sources that are"));
        };
        let own: Vec<&Sender> =
            senders.iter().filter(|sender| claim.user_id == Some(sender.user.as_str())).collect();
        if own.is_empty() {
            let mut users: Vec<&str> = senders.iter().map(|sender| sender.user.as_str()).collect();
            users.sort_unstable();
            users.dedup();
            let came = if claim.user_id.is_some() { "another" } else { "none" };
            let users = users.join(" or ");
            return Err(format!("source {source}: allowed with user_id {users}; this one came with {came}"));
        }
        if own.iter().any(|sender| sender.allows(claim)) {
            return Ok(());
        }
        let allowed = own.iter().map(|sender| sender.in_words()).collect::<Vec<_>>().join(" or ");
        Err(format!("source {source}: its user may send {allowed}"))
    }
}

impl Sender {
    fn allows(&self, claim: SenderClaim<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == claim.kind)
            && (self.merchants.is_empty()
                || self.merchants.iter().any(|name| name.as_str() == claim.merchant))
    }

    fn in_words(&self) -> String {
        let kind = match self.kind {
            Some(CommandKind::Payment) => "payments",
            Some(CommandKind::Refund) => "refunds",
            None => "payments and refunds",
        };
        let merchants: Vec<&str> = self.merchants.iter().map(MerchantName::as_str).collect();
        match merchants.as_slice() {
            [] => kind.to_owned(),
            some => format!("{kind} of {}", some.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> CommandSource {
        CommandSource::parse(text).unwrap()
    }

    fn sender(user: &str, bound: &str, kind: Option<CommandKind>, merchants: &[&str]) -> Sender {
        let merchants = merchants.iter().map(|name| MerchantName::parse(*name).unwrap()).collect();
        Sender { user: user.to_owned(), source: source(bound), kind, merchants }
    }

    #[test]
    fn without_a_binding_every_source_is_free_and_with_one_none_is() {
        let mut senders = Senders::default();
        let free = source("/free");
        let claim =
            |user_id| SenderClaim { source: &free, user_id, kind: CommandKind::Payment, merchant: "default" };
        assert_eq!(senders.judge(claim(None)), Ok(()));
        senders.bind(sender("checkout", "/checkout", None, &[]));
        for user in [None, Some("anybody"), Some("checkout")] {
            let refused = senders.judge(claim(user)).unwrap_err();
            assert_eq!(refused, "source /free: not in amqp.sources; allowed: the sources that are");
        }
    }

    #[test]
    fn a_bound_source_is_its_users_for_their_merchants_and_kinds() {
        use CommandKind::{Payment, Refund};
        let mut senders = Senders::default();
        for bound in [
            sender("checkout", "/checkout", Some(Payment), &[]),
            sender("backup", "/checkout", None, &["shop", "club"]),
            sender("erp", "/erp", Some(Refund), &["shop"]),
            sender("erp", "/erp", Some(Payment), &["club"]),
        ] {
            senders.bind(bound);
        }
        let another = "source /checkout: allowed with user_id backup or checkout; this one came with another";
        let none = "source /checkout: allowed with user_id backup or checkout; this one came with none";
        let erp = "source /erp: its user may send refunds of shop or payments of club";
        for (from, user, kind, merchant, expected) in [
            ("/checkout", Some("checkout"), Payment, "default", None),
            ("/checkout", Some("checkout"), Payment, "never configured", None),
            (
                "/checkout",
                Some("checkout"),
                Refund,
                "default",
                Some("source /checkout: its user may send payments"),
            ),
            ("/checkout", Some("backup"), Refund, "club", None),
            (
                "/checkout",
                Some("backup"),
                Payment,
                "default",
                Some("source /checkout: its user may send payments and refunds of shop, club"),
            ),
            ("/checkout", None, Payment, "default", Some(none)),
            ("/checkout", Some("erp"), Payment, "default", Some(another)),
            ("/erp", Some("erp"), Refund, "shop", None),
            ("/erp", Some("erp"), Payment, "club", None),
            ("/erp", Some("erp"), Payment, "shop", Some(erp)),
            ("/erp", Some("erp"), Refund, "club", Some(erp)),
            (
                "/erp",
                Some("ERP"),
                Refund,
                "shop",
                Some("source /erp: allowed with user_id erp; this one came with another"),
            ),
        ] {
            let source = source(from);
            let judged = senders.judge(SenderClaim { source: &source, user_id: user, kind, merchant });
            assert_eq!(judged.err().as_deref(), expected, "{from} {user:?} {kind:?} {merchant}");
        }
    }
}
