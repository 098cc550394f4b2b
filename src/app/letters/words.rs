//! What would become of a letter, in words.

use crate::{
    app::forecast::{CommandForecast, ReplayForecast},
    domain::{
        command::ClaimForecast,
        money::group_digits,
        signed::{Form, SignedBy},
        validate::Violation,
    },
    rabbit::dead::DeadLetter,
    shown::clean,
};

/// Violations that are shown of one command.
const VIOLATIONS_SHOWN: usize = 5;

/// For programs, in a word.
pub fn word(fate: &ReplayForecast) -> &'static str {
    match fate {
        ReplayForecast::Command(command) => match command.prospect {
            ClaimForecast::Claimed => "send",
            ClaimForecast::Duplicate { .. } => "known",
            ClaimForecast::Rejected(_) => "reject",
        },
        ReplayForecast::Notification { signed_by: SignedBy::Merchant(_), .. } => "reconcile",
        ReplayForecast::Notification { signed_by: SignedBy::Doku { .. }, .. } => "inquire",
        ReplayForecast::DeadAgain { reason, .. } => reason.name(),
        ReplayForecast::Nowhere => "nowhere",
    }
}

/// For people, in a sentence.
pub fn sentence(fate: &ReplayForecast) -> String {
    match fate {
        ReplayForecast::Command(command) => of_command(command),
        ReplayForecast::Notification { signed_by, form, invoice_number } => {
            let what = match form {
                Form::Jenius => "a notification",
                Form::Snap => "a SNAP notification",
            };
            let invoice_number = clean(invoice_number);
            match signed_by {
                SignedBy::Merchant(merchant) => {
                    format!("would be reconciled: {what} about {invoice_number} of {merchant}")
                }
                SignedBy::Doku { named } => format!(
                    "would make an inquiry due, and decide nothing: {what} about {invoice_number} of {named}"
                ),
            }
        }
        ReplayForecast::DeadAgain { reason, detail } => format!("{} still: {}", reason.name(), clean(detail)),
        ReplayForecast::Nowhere => {
            "nowhere to go: neither its type nor its routing key is one of ours".to_owned()
        }
    }
}

fn of_command(fate: &CommandForecast) -> String {
    let command = &fate.command;
    let what = format!("{} {}", command.kind.name(), clean(command.identity.id.as_str()));
    match &fate.prospect {
        ClaimForecast::Claimed => {
            let amount = fate.amount.map(|amount| group_digits(&amount.to_string())).unwrap_or_default();
            let invoice = command.invoice_number.as_deref().map(clean).unwrap_or_default();
            let merchant = clean(&command.merchant);
            format!("{what} would be claimed and sent: {amount} for {invoice} of {merchant}")
        }
        ClaimForecast::Duplicate { published_again: true } => {
            format!("{what} is known already: its outcome event is published again")
        }
        ClaimForecast::Duplicate { published_again: false } => {
            format!("{what} is known already, its outcome not yet: nothing follows")
        }
        ClaimForecast::Rejected(violations) => format!("{what} would be rejected: {}", because(violations)),
    }
}

fn because(violations: &[Violation]) -> String {
    let shown = violations.iter().take(VIOLATIONS_SHOWN);
    let mut shown: Vec<_> = shown.map(|v| format!("{} ({})", v.code.name(), clean(&v.field))).collect();
    if violations.len() > VIOLATIONS_SHOWN {
        shown.push(format!("{} more", violations.len() - VIOLATIONS_SHOWN));
    }
    shown.join(", ")
}

/// That it was worked on again and died again.
pub fn replays(letter: &DeadLetter) -> Option<String> {
    match letter.replays {
        0 => None,
        1 => Some("replayed once, died again".to_owned()),
        more => Some(format!("replayed {more} times, died again")),
    }
}

/// Whether working on it would bring anything but its next death.
pub fn is_hopeless(fate: &ReplayForecast) -> bool {
    match fate {
        ReplayForecast::Command(_) | ReplayForecast::Notification { .. } => false,
        ReplayForecast::DeadAgain { .. } | ReplayForecast::Nowhere => true,
    }
}

/// What is added where a letter is one of two with the same command.
pub fn twin(is_twin: bool) -> &'static str {
    if is_twin { "; it stands here twice: the other one makes it known first" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ids::MerchantName, domain::validate::Code, flow::disposition::DeadReason};

    #[test]
    fn a_fate_is_told_in_a_word_and_a_sentence() {
        let merchant = MerchantName::default_account();
        let invoice_number = || "INV-1".to_owned();
        let signed_by = SignedBy::Merchant(merchant.clone());
        let report =
            ReplayForecast::Notification { signed_by, form: Form::Jenius, invoice_number: invoice_number() };
        let signed_by = SignedBy::Doku { named: merchant };
        let unbound =
            ReplayForecast::Notification { signed_by, form: Form::Snap, invoice_number: invoice_number() };
        let dead = |reason| ReplayForecast::DeadAgain { reason, detail: "why\u{1b}".to_owned() };
        for (fate, expected, said, hopeless) in [
            (report, "reconcile", "would be reconciled: a notification about INV-1 of default", false),
            (
                unbound,
                "inquire",
                "would make an inquiry due, and decide nothing: a SNAP notification about INV-1 of default",
                false,
            ),
            (dead(DeadReason::Malformed), "malformed", "malformed still: why\u{fffd}", true),
            (dead(DeadReason::NotAuthentic), "not_authentic", "not_authentic still: why\u{fffd}", true),
            (
                ReplayForecast::Nowhere,
                "nowhere",
                "nowhere to go: neither its type nor its routing key is one of ours",
                true,
            ),
        ] {
            assert_eq!(
                (word(&fate), sentence(&fate).as_str(), is_hopeless(&fate)),
                (expected, said, hopeless)
            );
        }
    }

    #[test]
    fn of_many_violations_the_first_are_told() {
        let violation =
            |n: usize| Violation { code: Code::Missing, field: format!("f{n}"), message: String::new() };
        let many: Vec<_> = (0..7).map(violation).collect();
        assert_eq!(because(&many[..2]), "missing (f0), missing (f1)");
        assert!(because(&many).ends_with("missing (f4), 2 more"));
    }
}
