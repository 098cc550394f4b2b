//! A plan: which fault strikes which send, read from words. Pure: the same text and count give the same fault.

use super::faults::{Acts, AnswerStatus, FAULT_WORDS, FaultWord, HABIT_WORDS, NotifyHabit, OrderScript};
use super::ledger::TransactionStatus;
use super::notify::NotifyForm;
use super::snap::SnapSignature;

/// The longest argument or repetition that is read.
const NUMBER_DIGITS_MAX: usize = 9;

/// One fault, as it is to be played.
#[derive(Clone)]
pub(super) struct ScriptedFault {
    pub(super) word: &'static FaultWord,
    pub(super) acts: bool,
    argument: Option<String>,
}

impl ScriptedFault {
    pub(super) fn new(word: &'static FaultWord, acts: bool) -> Self {
        Self { word, acts: acts || word.acts == Acts::Always, argument: None }
    }

    /// As the ledger shows it.
    pub(super) fn name(&self) -> String {
        let prefix = if self.acts && self.word.acts == Acts::IfPrefixed { "act_then_" } else { "" };
        let argument = self.argument.as_ref().map(|text| format!(":{text}")).unwrap_or_default();
        format!("{prefix}{}{argument}", self.word.name)
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.text().and_then(|text| text.parse().ok())
    }
}

/// A play and the number of times it is given; `u64::MAX` is for ever.
type ScriptRun = (ScriptedFault, u64);

/// How long a word without `*N` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    Always,
}

#[derive(Clone, Default)]
pub(super) struct FaultScript {
    sends: Vec<ScriptRun>,
    inquiries: Vec<ScriptRun>,
    answers: Option<AnswerStatus>,
    goes: Option<&'static [TransactionStatus]>,
    notifies: Vec<NotifyHabit>,
}

impl FaultScript {
    /// # Errors
    /// The first word that is in no table.
    pub(super) fn parse(text: &str, repeat: Repeat) -> Result<Self, String> {
        let mut plan = Self::default();
        for part in text.split(',') {
            plan.add(part.trim(), repeat).ok_or_else(|| part.to_owned())?;
        }
        Ok(plan)
    }

    fn add(&mut self, part: &str, repeat: Repeat) -> Option<()> {
        if let Some(word) = HABIT_WORDS.iter().find(|word| word.name == part) {
            match word.habit {
                OrderScript::Answers(status) => self.answers = Some(status),
                OrderScript::Goes(statuses) => self.goes = Some(statuses),
                OrderScript::Notifies(habit) => self.notifies.push(habit),
            }
            return Some(());
        }
        let (part, times) = match part.split_once('*') {
            None if repeat == Repeat::Once => (part, 1),
            None | Some((_, "")) => (part.trim_end_matches('*'), u64::MAX),
            Some((part, count)) => (part, number(count)?),
        };
        let (part, runs) = match part.strip_prefix("check_") {
            Some(part) => (part, &mut self.inquiries),
            None => (part, &mut self.sends),
        };
        runs.push((play(part)?, times));
        Some(())
    }

    /// The fault of the `nth` send, counted from 0.
    pub(super) fn send(&self, nth: u64) -> Option<ScriptedFault> {
        at(&self.sends, nth)
    }

    /// The fault of the `nth` inquiry, counted from 0.
    pub(super) fn inquiry(&self, nth: u64) -> Option<ScriptedFault> {
        at(&self.inquiries, nth)
    }

    pub(super) fn answers(&self) -> Option<AnswerStatus> {
        self.answers
    }

