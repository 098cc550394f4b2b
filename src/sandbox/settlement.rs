//! A settlement file of what DOKU did, in the form that DOKU sends, with faults on demand (`GET /settlement`). Each fault
//! strikes one row, and the file says beside it what was planted: a comparison must find that, and nothing else.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

use super::ledger::{Charge, Ledger, TransactionStatus};

/// What DOKU keeps of each payment, in rupiah.
pub const SETTLEMENT_FEE: u64 = 1500;
/// DOKU's days are Jakarta's.
const ZONE_SECONDS: i32 = 7 * 3600;
const HEADER: &str = "NO,MERCHANT NAME,PAYMENT CHANNEL NAME,TRANSACTION DATE,INVOICE NUMBER,CUSTOMER NAME,REPORT CODE,AMOUNT,RECON CODE,FEE,\
                      DISCOUNT,PAY TO MERCHANT,PAY OUT DATE,TRANSACTION TYPE,PROMO CODE,SUB ACCOUNT";

/// What may be planted, and the cause by which a comparison must find it.
pub(super) const PLANTS: [(&str, &str, &str); 13] = [
    ("missing", "missing_at_doku", "a paid order is left out"),
    ("doubled", "duplicate_row", "a row stands there twice"),
    ("wrong_fee", "fee_mismatch", "DOKU keeps 500 more"),
    ("wrong_amount", "amount_mismatch", "a row has 1,000 more"),
    ("wrong_net", "net_arithmetic", "a row pays out 7 less than its columns make"),
    ("refund", "refund_unexpected", "a refund of an order that was not refunded"),
    ("no_refund", "refund_missing", "the row of a refund is left out"),
    ("unknown_type", "unknown_type", "a row is a Chargeback"),
    ("other_channel", "unknown_channel", "a row of an unknown channel, in place of an order's"),
    ("failed", "status_mismatch", "an order is paid out that failed or expired"),
    ("stranger", "missing_here", "a row of an unknown invoice"),
    ("unreadable", "unreadable_row", "a row more, with a date that is none"),
    ("totals", "totals_mismatch", "the file states a row more than it has"),
];

/// Which file is asked for.
#[derive(Clone, Debug, Default)]
pub struct SettlementRequest {
    /// The merchant; `None`: the charges of all merchants.
    pub client_id: Option<String>,
    /// `None`: today.
    pub paid_out_on: Option<NaiveDate>,
    /// `None`: named after the day.
    pub batch: Option<String>,
    /// Words of `GET /help`, with commas between.
    pub faults: String,
    /// Only transactions whose invoice number begins so.
    pub prefix: String,
}

impl SettlementRequest {
    /// Reads the query of a URL.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut request = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "client_id" => request.client_id = Some(value),
                "paid_out_on" => {
                    let day = value.parse().map_err(|_| "paid_out_on is a day: 2026-01-08".to_owned())?;
                    request.paid_out_on = Some(day);
                }
                "batch" => request.batch = Some(value),
                "faults" => request.faults = value,
                "prefix" => request.prefix = value,
                _ => return Err(format!("no such parameter: {name:?}; GET /help lists them")),
            }
        }
        Ok(request)
    }
}

/// A file, and what was planted in it.
#[derive(Clone, Debug)]
pub struct SettlementFile {
    pub csv: String,
    pub planted: Vec<Planted>,
}

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planted {
    /// By which it must be found.
    pub cause: &'static str,
    /// `None`: it is about the file.
    pub invoice_number: Option<String>,
}

/// A word that is in no table, or one for which DOKU did nothing that it could strike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be planted: no such word, or no transaction that it could strike")]
pub struct NotPlanted(pub String);

#[derive(Clone)]
struct PlantedRow {
    channel: &'static str,
    date: String,
    invoice: String,
    amount: i64,
    fee: i64,
    net: i64,
    kind: &'static str,
}

struct Writer<'l> {
    paid_out_on: NaiveDate,
    rows: Vec<PlantedRow>,
    planted: Vec<Planted>,
    /// Invoices that a fault has struck.
    struck: BTreeSet<String>,
    ledger: &'l Ledger,
    /// Added to what is stated.
    rows_more: i64,
}

