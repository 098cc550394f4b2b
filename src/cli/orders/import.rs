//! `orders import`: takes in orders that were paid before this service ran, so that they can be refunded. It reads and judges the
//! whole file first: with one bad line nothing is imported.

use crate::{
    cli::{UsageError, print, who},
    config::{Config, RequiredSections, Source},
    doku::clock::SystemClock,
    domain::{
        Time,
        ids::{InvoiceNumber, MerchantName, RequestId},
        money::Rupiah,
    },
    flow::ports::{Account, Clock},
    postgres::{self, IMPORTED_MAX, ImportConflict, OrderImport, PaidOrder, PostgresStore},
};
use anyhow::Context;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeZone};
use chrono_tz::Tz;
use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Faults that are shown; a file of another form has one on each line.
const FAULTS_MAX: usize = 50;
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The orders as CSV; `-` reads standard input. The first line names the columns: invoice_number, amount (rupiah, in digits)
    /// and paid_at (`2026-01-31 13:05:00` in time_zone, or RFC 3339) are needed; merchant and request_id may follow.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The merchant of the lines that name none.
    #[arg(long, default_value = "default", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: MerchantName,
    /// Why; it is kept with each order.
    #[arg(long, value_name = "TEXT", value_parser = who::reason)]
    reason: String,
    /// Check the file and say what it would import, and import nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    who: who::Who,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let done_by = if args.dry_run { None } else { Some(args.who.operator()?) };
    let config = Config::load(source, RequiredSections::DOKU)?;
    let accounts: Vec<Account> = config
        .merchants
        .iter()
        .map(|(merchant, configured)| Account {
            merchant: merchant.clone(),
            client_id: configured.client_id.clone(),
            base_url: config.doku.base_url.clone(),
        })
        .collect();
    let reader = LineReader {
        merchant: args.merchant,
        known: accounts.iter().map(|account| account.merchant.clone()).collect(),
        zone: config.time_zone,
        now: SystemClock.now(),
    };
    let (lines, orders) = reader.read(&text(&args.file)?)?.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let store = PostgresStore::new(pool, config.schedule());
    let import = OrderImport {
        orders,
        accounts,
        file: name(&args.file),
        reason: args.reason,
        done_by,
        dry_run: args.dry_run,
    };
    let done = store.import_orders(import).await?;
    if !done.conflicts.is_empty() {
        let faults = done.conflicts.iter().map(|(at, conflict)| fault(lines[*at], in_words(*conflict)));
        anyhow::bail!("nothing was imported\n{}", shown(faults.collect()));
    }
    let verb = if args.dry_run { "would import" } else { "imported" };
    print::line(&format!("{verb} {} orders; {} were imported before", done.new, done.known))?;
    Ok(ExitCode::SUCCESS)
}

/// As people call it: without the directories of this machine.
fn name(file: &Path) -> String {
    let name = file.file_name().filter(|name| *name != "-").map(|name| print::clean(&name.to_string_lossy()));
    name.unwrap_or_else(|| "standard input".to_owned())
}

fn text(file: &Path) -> anyhow::Result<String> {
    let named = || format!("cannot read {}", print::clean(&file.display().to_string()));
    let mut text = String::new();
    let limit = FILE_BYTES_MAX + 1;
    if file.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    }
    .with_context(named)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(UsageError(format!("the file is longer than {FILE_BYTES_MAX} bytes: split it")).into());
    }
    Ok(text)
}

fn in_words(conflict: ImportConflict) -> &'static str {
    match conflict {
        ImportConflict::Commanded => "invoice_number: a command asked for this order",
        ImportConflict::Amount => "amount: it was imported before with another one",
        ImportConflict::PaidAt => "paid_at: it was imported before with another one",
        ImportConflict::RequestId => "request_id: another, or none, was imported before",
    }
}

fn fault(line: u64, what: &str) -> String {
    format!("line {line}: {what}")
}

fn shown(mut faults: Vec<String>) -> String {
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(format!("and {more} more"));
    }
    faults.join("\n")
}

/// Where each column is.
struct Columns {
    invoice_number: usize,
    amount: usize,
    paid_at: usize,
    merchant: Option<usize>,
    request_id: Option<usize>,
}

impl Columns {
    const NEEDED: [&str; 3] = ["invoice_number", "amount", "paid_at"];
    const ALLOWED: [&str; 5] = ["invoice_number", "amount", "paid_at", "merchant", "request_id"];

