//! Which broker users speak for which sources (`amqp.sources`). The broker refuses a message whose `user_id` is
//! not the user who publishes it, so that one that is set is true.

use super::ids::CommandSource;
use std::collections::{BTreeMap, BTreeSet};

/// The users of each bound source. A source that is not bound is free for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders(BTreeMap<CommandSource, BTreeSet<String>>);

impl Senders {
    pub fn bind(&mut self, user: String, source: CommandSource) {
        self.0.entry(source).or_default().insert(user);
    }

    /// Whether a command of this source may have been published by this user; what is wrong where not.
    pub fn judge(&self, source: &CommandSource, user_id: Option<&str>) -> Result<(), String> {
        match self.0.get(source) {
            None => Ok(()),
            Some(users) if user_id.is_some_and(|user| users.contains(user)) => Ok(()),
            Some(users) => {
                let users: Vec<&str> = users.iter().map(String::as_str).collect();
                let came = if user_id.is_some() { "another" } else { "none" };
                let users = users.join(" or ");
                Err(format!("source {source}: allowed with user_id {users}; this one came with {came}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_source_is_its_users_and_every_other_is_free() {
        let source = |text: &str| CommandSource::parse(text).unwrap();
        let mut senders = Senders::default();
        for (user, bound) in [("checkout", "/checkout"), ("backup", "/checkout"), ("erp", "/erp")] {
            senders.bind(user.to_owned(), source(bound));
        }
        for (from, user, expected) in [
            ("/free", None, None),
            ("/free", Some("anybody"), None),
            ("/checkout", Some("checkout"), None),
            ("/checkout", Some("backup"), None),
            ("/erp", Some("erp"), None),
            (
                "/checkout",
                None,
                Some("source /checkout: allowed with user_id backup or checkout; this one came with none"),
            ),
            (
                "/checkout",
                Some("erp"),
                Some("source /checkout: allowed with user_id backup or checkout; this one came with another"),
            ),
            ("/erp", Some("ERP"), Some("source /erp: allowed with user_id erp; this one came with another")),
        ] {
            let judged = senders.judge(&source(from), user);
            assert_eq!(judged.err().as_deref(), expected, "{from} {user:?}");
        }
    }
}
