//! The global switch: faults that a test or an operator turns on and off while the sandbox runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::fault_script::{FaultScript, Repeat, ScriptedFault};
use super::ledger::Operation;

/// Everything the switch can do; [`Faults::default`] does nothing. Setting it replaces what was set before, and
/// starts its counts anew. The words are those of `GET /help`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Words for every payment request. Without `*N` they hold until the switch is set again.
    pub payment: Option<String>,
    /// Words for every refund request.
    pub refund: Option<String>,
    /// Words for every inquiry (without `check_`).
    pub check: Option<String>,
    /// Only requests of this merchant; `None`: of all.
    pub client_id: Option<String>,
    /// Words in place of the cash tag, by invoice number, of any length.
    pub invoices: BTreeMap<String, String>,
    /// Added to every answer.
    pub latency_ms: u64,
    /// How far DOKU's clock is ahead of the machine's.
    pub clock_offset_s: i64,
    /// No notification leaves; what is not sent now is not sent later.
    pub notify_never: bool,
}

/// A word that is in no table, or one that a switch for every request has no use for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such fault word: {0:?}; GET /help lists them")]
pub struct UnknownFault(pub String);

/// [`Faults`], read.
#[derive(Default)]
pub(super) struct Switch {
    pub(super) faults: Faults,
    payment: CountedScript,
    refund: CountedScript,
    check: CountedScript,
    invoices: HashMap<String, Arc<FaultScript>>,
}

#[derive(Default)]
struct CountedScript {
    plan: Option<FaultScript>,
    struck: AtomicU64,
}

impl CountedScript {
    fn parse(words: Option<&String>) -> Result<Self, UnknownFault> {
        let plan =
            words.map(|words| FaultScript::parse(words, Repeat::Always)).transpose().map_err(UnknownFault)?;
        if let (Some(plan), Some(words)) = (&plan, words)
            && !plan.is_only_sends()
        {
            return Err(UnknownFault(words.clone()));
        }
        Ok(Self { plan, struck: AtomicU64::new(0) })
    }
}

impl Switch {
    pub(super) fn parse(faults: Faults) -> Result<Self, UnknownFault> {
        let invoices = faults
            .invoices
            .iter()
            .map(|(invoice, words)| {
                let plan = FaultScript::parse(words, Repeat::Once).map_err(UnknownFault)?;
                Ok((invoice.clone(), Arc::new(plan)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            payment: CountedScript::parse(faults.payment.as_ref())?,
            refund: CountedScript::parse(faults.refund.as_ref())?,
            check: CountedScript::parse(faults.check.as_ref())?,
            invoices,
            faults,
        })
    }

    /// The fault that strikes this request, whatever its order's own plan says.
    pub(super) fn strike(&self, operation: Operation, client_id: &str) -> Option<ScriptedFault> {
        if self.faults.client_id.as_ref().is_some_and(|only| only != client_id) {
            return None;
        }
        let counted = match operation {
            Operation::Payment => &self.payment,
            Operation::Refund => &self.refund,
            Operation::Check => &self.check,
        };
        let plan = counted.plan.as_ref()?;
        plan.send(counted.struck.fetch_add(1, Ordering::Relaxed))
    }

    /// What an invoice does in place of its cash tag.
    pub(super) fn plan_of(&self, invoice_number: &str) -> Option<Arc<FaultScript>> {
        self.invoices.get(invoice_number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_does_not_exist_is_refused() {
        for (words, told) in [("500,explode", "explode"), ("check_500", "check_500"), ("pending", "pending")]
        {
            let faults = Faults { refund: Some(words.into()), ..Faults::default() };
            assert_eq!(Switch::parse(faults).err(), Some(UnknownFault(told.into())));
        }
    }

    #[test]
    fn the_switch_can_be_limited_to_one_merchant_and_to_a_count() {
        let faults =
            Faults { payment: Some("500*2".into()), client_id: Some("MCH-1".into()), ..Faults::default() };
        let switch = Switch::parse(faults).unwrap();
        assert!(switch.strike(Operation::Payment, "MCH-2").is_none());
        assert!(switch.strike(Operation::Refund, "MCH-1").is_none());
        assert!(switch.strike(Operation::Payment, "MCH-1").is_some());
        assert!(switch.strike(Operation::Payment, "MCH-1").is_some());
        assert!(switch.strike(Operation::Payment, "MCH-1").is_none());
    }
}
