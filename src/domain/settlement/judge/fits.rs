//! Rows that fit, of which an event goes out.

use super::{Judge, group};
use crate::domain::{
    order::OrderState,
    settlement::{
        breaks::Cause,
        case::{Fit, KnownRow, OrderFacts},
        row::{RowKind, SettlementRow},
    },
};
use std::collections::BTreeSet;

impl Judge<'_> {
    /// Rows fit where nothing else is wrong with the invoice. Of a batch in several forms the latest counts.
    pub(super) fn fits(&mut self, order: &OrderFacts) {
        let is_clean = self.judgement.breaks.iter().all(|found| found.cause == Cause::BatchChanged);
        let is_settled = |kind| {
            kind == RowKind::Purchase || (kind == RowKind::Refund && order.state == OrderState::Refunded)
        };
        if !is_clean {
            return;
        }
        for (at, row) in self.case.rows.iter().enumerate() {
            if row.number > 1
                || !is_settled(row.row.kind)
                || !self.is_latest(row)
                || !self.is_exact(row, order)
            {
                continue;
            }
            let of_group = self.case.rows.iter().enumerate().filter(|(_, other)| group(other) == group(row));
            let replaces = of_group.filter(|(_, other)| !self.is_latest(other)).map(|(at, _)| at).collect();
            self.judgement.fits.push(Fit { at, replaces });
        }
    }

    /// Whether the last file of its batch has this row.
    fn is_latest(&self, row: &KnownRow) -> bool {
        let last = self.files.get(&group(row)).and_then(BTreeSet::last);
        last.is_none_or(|last| row.files.contains(last))
    }

    /// What is judged of rows that are certain; a changed one was left out there.
    fn is_exact(&self, row: &KnownRow, order: &OrderFacts) -> bool {
        let SettlementRow { gross, fee, discount, net, kind, .. } = row.row;
        let adds_up = kind == RowKind::Refund || net == gross - fee - discount;
        adds_up && (order.has_shares || gross == order.amount)
    }
}