/// Writes the file.
pub(super) fn settlement_file(
    ledger: &Ledger,
    request: &SettlementRequest,
    now: DateTime<Utc>,
) -> Result<SettlementFile, NotPlanted> {
    let today = day(now);
    let paid_out_on = request.paid_out_on.unwrap_or(today);
    let mut charges: Vec<&Charge> =
        ledger.charges.iter().filter(|charge| is_asked_for(charge, request)).collect();
    charges.sort_by(|a, b| a.invoice_number.cmp(&b.invoice_number));
    let mut writer = Writer {
        paid_out_on,
        rows: Vec::new(),
        planted: Vec::new(),
        struck: BTreeSet::new(),
        ledger,
        rows_more: 0,
    };
    let paid =
        |charge: &&&Charge| matches!(charge.status, TransactionStatus::Success | TransactionStatus::Refunded);
    charges.iter().filter(paid).for_each(|charge| writer.write(charge));
    let words = request.faults.split(',').map(str::trim).filter(|word| !word.is_empty());
    for word in words {
        writer.plant(word, &charges).ok_or_else(|| NotPlanted(word.to_owned()))?;
    }
    let batch =
        request.batch.clone().unwrap_or_else(|| format!("B-SANDBOX-{}", paid_out_on.format("%Y%m%d")));
    Ok(writer.file(&batch))
}

fn is_asked_for(charge: &Charge, request: &SettlementRequest) -> bool {
    request.client_id.as_ref().is_none_or(|id| *id == charge.client_id)
        && charge.invoice_number.starts_with(&request.prefix)
}

fn day(at: DateTime<Utc>) -> NaiveDate {
    let zone = FixedOffset::east_opt(ZONE_SECONDS);
    zone.map_or_else(|| at.date_naive(), |zone| at.with_timezone(&zone).date_naive())
}

fn written(day: NaiveDate) -> String {
    day.format("%d-%m-%Y").to_string()
}

