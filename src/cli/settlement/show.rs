//! Settlement for people, in 80 columns: names of batches and invoices are long, so each has a line of its own and is never
//! broken.

use crate::{
    cli::{print::clean, timeline::rupiah, times::Times},
    flow::view::settlement::{BatchView, BreakView, FileView},
};

const WIDTH: usize = 80;
const INDENT: &str = "    ";

/// The files, a block each.
pub fn files(files: &[FileView], times: Times, terminal: bool) -> String {
    if files.is_empty() {
        return "no files".to_owned();
    }
    files.iter().map(|file| file_block(file, times, terminal)).collect::<Vec<_>>().join("\n")
}

fn file_block(file: &FileView, times: Times, terminal: bool) -> String {
    let head = format!("{}  {}", times.full(file.received_at), clean(&file.state));
    let mut lines = vec![
        strong(&head, terminal),
        format!("{INDENT}{} of {}", clean(&file.name), clean(&file.merchant)),
        format!(
            "{INDENT}{} rows, {} of our channel: net {}; unreadable {}; breaks open {}",
            file.rows,
            file.own_rows,
            amount(file.own_net),
            file.unreadable,
            file.open_breaks
        ),
    ];
    lines.extend(file.batch.as_deref().map(|batch| format!("{INDENT}batch {}", clean(batch))));
    lines.join("\n")
}

/// A batch of each merchant who has one of that name, and the breaks that name it.
pub fn batches(batches: &[BatchView], open: &[BreakView], times: Times, terminal: bool) -> String {
    let mut blocks: Vec<String> = batches.iter().map(|batch| batch_block(batch, terminal)).collect();
    blocks.push(if open.is_empty() {
        "no open break is in it".to_owned()
    } else {
        breaks(open, times, terminal)
    });
    blocks.join("\n\n")
}

fn batch_block(batch: &BatchView, terminal: bool) -> String {
    let line = |what: &str, theirs: String, ours: String| {
        format!("{what:<12}{theirs:>24}{ours:>24}").trim_end().to_owned()
    };
    let paid_out = batch.paid_out_on.map(|day| format!(", paid out {day}")).unwrap_or_default();
    let none = String::new;
    let mut lines = vec![
        strong(&format!("batch {}", clean(&batch.batch)), terminal),
        format!(
            "of {}{paid_out}; {} forms; breaks open {}",
            clean(&batch.merchant),
            batch.forms,
            batch.open_breaks
        ),
        line("", "DOKU".to_owned(), "our orders".to_owned()),
        line("purchases", batch.purchases.to_string(), batch.own_purchases.to_string()),
        line("gross", amount(batch.gross), amount(batch.own_gross)),
        line("refunds", batch.refunds.to_string(), batch.own_refunds.to_string()),
        line("refunded", amount(batch.refunded), amount(batch.own_refunded)),
        line("fee", amount(batch.fee), none()),
        line("discount", amount(batch.discount), none()),
        line("net", amount(batch.net), none()),
    ];
    lines.extend(batch.stated_net.map(|net| line("whole file", amount(net), none())));
    lines.join("\n")
}

/// The breaks, a block each.
pub fn breaks(breaks: &[BreakView], times: Times, terminal: bool) -> String {
    if breaks.is_empty() {
        return "no breaks".to_owned();
    }
    breaks.iter().map(|found| break_block(found, times, terminal)).collect::<Vec<_>>().join("\n")
}

fn break_block(found: &BreakView, times: Times, terminal: bool) -> String {
    let since = match (found.closed_at, found.closed_by.as_deref()) {
        (Some(at), Some(by)) => format!("closed {} by {}", times.day(at), clean(by)),
        (_, _) => format!("open since {}", times.day(found.first_seen_at)),
    };
    let head = format!("{}  {}  {}  {since}", found.number, clean(&found.cause), rupiah(&found.at_stake));
    let mut lines = vec![strong(&head, terminal)];
    let belongs_to = format!(
        "{} of {}",
        clean(found.invoice_number.as_deref().unwrap_or("no invoice")),
        clean(&found.merchant)
    );
    lines.push(format!("{INDENT}{belongs_to}; for {}", clean(&found.owner)));
    lines.extend(wrapped(&clean(&found.found)));
    if let Some((by, reason)) = found.closed_by_person() {
        lines.extend(wrapped(&format!("{}: {}", clean(by), clean(reason))));
    }
    lines.join("\n")
}

/// Words on lines of the width; one that is longer has a line of its own.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

fn amount(rupiah_of: i64) -> String {
    let sign = if rupiah_of < 0 { "-" } else { "" };
    format!("{sign}{}", rupiah(&rupiah_of.unsigned_abs().to_string()))
}

fn strong(text: &str, terminal: bool) -> String {
    if crate::shown::may_colour(terminal) { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::times::sample::times,
        flow::view::{sample, settlement},
    };

    fn break_found() -> BreakView {
        BreakView {
            number: 7,
            merchant: "default".to_owned(),
            cause: "amount_mismatch".to_owned(),
            owner: "finance".to_owned(),
            subject: "I".repeat(64),
            invoice_number: Some("I".repeat(64)),
            batch: Some("=cmd".to_owned()),
            at_stake: "999999999999".to_owned(),
            found: "amount 50000 fee 1500 discount 0 net 48500 of 2026-01-05 paid out 2026-01-08 | amount 50001 (1)\u{1b}".to_owned(),
            first_seen_at: sample::at(0),
            closed_at: None,
            closed_by: None,
            history: vec![],
        }
    }

    #[test]
    fn a_break_fits_a_terminal_and_cannot_drive_it() {
        let shown = breaks(&[break_found()], times(), false);
        let widest =
            shown.lines().filter(|line| !line.contains("IIII")).map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH), "{shown}");
        assert!(
            shown.starts_with("7  amount_mismatch  Rp999.999.999.999  open since 2026-01-01\n"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(breaks(&[], times(), false), "no breaks");
    }

    #[test]
    fn a_batch_has_both_sums_side_by_side() {
        let batch = BatchView { batch: "B".repeat(66), stated_net: None, ..settlement::sample::batch() };
        let shown = batches(&[batch], &[], times(), false);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(shown.contains("gross                      Rp100.000                Rp50.000"), "{shown}");
    }
}