    fn from_heads(heads: &csv::StringRecord) -> Result<Self, String> {
        let heads: Vec<&str> = heads.iter().map(|head| head.trim_start_matches('\u{feff}').trim()).collect();
        let place = |name: &str| heads.iter().position(|head| *head == name);
        let allowed = format!("allowed: {}", Self::ALLOWED.join(", "));
        if let Some(other) = heads.iter().find(|head| !Self::ALLOWED.contains(head)) {
            return Err(format!("unknown column {:?}; {allowed}", print::clean(other)));
        }
        if heads.iter().collect::<BTreeSet<_>>().len() < heads.len() {
            return Err(format!("a column is named twice; {allowed}"));
        }
        match Self::NEEDED.map(place) {
            [Some(invoice_number), Some(amount), Some(paid_at)] => Ok(Self {
                invoice_number,
                amount,
                paid_at,
                merchant: place("merchant"),
                request_id: place("request_id"),
            }),
            _ => Err(format!("these columns are needed: {}", Self::NEEDED.join(", "))),
        }
    }
}

/// What a line is read with.
struct LineReader {
    /// Of lines that name none.
    merchant: MerchantName,
    known: BTreeSet<MerchantName>,
    /// Of times that name none.
    zone: Tz,
    now: Time,
}

impl LineReader {
    /// Every order with the number of its line, or every fault.
    fn read(&self, text: &str) -> Result<Vec<(u64, PaidOrder)>, UsageError> {
        let first = text.lines().next().unwrap_or_default();
        // A spreadsheet in a locale with decimal commas separates by semicolons.
        let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
        let mut lines = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let unreadable = |error: csv::Error| {
            let line = error.position().map_or(1, |position| line_of(text, position));
            fault(line, "it has another number of cells than the first line, or is no CSV")
        };
        let heads = lines.headers().map_err(|_| UsageError("the file is no CSV".to_owned()))?;
        let columns = Columns::from_heads(heads).map_err(|why| UsageError(fault(1, &why)))?;
        let (mut orders, mut faults) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for record in lines.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    faults.push(unreadable(error));
                    continue;
                }
            };
            let line = record.position().map_or(0, |position| line_of(text, position));
            match self.order(&record, &columns) {
                Ok(order) if !seen.insert((order.merchant.clone(), order.invoice_number.to_string())) => {
                    faults.push(fault(line, "invoice_number: it stands in an earlier line"));
                }
                Ok(order) => orders.push((line, order)),
                Err(whys) => faults.extend(whys.iter().map(|why| fault(line, why))),
            }
        }
        if orders.len() > IMPORTED_MAX {
            faults.push(format!("the file has more than {IMPORTED_MAX} orders: split it"));
        }
        if faults.is_empty() {
            Ok(orders)
        } else {
            Err(UsageError(format!("nothing was imported\n{}", shown(faults))))
        }
    }

    fn order(&self, record: &csv::StringRecord, columns: &Columns) -> Result<PaidOrder, Vec<String>> {
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let optional = |at: Option<usize>| at.map(cell).filter(|text| !text.is_empty());
        let invoice_number = InvoiceNumber::parse(cell(columns.invoice_number))
            .map_err(|error| format!("invoice_number: {error}"));
        let amount = amount(cell(columns.amount));
        let paid_at = self.paid_at(cell(columns.paid_at));
        let merchant = self.merchant(optional(columns.merchant));
        let request_id = optional(columns.request_id)
            .map(|text| RequestId::parse(text).map_err(|error| format!("request_id: {error}")))
            .transpose();
        match (invoice_number, amount, paid_at, merchant, request_id) {
            (Ok(invoice_number), Ok(amount), Ok(paid_at), Ok(merchant), Ok(request_id)) => {
                Ok(PaidOrder { merchant, invoice_number, amount, paid_at, request_id })
            }
            (invoice, amount, paid_at, merchant, request_id) => {
                let faults = [invoice.err(), amount.err(), paid_at.err(), merchant.err(), request_id.err()];
                Err(faults.into_iter().flatten().collect())
            }
        }
    }

    fn merchant(&self, named: Option<&str>) -> Result<MerchantName, String> {
        let merchant = match named {
            Some(name) => MerchantName::parse(name).map_err(|error| format!("merchant: {error}"))?,
            None => self.merchant.clone(),
        };
        if self.known.contains(&merchant) {
            Ok(merchant)
        } else {
            let known: Vec<_> = self.known.iter().map(MerchantName::as_str).collect();
            Err(format!("merchant: {merchant} is not configured; allowed: {}", known.join(", ")))
        }
    }

    fn paid_at(&self, text: &str) -> Result<Time, String> {
        let at = time(text, self.zone).ok_or(
            "paid_at: allowed: 2026-01-31, 2026-01-31 13:05:00 or RFC 3339 (2026-01-31T13:05:00+07:00)",
        )?;
        if at > self.now { Err("paid_at: it lies in the future".to_owned()) } else { Ok(at) }
    }
}

