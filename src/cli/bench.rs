//! `bench`: measures the service on the configured servers, in a database and under names of its own, with a DOKU of
//! its own.

use super::{UsageError, print};
use crate::config::{Config, Environment, RequiredSections, Source};
use jenius_bench::{Bench, Options, Scenario, Servers, Settings, against};
use secrecy::ExposeSecret;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Beside this program, where `cargo build --example plain_worker` puts it.
const PLAIN_WORKER: &str = "examples/plain_worker";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure [default: everything that takes less than a few minutes]
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// How many commands, events or notifications are preloaded
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..))]
    commands: u64,
    /// How long DOKU takes to answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    answer_after_ms: u64,
    /// Rates of `latency`, commands a second, comma-separated
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1000],
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rates: Vec<u32>,
    /// For how long each rate holds
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many finished orders `history` makes
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    orders: u64,
    /// Draws the latencies
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The plain worker to compare with [default: examples/plain_worker beside this program]
    #[arg(long, value_name = "PATH")]
    plain: Option<PathBuf>,
    /// Writes the figures as JSON, to a file or in place of the tables
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Compares the ratios with those of an earlier report in JSON, and says what got slower
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

pub async fn run(args: Args, source: &Source<'_>, config_file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let needs = RequiredSections { database: true, amqp: true, merchants: false };
    let config = Config::load(source, needs)?;
    let program = std::env::current_exe()?;
    let json = args.json.clone();
    // Before anything is measured: minutes later it would be too late to say that there is no such file.
    let then = args.against.as_deref().map(read_report).transpose()?;
    let bench = bench(args, &config, program, config_file)?;
    let report = bench.run().await?;
    match json.as_deref() {
        Some(path) if path == Path::new("-") => print::line(&serde_json::to_string_pretty(&report)?)?,
        Some(path) => {
            fs::write(path, serde_json::to_vec_pretty(&report)?)?;
            print::line(&report.text())?;
        }
        None => print::line(&report.text())?,
    }
    let is_for_programs = json.as_deref() == Some(Path::new("-"));
    if let Some(then) = then.filter(|_| !is_for_programs) {
        print::line(&against::compare(&report.sections, &then))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_report(path: &Path) -> anyhow::Result<serde_json::Value> {
    let fault = |why: String| UsageError(format!("--against {}: {why}", path.display()));
    let text = fs::read(path).map_err(|e| fault(e.to_string()))?;
    let report: serde_json::Value = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
    if !report["sections"].is_array() {
        return Err(fault("no report of `bench --json`: `sections` is missing".to_owned()).into());
    }
    Ok(report)
}

fn bench(
    args: Args,
    config: &Config,
    program: PathBuf,
    config_file: Option<PathBuf>,
) -> anyhow::Result<Bench> {
    if config.doku.environment == Environment::Production {
        let refused =
            "doku.environment is production: nothing is measured beside real money; allowed: sandbox";
        return Err(UsageError(refused.to_owned()).into());
    }
    let amqp = config.need_amqp()?;
    let [url] = amqp.urls.as_slice() else {
        return Err(UsageError("amqp.url names several brokers; allowed: one, to measure".to_owned()).into());
    };
    let database = config.need_database()?;
    let beside = program.with_file_name(PLAIN_WORKER);
    let scenarios = if args.scenarios.is_empty() { Scenario::QUICK.to_vec() } else { args.scenarios };
    Ok(Bench {
        options: Options {
            scenarios,
            commands: args.commands,
            answer_after: Duration::from_millis(args.answer_after_ms),
            rates: args.rates,
            span: Duration::from_secs(args.seconds),
            history: args.orders,
            svg: args.svg,
            plain: args.plain.or_else(|| Some(beside).filter(|path| path.exists())),
        },
        servers: Servers {
            database: database.url.expose_secret().parse()?,
            amqp: url.expose_secret().to_owned(),
        },
        settings: Settings {
            prefetch: amqp.prefetch,
            max_connections: database.max_connections,
            concurrency: config.doku.concurrency,
            requests_per_second: config.doku.requests_per_second,
        },
        program,
        config_file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench_with(environment: &str) -> anyhow::Result<Bench> {
        let variables = [
            ("DATABASE_URL", "postgres://localhost/x"),
            ("AMQP_URL", "amqp://localhost/%2f"),
            ("JENIUS_PAY__DOKU__ENVIRONMENT", environment),
        ];
        let source = Source::new(None, variables, |_| Err(std::io::ErrorKind::NotFound.into()));
        let config =
            Config::load(&source, RequiredSections { database: true, amqp: true, merchants: false }).unwrap();
        let args = Args {
            scenarios: vec![],
            commands: 100,
            answer_after_ms: 0,
            rates: vec![100],
            seconds: 1,
            orders: 0,
            svg: None,
            plain: None,
            json: None,
            against: None,
        };
        bench(args, &config, PathBuf::from("/nowhere/jenius-pay"), None)
    }

    #[test]
    fn nothing_is_measured_beside_real_money() {
        let refused = bench_with("production").err().unwrap();
        assert!(refused.is::<UsageError>(), "{refused}");
        let bench = bench_with("sandbox").unwrap();
        assert_eq!(bench.options.scenarios, Scenario::QUICK);
        assert_eq!(bench.options.plain, None, "a plain worker that is not there is not run");
    }
}