impl Writer<'_> {
    fn write(&mut self, charge: &Charge) {
        self.rows.push(purchase(charge));
        if charge.status == TransactionStatus::Refunded {
            let at =
                self.ledger.refunds_of(&charge.invoice_number).next().map_or(charge.at, |refund| refund.at);
            let amount = whole(charge.amount);
            let date = written(day(at));
            self.rows.push(PlantedRow { date, fee: 0, net: -amount, kind: "Refund", ..purchase(charge) });
        }
    }

    /// Strikes the first transaction that nothing has struck yet.
    fn plant(&mut self, word: &str, charges: &[&Charge]) -> Option<()> {
        let (_, cause, _) = PLANTS.into_iter().find(|(name, _, _)| *name == word)?;
        let struck = self.struck.clone();
        let is_free = |charge: &&&Charge| !struck.contains(&charge.invoice_number);
        let of = |wanted: &[TransactionStatus]| {
            charges.iter().filter(is_free).find(|charge| wanted.contains(&charge.status)).copied()
        };
        let invoice = match word {
            "totals" => {
                self.rows_more += 1;
                None
            }
            "unreadable" => {
                let any = self.rows.first()?.clone();
                self.rows.push(PlantedRow {
                    date: "31-02-2026".to_owned(),
                    invoice: "SANDBOX-UNREADABLE".to_owned(),
                    ..any
                });
                None
            }
            "stranger" => {
                let any = self.rows.first()?.clone();
                let invoice = "SANDBOX-NOBODYS".to_owned();
                self.rows.push(PlantedRow {
                    invoice: invoice.clone(),
                    kind: "Purchase",
                    net: any.amount - any.fee,
                    ..any
                });
                Some(invoice)
            }
            "failed" => {
                let charge = of(&[TransactionStatus::Failed, TransactionStatus::Expired])?;
                self.struck.insert(charge.invoice_number.clone());
                self.rows.push(purchase(charge));
                Some(charge.invoice_number.clone())
            }
            "no_refund" => {
                let charge = of(&[TransactionStatus::Refunded])?;
                self.struck.insert(charge.invoice_number.clone());
                self.rows.retain(|row| row.invoice != charge.invoice_number || row.kind != "Refund");
                Some(charge.invoice_number.clone())
            }
            _ => {
                let charge = of(&[TransactionStatus::Success])?;
                self.struck.insert(charge.invoice_number.clone());
                self.spoil(word, charge);
                // A row of another channel belongs to no order: the file is judged.
                (word != "other_channel").then(|| charge.invoice_number.clone())
            }
        };
        self.planted.push(Planted { cause, invoice_number: invoice });
        Some(())
    }

    fn spoil(&mut self, word: &str, charge: &Charge) {
        let invoice = &charge.invoice_number;
        let Some(at) = self.rows.iter().position(|row| row.invoice == *invoice) else { return };
        match word {
            "missing" => drop(self.rows.remove(at)),
            "doubled" => self.rows.push(self.rows[at].clone()),
            "refund" => self.rows.push(PlantedRow {
                fee: 0,
                net: -whole(charge.amount),
                kind: "Refund",
                ..purchase(charge)
            }),
            _ => {
                let row = &mut self.rows[at];
                match word {
                    "wrong_fee" => (row.fee, row.net) = (row.fee + 500, row.net - 500),
                    "wrong_amount" => (row.amount, row.net) = (row.amount + 1000, row.net + 1000),
                    "wrong_net" => row.net -= 7,
                    "unknown_type" => row.kind = "Chargeback",
                    "other_channel" => row.channel = "Moon Money",
                    _ => {}
                }
            }
        }
    }

    fn file(self, batch: &str) -> SettlementFile {
        let of = |kind: &'static str| self.rows.iter().filter(move |row| row.kind == kind);
        let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.sum::<i64>();
        let paid_out = written(self.paid_out_on);
        let mut csv = format!(
            "Total Amount Purchase_,{}\nTotal Fee_,{}\nTotal Purchase_,{}\nTotal Amount Refund_,{}\nTotal Refund_,{}\n\
             Total Settlement Amount_,{}\nTotal Discount_,0\nTotal Transactions_,{}\nBatch ID_,{batch}\n\n{HEADER}\n",
            sum(&mut of("Purchase").map(|row| row.amount)),
            sum(&mut self.rows.iter().map(|row| row.fee)),
            of("Purchase").count(),
            sum(&mut of("Refund").map(|row| row.amount)),
            of("Refund").count(),
            sum(&mut self.rows.iter().map(|row| row.net)),
            whole(self.rows.len() as u64) + self.rows_more,
        );
        for (at, row) in self.rows.iter().enumerate() {
            let PlantedRow { channel, date, invoice, amount, fee, net, kind } = row;
            csv.push_str(&format!(
                "{},SANDBOX,{channel},{date},{invoice},PELANGGAN,-,{amount},-,{fee},0,{net},{paid_out},{kind},,\n",
                at + 1
            ));
        }
        let mut planted = self.planted;
        planted.sort();
        SettlementFile { csv, planted }
    }
}

fn purchase(charge: &Charge) -> PlantedRow {
    let (amount, fee) = (whole(charge.amount), whole(SETTLEMENT_FEE));
    PlantedRow {
        channel: "Jenius Pay",
        date: written(day(charge.at)),
        invoice: charge.invoice_number.clone(),
        amount,
        fee,
        net: amount - fee,
        kind: "Purchase",
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The part of `GET /help` about it.
pub(super) fn help() -> String {
    let mut text = String::from(
        "\nGET /settlement is the settlement file of all transactions so far; the header X-Planted names its faults.\n\n  \
         ?client_id=…   only that merchant's\n  ?paid_out_on=2026-01-08 &batch=NAME &prefix=INV-\n  ?faults=missing,wrong_fee   each strikes \
         one row:\n\n",
    );
    for (word, cause, meaning) in PLANTS {
        text.push_str(&format!("  {word:<15} {cause:<18} {meaning}\n"));
    }
    text
}
