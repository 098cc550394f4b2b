//! `settlement`: a month of orders settled by one file: how long it takes to be read and matched, in how much memory, and
//! what payments at an even rate notice of it.

use super::{
    Bench, Section,
    chart::Quantiles,
    commands::Commands,
    drain::WORKING,
    latency::{WARM_UP, at_rate, publish_one},
    processes::{Memory, Process},
    report::{figure, table},
    service::Service,
    setup::{BenchSetup, with_setup},
    tables,
};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// As long as DOKU's are.
const BATCH: &str = "B-BSN-0000-0000000000000-SBS-0000-20260106120000000-00000000000000000";
/// Commands a second beside the import.
const RATE: u32 = 1_000;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Results {
    rows: u64,
    import_seconds: f64,
    rows_per_second: f64,
    import_memory: Memory,
    alone_ms: Quantiles,
    beside_ms: Quantiles,
    /// The payments' p99 beside the import, as a multiple of the one alone.
    p99_ratio: f64,
}

pub async fn run(bench: &Bench) -> anyhow::Result<Section> {
    let results = with_setup(bench, async |setup| settle(setup, bench.options.commands).await).await?;
    let head = ["rows", "seconds", "rows a second", "highest MiB", "alone: p99 ms", "beside it: p99 ms"];
    let row = vec![
        results.rows.to_string(),
        figure(results.import_seconds),
        figure(results.rows_per_second),
        figure(results.import_memory.highest_mib),
        format!("{:.1}", results.alone_ms.p99),
        format!("{:.1}", results.beside_ms.p99),
    ];
    Section::new("settlement", &results, table(&head.map(str::to_owned), &[row]))
}

async fn settle(setup: &BenchSetup<'_>, rows: u64) -> anyhow::Result<Results> {
    let mut sql = setup.sql().await?;
    // Invoice numbers of their own, beside those of the payments that go on.
    let old = Commands::new("settled");
    setup.filled(&old, rows).paid(&mut sql).await?;
    tables::settle(&mut sql).await?;
    let today = sqlx::query_scalar("SELECT current_date").fetch_one(&mut sql).await?;
    let file = Month::write(&old, rows, today)?;
    setup.doku_answers_after(setup.bench.options.answer_after).await?;
    let mut service = Service::start(setup, &WORKING, &[])?;
    let mut events = setup.load.listen(&setup.name("events")).await?;
    publish_one(setup, 0).await?;
    events.next().await.with_context(|| service.process.log_tail())?;
    let per_run = u64::from(RATE) * (setup.bench.options.span + WARM_UP).as_secs();
    let alone = at_rate(setup, &mut events, RATE, 1..1 + per_run, Commands::payment).await?;
    let numbers = 1 + per_run..1 + 2 * per_run;
    let importing = import(setup, file.path());
    let paying = at_rate(setup, &mut events, RATE, numbers, Commands::payment);
    let ((import_seconds, import_memory), beside) = tokio::try_join!(importing, paying)?;
    service.process.must_run()?;
    check(&mut sql, rows).await?;
    sql.close().await?;
    #[expect(clippy::cast_precision_loss, reason = "no count comes to 2^52")]
    let rows_per_second = rows as f64 / import_seconds;
    let (alone_ms, beside_ms) = (alone.latencies.quantiles(), beside.latencies.quantiles());
    let p99_ratio = beside_ms.p99 / alone_ms.p99;
    Ok(Results { rows, import_seconds, rows_per_second, import_memory, alone_ms, beside_ms, p99_ratio })
}

/// The import as an operator makes it: how long it took, and the most memory that it held.
async fn import(setup: &BenchSetup<'_>, file: &Path) -> anyhow::Result<(f64, Memory)> {
    let mut command = setup.bench.command(setup);
    command
        .args(["settlement", "import"])
        .arg(file)
        .args(["--merchant", "default"])
        .env("JENIUS_OPERATOR", "bench");
    let start = Instant::now();
    let mut process = Process::spawn(&mut command, "the import")?;
    let mut memory = process.memory();
    let status = loop {
        if let Some(status) = process.poll_end()? {
            break status;
        }
        let now = process.memory();
        if now.highest_mib > memory.highest_mib {
            memory = now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let took = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("the import ended with {status}:\n{}", process.log_tail());
    }
    Ok((took, memory))
}

/// Every row is kept and fits, or it was no import.
async fn check(sql: &mut PgConnection, rows: u64) -> anyhow::Result<()> {
    let (kept, breaks): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM settlement_rows), (SELECT count(*) FROM settlement_breaks)",
    )
    .fetch_one(sql)
    .await?;
    ensure!(
        u64::try_from(kept)? == rows && breaks == 0,
        "{kept} rows are kept and {breaks} do not fit, of {rows}"
    );
    Ok(())
}

/// A file of a month, gone when it is dropped.
struct Month(PathBuf);

impl Month {
    fn write(orders: &Commands, rows: u64, today: chrono::NaiveDate) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("jenius-bench-{}.csv", uuid::Uuid::new_v4().simple()));
        let month = Self(path);
        let mut out = BufWriter::new(File::create(&month.0)?);
        let (paid, out_on) = ((today - chrono::Days::new(31)).format("%d-%m-%Y"), today.format("%d-%m-%Y"));
        writeln!(out, "Total Transactions_,{rows}\nBatch ID_,{BATCH}\n")?;
        writeln!(
            out,
            "NO,MERCHANT NAME,PAYMENT CHANNEL NAME,TRANSACTION DATE,INVOICE NUMBER,CUSTOMER NAME,REPORT CODE,AMOUNT,\
             RECON CODE,FEE,DISCOUNT,PAY TO MERCHANT,PAY OUT DATE,TRANSACTION TYPE,PROMO CODE,SUB ACCOUNT"
        )?;
        for number in 0..rows {
            let invoice = orders.invoice(number);
            writeln!(
                out,
                "{number},TOKO,Jenius Pay,{paid},{invoice},PELANGGAN,-,50000,-,1500,0,48500,{out_on},Purchase,,"
            )?;
        }
        out.flush()?;
        Ok(month)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Month {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
