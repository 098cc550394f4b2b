//! Compares one invoice's rows, of all files, with its order. It is given everything that is known of the invoice and says
//! everything that does not fit, so that the order in which files came changes nothing.
//!
//! Never: a guess at which invoice a row may have meant; a verdict that moves an order.

mod fits;

use super::{
    super::order::OrderState,
    breaks::{Break, Cause},
    case::{Case, Judgement, KnownRow, OrderFacts},
    fees,
    row::{RowKind, SettlementRow},
};
use chrono::NaiveDate;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// An order that may still become paid is no break before this: Check Status is asked meanwhile.
const DOUBT: Duration = Duration::from_secs(24 * 3600);
/// What may close by what an order becomes is judged again so often: at first, and after the first hour.
const LOOK_SOON: Duration = Duration::from_secs(60);
const LOOK_LATER: Duration = Duration::from_secs(3600);

/// Rows of one batch, type and account: more than one is odd.
type RowClass<'a> = (&'a str, RowKind, &'a str);

/// Judges one invoice.
pub fn judge(case: &Case<'_>) -> Judgement {
    let mut judge = Judge::new(case);
    judge.changed_batches();
    judge.unknown_types();
    match case.order {
        Some(order) => judge.against(&order),
        None => judge.missing_here(),
    }
    judge.done()
}

struct Judge<'a> {
    case: &'a Case<'a>,
    /// The files that have all rows of a group, unless it was changed.
    files: BTreeMap<RowClass<'a>, BTreeSet<i64>>,
    /// Groups whose rows are not the same in all of these files: their values are in doubt.
    changed: BTreeSet<RowClass<'a>>,
    judgement: Judgement,
    /// Something may change with the order.
    waits: bool,
}

impl<'a> Judge<'a> {
    fn new(case: &'a Case<'a>) -> Self {
        let files = files_of_groups(case);
        let is_everywhere =
            |row: &KnownRow| files.get(&group(row)).is_none_or(|all| all.is_subset(&row.files));
        let changed = case.rows.iter().filter(|row| !is_everywhere(row)).map(group).collect();
        Self { case, files, changed, judgement: Judgement::default(), waits: false }
    }

    fn rows(&self, kind: RowKind) -> impl Iterator<Item = (usize, &'a KnownRow)> + use<'a> {
        self.case.rows.iter().enumerate().filter(move |(_, row)| row.row.kind == kind)
    }

    /// Rows whose values are the same in all forms of their batch.
    fn certain(&self, kind: RowKind) -> Vec<&'a KnownRow> {
        self.rows(kind).map(|(_, row)| row).filter(|row| !self.changed.contains(&group(row))).collect()
    }

    fn has(&self, kind: RowKind) -> bool {
        self.rows(kind).next().is_some()
    }

    fn push(&mut self, cause: Cause, subject: String, batch: Option<&str>, at_stake: i64, values: String) {
        self.waits |= cause.depends_on_order();
        self.judgement.breaks.push(Break {
            cause,
            subject,
            invoice_number: Some(self.case.invoice_number.to_owned()),
            batch: batch.map(str::to_owned),
            at_stake: at_stake.abs(),
            values,
        });
    }

    fn of_invoice(&mut self, cause: Cause, at_stake: i64, values: String) {
        self.push(cause, self.case.invoice_number.to_owned(), None, at_stake, values);
    }

    fn of_row(&mut self, cause: Cause, row: &KnownRow, at_stake: i64, values: String) {
        let SettlementRow { batch, kind, sub_account, .. } = &row.row;
        let subject = format!("{} {} {} {}", self.case.invoice_number, kind.name(), batch, sub_account);
        // Two rows of one group are two breaks only where their values differ.
        let subject = format!("{} {}", subject.trim_end(), row.row.values());
        self.push(cause, subject, Some(batch), at_stake, values);
    }

