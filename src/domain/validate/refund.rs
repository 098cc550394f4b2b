//! The rules of a refund's `data`. Whether the order may be refunded, and of this amount, only the store
//! can say.

use super::{
    ValidData, Violation,
    reader::{Member, Violations},
    rules,
};
use crate::domain::document::Document;

/// Checks a refund's `data`. Fails with every violation, in the order of the checks below.
pub fn refund(data: &Document) -> Result<ValidData, Vec<Violation>> {
    let mut violations = Violations::default();
    let refund = Member::data(data).object(&mut violations).and_then(|mut fields| {
        let refund = fields.object("order", &mut violations).and_then(|mut order| {
            let invoice_number = rules::invoice_number(&mut order, &mut violations);
            let amount = rules::amount(&mut order, &mut violations);
            let reason = order.text("reason", &rules::REASON, &mut violations);
            order.refuse_others(&mut violations);
            Some(ValidData {
                invoice_number: invoice_number?,
                amount: amount?,
                reason: Some(reason?.to_owned()),
            })
        });
        fields.refuse_others(&mut violations);
        refund
    });
    violations.judge(refund)
}