/// The reader counts from the end of the line before: empty lines may follow there.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let empty = rest.bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n');
    position.line() + u64::try_from(empty.count()).unwrap_or(0)
}

fn amount(text: &str) -> Result<Rupiah, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let amount = digits.then(|| text.parse().ok().and_then(Rupiah::new)).flatten();
    amount.ok_or_else(|| format!("amount: allowed: whole rupiah in digits, 1–{}", Rupiah::MAX))
}

/// As exact as the database keeps it.
fn time(text: &str, zone: Tz) -> Option<Time> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc().trunc_subsecs(6));
    }
    let moment = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN));
    zone.from_local_datetime(&moment.or_else(day)?).earliest().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::view::sample;

    fn reader() -> LineReader {
        let known = ["default", "shop"].map(|name| MerchantName::parse(name).unwrap());
        LineReader {
            merchant: MerchantName::default_account(),
            known: known.into(),
            zone: chrono_tz::Asia::Jakarta,
            now: sample::at(0),
        }
    }

    #[test]
    fn a_file_is_read_in_any_order_of_columns_and_with_semicolons() {
        let plain = "invoice_number,amount,paid_at\nINV-1,50000,2025-12-31 13:05:00\n\nINV-2,1,2025-12-31\n";
        let read = reader().read(plain).unwrap();
        let facts: Vec<_> = read
            .iter()
            .map(|(line, order)| {
                (*line, order.invoice_number.as_str(), order.amount.get(), order.paid_at.to_rfc3339())
            })
            .collect();
        assert_eq!(facts[0], (2, "INV-1", 50_000, "2025-12-31T06:05:00+00:00".to_owned()));
        assert_eq!(facts[1], (4, "INV-2", 1, "2025-12-30T17:00:00+00:00".to_owned()));
        let other = "\u{feff}merchant;paid_at;request_id;amount;invoice_number\n\
                     shop;2025-12-31T13:05:00.1234567+07:00;R-1;50000;INV-1\n;2025-12-31;;7;INV-1\n";
        let read = reader().read(other).unwrap();
        assert_eq!(read[0].1.merchant.as_str(), "shop");
        assert_eq!(read[0].1.request_id.as_ref().map(RequestId::as_str), Some("R-1"));
        assert_eq!(read[0].1.paid_at.to_rfc3339(), "2025-12-31T06:05:00.123456+00:00");
        assert_eq!((read[1].1.merchant.as_str(), &read[1].1.request_id), ("default", &None));
    }

    #[test]
    fn every_fault_of_every_line_is_shown_at_once() {
        let text = "invoice_number,amount,paid_at,merchant,request_id\n\
                    INV 1,50.000,tomorrow,other,R 1\n\
                    INV-2,0,2030-01-01,default,\n\
                    INV-3,1,2025-12-31,,\n\
                    INV-3,1,2025-12-31,default,\n\
                    INV-4,1\n\
                    INV-5,1000000000000,2025-12-31,,";
        let faults = reader().read(text).unwrap_err().0;
        let places: Vec<_> = faults
            .lines()
            .skip(1)
            .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            places,
            [
                "line 2 invoice_number",
                "line 2 amount",
                "line 2 paid_at",
                "line 2 merchant",
                "line 2 request_id",
                "line 3 amount",
                "line 3 paid_at",
                "line 5 invoice_number",
                "line 6 it has another number of cells than the first line, or is no CSV",
                "line 7 amount",
            ],
            "{faults}"
        );
        for heads in
            ["", "invoice_number,amount", "invoice_number,amount,paid_at,state", "amount,amount,paid_at"]
        {
            let refused = reader().read(&format!("{heads}\n")).unwrap_err().0;
            assert!(refused.starts_with("line 1: "), "{refused}");
        }
    }
}