    fn changed_batches(&mut self) {
        for key in self.changed.clone() {
            let rows: Vec<&KnownRow> = self.case.rows.iter().filter(|row| group(row) == key).collect();
            let values: BTreeSet<String> =
                rows.iter().map(|row| format!("{} ({})", row.row.values(), row.number)).collect();
            let nets = rows.iter().map(|row| row.row.net.abs());
            let (least, most) = (nets.clone().min().unwrap_or_default(), nets.max().unwrap_or_default());
            let at_stake = if values.len() > 1 && most > least { most - least } else { most };
            let (batch, kind, sub_account) = key;
            let subject = format!("{} {} {batch} {sub_account}", self.case.invoice_number, kind.name());
            let values = values.into_iter().collect::<Vec<_>>().join(" | ");
            self.push(Cause::BatchChanged, subject.trim_end().to_owned(), Some(batch), at_stake, values);
        }
    }

    fn unknown_types(&mut self) {
        let rows: Vec<&KnownRow> = self.rows(RowKind::Unknown).map(|(_, row)| row).collect();
        for row in rows {
            let values = format!("type {:?} {}", row.row.type_word, row.row.values());
            self.of_row(Cause::UnknownType, row, row.row.gross, values);
        }
    }

    fn missing_here(&mut self) {
        let known: BTreeSet<_> = self.case.rows.iter().map(|row| (group(row), row.row.gross)).collect();
        if known.is_empty() {
            return;
        }
        let gross: i64 = known.iter().map(|(_, gross)| *gross).sum();
        self.of_invoice(Cause::MissingHere, gross, format!("DOKU {gross}, ours none"));
    }

    fn against(&mut self, order: &OrderFacts) {
        let paid = match order.state {
            OrderState::Paid | OrderState::Refunding | OrderState::Refunded => true,
            OrderState::Submitting
            | OrderState::AwaitingPayment
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Review(_) => false,
        };
        if !paid && self.has(RowKind::Purchase) {
            self.not_paid(order);
        }
        self.amounts(order);
        self.duplicates(order);
        self.arithmetic();
        self.fees(order);
        self.refunds(order);
        self.missing_at_doku(order);
        if paid {
            self.fits(order);
        }
    }

    /// DOKU pays out what by our records was not paid. What is decided here is odd at once; what is open may be behind.
    fn not_paid(&mut self, order: &OrderFacts) {
        self.judgement.asks = true;
        self.waits = true;
        let is_decided =
            matches!(order.state, OrderState::Failed | OrderState::Expired | OrderState::Abandoned);
        let seen = self.rows(RowKind::Purchase).map(|(_, row)| row.seen_at).min();
        let stands = seen.is_some_and(|seen| self.case.now >= seen + DOUBT);
        if is_decided || stands {
            let gross = self.rows(RowKind::Purchase).map(|(_, row)| row.row.gross).max().unwrap_or_default();
            let values = format!("DOKU paid out, ours {}", order.state.name());
            self.of_invoice(Cause::StatusMismatch, gross, values);
        }
    }

    /// Each row has the order's amount; the rows of a split settlement's accounts have it together.
    fn amounts(&mut self, order: &OrderFacts) {
        for kind in [RowKind::Purchase, RowKind::Refund] {
            let rows = self.certain(kind);
            if !order.has_shares {
                for row in rows {
                    self.compare(row, row.row.gross, order.amount);
                }
            } else if self.case.rules.split && !rows.is_empty() {
                let sum: i64 = rows.iter().map(|row| row.row.gross).sum();
                if sum != order.amount {
                    let subject = format!("{} {}", self.case.invoice_number, kind.name());
                    let values = format!("DOKU {sum} in {} rows, ours {}", rows.len(), order.amount);
                    self.push(Cause::AmountMismatch, subject, None, sum - order.amount, values);
                }
            }
        }
    }

    fn compare(&mut self, row: &KnownRow, theirs: i64, ours: i64) {
        if theirs != ours {
            self.of_row(Cause::AmountMismatch, row, theirs - ours, format!("DOKU {theirs}, ours {ours}"));
        }
    }