    /// The transaction's statuses after PENDING.
    pub(super) fn goes(&self) -> &'static [TransactionStatus] {
        self.goes.unwrap_or(&[TransactionStatus::Success])
    }

    pub(super) fn notifies(&self, habit: NotifyHabit) -> bool {
        self.notifies.contains(&habit)
    }

    /// The forms in which a change is reported, one notification each.
    pub(super) fn forms(&self, usual: NotifyForm) -> Vec<NotifyForm> {
        if self.notifies(NotifyHabit::Both) {
            return vec![NotifyForm::Jenius, NotifyForm::Snap(SnapSignature::Hmac)];
        }
        let snap = self.notifies.iter().find_map(|habit| match habit {
            NotifyHabit::Snap(signature) => Some(NotifyForm::Snap(*signature)),
            _ => None,
        });
        vec![snap.unwrap_or(usual)]
    }

    /// Whether it has nothing but faults of requests: no `check_` word and nothing that an order does.
    pub(super) fn is_only_sends(&self) -> bool {
        self.inquiries.is_empty() && self.answers.is_none() && self.goes.is_none() && self.notifies.is_empty()
    }

    pub(super) fn has_inquiries(&self) -> bool {
        !self.inquiries.is_empty()
    }
}

fn play(part: &str) -> Option<ScriptedFault> {
    let (name, argument) = match part.split_once(':') {
        Some((name, argument)) => (name, Some(argument.to_owned())),
        None => (part, None),
    };
    let (word, acts) = match FAULT_WORDS.iter().find(|word| word.name == name) {
        Some(word) => (word, false),
        None => {
            let name = name.strip_prefix("act_then_")?;
            let word = FAULT_WORDS.iter().find(|word| word.name == name)?;
            (word, word.acts != Acts::Later)
        }
    };
    Some(ScriptedFault { argument, ..ScriptedFault::new(word, acts) })
}

fn number(text: &str) -> Option<u64> {
    if text.len() > NUMBER_DIGITS_MAX { None } else { text.parse().ok() }
}

fn at(runs: &[ScriptRun], nth: u64) -> Option<ScriptedFault> {
    let mut end: u64 = 0;
    for (play, times) in runs {
        end = end.saturating_add(*times);
        if nth < end {
            return Some(play.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, repeat: Repeat) -> Vec<String> {
        let plan = FaultScript::parse(text, repeat).unwrap();
        (0..5).map(|nth| plan.send(nth).map_or_else(|| "-".into(), |play| play.name())).collect()
    }

    #[test]
    fn words_strike_the_sends_they_are_counted_for() {
        for (text, expected) in [
            ("drop", "drop - - - -"),
            ("act_then_drop*3", "act_then_drop act_then_drop act_then_drop - -"),
            ("500*", "500 500 500 500 500"),
            ("act_then_drop,429:7,500*2", "act_then_drop 429:7 500 500 -"),
            ("cut_json,act_then_wrong_signature", "cut_json wrong_signature - - -"),
            ("never_pays,drop,notify_twice", "drop - - - -"),
            ("check_drop", "- - - - -"),
        ] {
            assert_eq!(names(text, Repeat::Once).join(" "), expected, "{text}");
        }
        assert_eq!(names("500*2,drop", Repeat::Always).join(" "), "500 500 drop drop drop");
    }

    #[test]
    fn inquiries_are_counted_apart_from_sends() {
        let plan = FaultScript::parse("check_not_found*2", Repeat::Once).unwrap();
        assert!(plan.inquiry(1).is_some() && plan.inquiry(2).is_none() && plan.send(0).is_none());
    }

    #[test]
    fn ordinary_text_is_no_plan() {
        for text in ["$admin", "", "Cancel Order", "drop it", "drop,oops", "drop*x", "act_then_pending", "*"]
        {
            assert!(FaultScript::parse(text, Repeat::Once).is_err(), "{text}");
        }
    }

    #[test]
    fn every_word_fits_a_cash_tag_with_its_prefix_unless_it_is_marked_here() {
        let too_long = |name: &&str| "act_then_".len() + name.len() > 30;
        let long: Vec<_> = FAULT_WORDS.iter().map(|word| word.name).filter(too_long).collect();
        assert_eq!(long, ["invalid_header_request", "request_time_out_of_range"]);
        assert!(HABIT_WORDS.iter().all(|word| word.name.len() <= 30));
    }
}