    /// The same twice: within a batch, or in two. Accounts of a split settlement have a row each.
    fn duplicates(&mut self, order: &OrderFacts) {
        if order.has_shares
            && !self.case.rules.split
            && self.case.rows.iter().all(|row| row.row.sub_account.is_empty())
        {
            return;
        }
        let mut groups: BTreeMap<(RowKind, &str), BTreeMap<&str, Vec<&KnownRow>>> = BTreeMap::new();
        for kind in [RowKind::Purchase, RowKind::Refund] {
            for row in self.certain(kind) {
                let account = if order.has_shares { row.row.sub_account.as_str() } else { "" };
                groups
                    .entry((kind, account))
                    .or_default()
                    .entry(row.row.batch.as_str())
                    .or_default()
                    .push(row);
            }
        }
        for ((kind, account), batches) in groups {
            for (batch, rows) in &batches {
                if rows.len() > 1 {
                    let (extra, values) = but_the_largest(rows.iter().map(|row| row.row.net));
                    let subject = format!("{} {} {batch} {account}", self.case.invoice_number, kind.name());
                    self.push(Cause::DuplicateRow, subject.trim_end().to_owned(), Some(batch), extra, values);
                }
            }
            if batches.len() > 1 {
                let largest = batches
                    .values()
                    .filter_map(|rows| rows.iter().map(|row| row.row.net).max_by_key(|net| net.abs()));
                let (extra, _) = but_the_largest(largest);
                let subject = format!("{} {} {account}", self.case.invoice_number, kind.name());
                let values = batches.keys().copied().collect::<Vec<_>>().join(" and ");
                self.push(Cause::DuplicateInOtherBatch, subject.trim_end().to_owned(), None, extra, values);
            }
        }
    }

    fn arithmetic(&mut self) {
        for kind in [RowKind::Purchase, RowKind::Refund] {
            for row in self.certain(kind) {
                let SettlementRow { gross, fee, discount, net, .. } = row.row;
                // A refund's fee is not given back: its row deducts the amount, and a fee of its own if it has one.
                let expected = match kind {
                    RowKind::Purchase | RowKind::Unknown => gross - fee - discount,
                    RowKind::Refund => -gross - fee.abs() + discount.abs(),
                };
                if net != expected {
                    let values = format!("net {net}, by its other columns {expected}");
                    self.of_row(Cause::NetArithmetic, row, net - expected, values);
                }
            }
        }
    }

    fn fees(&mut self, order: &OrderFacts) {
        if order.has_shares {
            return;
        }
        for row in self.certain(RowKind::Purchase) {
            let Some(rule) = fees::rule_on(&self.case.rules.fees, row.row.transaction_on) else { continue };
            let (expected, fee) = (rule.fee(row.row.gross), row.row.fee);
            if (fee - expected).abs() > fees::TOLERANCE {
                self.of_row(
                    Cause::FeeMismatch,
                    row,
                    fee - expected,
                    format!("DOKU {fee}, by the rule {expected}"),
                );
            }
        }
    }

    fn refunds(&mut self, order: &OrderFacts) {
        let refund = self.rows(RowKind::Refund).map(|(_, row)| row).min_by_key(|row| row.seen_at);
        match (order.state, refund) {
            (OrderState::Refunded, None) => {
                if self.is_refund_owed(order) && self.is_late(order.state_since) {
                    self.of_invoice(
                        Cause::RefundMissing,
                        order.amount,
                        format!("ours refunded {}, DOKU none", order.amount),
                    );
                }
            }
            (OrderState::Refunded, Some(_)) | (_, None) => {}
            // The refund's outcome is still to come.
            (OrderState::Refunding, Some(row)) if self.case.now < row.seen_at + DOUBT => {
                self.judgement.asks = true;
                self.waits = true;
            }
            (state, Some(row)) => {
                self.judgement.asks = true;
                let values = format!("DOKU deducted {}, ours {}", row.row.gross, state.name());
                self.of_invoice(Cause::RefundUnexpected, row.row.gross, values);
            }
        }
    }

    /// What was paid out is deducted: by a row that is here, or in files before the first one.
    fn is_refund_owed(&self, order: &OrderFacts) -> bool {
        let was_paid_before = order.is_imported || !self.is_since_first_file(order.paid_on);
        let was_paid_out =
            self.has(RowKind::Purchase) || (was_paid_before && self.is_since_first_file(order.state_since));
        was_paid_out && !self.has(RowKind::Unknown)
    }

    /// A refund that was made before the pay-out may leave no row at all: then nothing is owed. A refund's row without the
    /// purchase's means that DOKU deducted what it never paid out.
    fn missing_at_doku(&mut self, order: &OrderFacts) {
        let is_owed = match order.state {
            OrderState::Paid | OrderState::Refunding => true,
            OrderState::Refunded => self.has(RowKind::Refund),
            OrderState::Submitting
            | OrderState::AwaitingPayment
            | OrderState::Failed
            | OrderState::Expired
            | OrderState::Abandoned
            | OrderState::Review(_) => false,
        };
        let is_expected = !order.is_imported && self.is_since_first_file(order.paid_on);
        let is_there = self.has(RowKind::Purchase) || self.has(RowKind::Unknown);
        if !is_owed || !is_expected || is_there {
            return;
        }
        // A later batch may still bring it.
        self.waits |= !self.case.rows.is_empty();
        if self.is_late(order.paid_on) {
            self.of_invoice(
                Cause::MissingAtDoku,
                order.amount,
                format!("ours {} {}, DOKU none", order.state.name(), order.amount),
            );
        }
    }

    /// Earlier than the first transaction of all files nothing is expected in them.
    fn is_since_first_file(&self, day: NaiveDate) -> bool {
        self.case.account.first_transaction_on.is_some_and(|first| day >= first)
    }

    /// Whether a batch that was paid out after the due day has come, and every row of it is understood.
    fn is_late(&self, since: NaiveDate) -> bool {
        let due = self.case.rules.calendar.due_on(since);
        let account = self.case.account;
        !account.has_unknown_channel && account.latest_paid_out_on.is_some_and(|latest| latest > due)
    }

    fn done(mut self) -> Judgement {
        self.judgement.breaks.sort();
        self.judgement.breaks.dedup();
        if self.waits {
            let seen = self.case.rows.iter().map(|row| row.seen_at).min();
            let is_new = seen.is_some_and(|seen| self.case.now < seen + LOOK_LATER);
            self.judgement.look_again_at = Some(self.case.now + if is_new { LOOK_SOON } else { LOOK_LATER });
        }
        self.judgement
    }
}

fn group(row: &KnownRow) -> RowClass<'_> {
    (&row.row.batch, row.row.kind, &row.row.sub_account)
}

/// All files of a batch. A day without one may come in parts: those that have a row of the group.
fn files_of_groups<'a>(case: &Case<'a>) -> BTreeMap<RowClass<'a>, BTreeSet<i64>> {
    let mut files: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
    for row in case.rows {
        let all = if row.row.is_of_day() { Some(&row.files) } else { case.account.forms.get(&row.row.batch) };
        files.entry(group(row)).or_default().extend(all.into_iter().flatten());
    }
    files
}

/// All but one may be too much: their sum without the largest, and all of them as text.
fn but_the_largest(amounts: impl Iterator<Item = i64>) -> (i64, String) {
    let mut amounts: Vec<i64> = amounts.collect();
    amounts.sort_by_key(|amount| amount.abs());
    let text = amounts.iter().map(i64::to_string).collect::<Vec<_>>().join(" and ");
    let extra = amounts.iter().rev().skip(1).map(|amount| amount.abs()).sum();
    (extra, text)
}

#[cfg(test)]
pub(super) mod tests;
