//! `settlement import`: says what it reads, its merchant and its profile, and what came of it.

use super::{store, usage};
use crate::{
    app::settlement::{Consent, Import, ImportError, ImportOutcome, ImportRequest, lines::Place},
    cli::{print, who},
    config::{Config, RequiredSections, Source},
    domain::{
        action::{Action, ActionKind},
        ids::MerchantName,
    },
    postgres::{self, PgPool},
};
use anyhow::Context;
use std::{os::fd::AsFd, path::PathBuf, process::ExitCode};
use tokio::io::AsyncRead;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file as DOKU sent it, CSV or XLSX; `-` reads standard input.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The merchant of the file; needed if several are configured and the profile names none.
    #[arg(long, value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// How the file is written: a profile of the configuration, or `doku`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Match even if more than one in ten rows has no order here, or cannot be read.
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    who: who::Who,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let done_by = args.who.operator()?;
    let config = Config::load(source, RequiredSections::DATABASE)?;
    let pool = postgres::pool(postgres::connect_options(config.need_database()?)?, 1);
    let import = Import {
        settlement: store(&config)?.settlement(),
        config: config.settlement.clone(),
        merchants: config.merchants.keys().cloned().collect(),
    };
    let request = request(&args, &import)?;
    let (bytes, name) = open(&args.file).await?;
    let request = ImportRequest { name, ..request };
    keep(&pool, &request, &done_by, "begun").await?;
    let outcome = import.run(&request, bytes, &Place::Database).await;
    let (text, code) = summary(&request, &outcome);
    keep(&pool, &request, &done_by, &text).await?;
    match outcome {
        Ok(_) => print::line(&text)?,
        Err(error) => return Err(error.into()),
    }
    Ok(code)
}

/// The merchant of the file, and the profile by which it is read.
fn request(args: &Args, import: &Import) -> anyhow::Result<ImportRequest> {
    let profiles = import.config.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
    let profile = import
        .profile_of(args.profile.as_deref(), args.merchant.as_ref())
        .ok_or_else(|| usage(format!("there is no such profile: allowed are {profiles}")))?;
    if let Some((named, own)) = args.merchant.as_ref().zip(profile.merchant.as_ref())
        && named != own
    {
        return Err(usage(format!("profile {} belongs to merchant {own}", profile.name)));
    }
    let merchant = import.merchant_of(args.merchant.clone(), profile).ok_or_else(|| {
        let names = import.merchants.iter().map(MerchantName::as_str).collect::<Vec<_>>().join(", ");
        let which = if names.is_empty() { String::new() } else { format!(": {names}") };
        usage(format!("name the merchant of the file with --merchant{which}"))
    })?;
    let is_known = import.merchants.is_empty() || import.merchants.contains(&merchant);
    if !is_known {
        return Err(usage(format!("merchant {merchant} is not configured here")));
    }
    let consent = if args.anyway { Consent::Anyway } else { Consent::Usual };
    Ok(ImportRequest { name: String::new(), merchant, profile: profile.name.clone(), consent })
}

async fn open(path: &PathBuf) -> anyhow::Result<(Box<dyn AsyncRead + Unpin + Send>, String)> {
    if path.as_os_str() == "-" {
        let input = std::io::stdin().as_fd().try_clone_to_owned().context("standard input")?;
        let input = tokio::fs::File::from_std(std::fs::File::from(input));
        return Ok((Box::new(input), "standard input".to_owned()));
    }
    let shown = || print::clean(&path.display().to_string());
    let file = tokio::fs::File::open(path).await.with_context(shown)?;
    if !file.metadata().await?.is_file() {
        return Err(usage(format!("{} is no regular file", shown())));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((Box::new(file), print::clean(&name)))
}

/// What came of it, in words, and how the process ends.
fn summary(request: &ImportRequest, outcome: &Result<ImportOutcome, ImportError>) -> (String, ExitCode) {
    let of = format!("{} for {} by profile {}", request.name, request.merchant, request.profile);
    match outcome {
        Ok(ImportOutcome::Done { counts, rows, .. }) => (
            format!(
                "{of}: {rows} rows of our channel, {} fit\nbreaks opened {}, closed {}; DOKU is asked about {} orders\n\
                 `jenius-pay settlement breaks --open` shows what does not fit",
                counts.fits, counts.opened, counts.closed, counts.asked
            ),
            ExitCode::SUCCESS,
        ),
        // Perhaps by another profile than the one that is named now.
        Ok(ImportOutcome::Known(_)) => (
            format!("{} for {}: imported before, nothing changed", request.name, request.merchant),
            ExitCode::SUCCESS,
        ),
        Ok(ImportOutcome::Held { rows, without_order, unreadable }) => (
            format!(
                "{of}: {without_order} of {rows} rows have no order here, and {unreadable} more cannot be read, so nothing is \
                 matched\n\
                 Are merchant, environment and profile right? If so, run it again with --anyway"
            ),
            ExitCode::FAILURE,
        ),
        Ok(ImportOutcome::Busy) => (
            format!("another import of {} runs: run it again when that is done", request.merchant),
            ExitCode::FAILURE,
        ),
        Err(error) => (format!("{of}: {error}"), ExitCode::FAILURE),
    }
}

/// Before and after: an import that was broken off is known as well.
async fn keep(pool: &PgPool, request: &ImportRequest, done_by: &str, detail: &str) -> anyhow::Result<()> {
    let detail = detail.lines().next().unwrap_or_default();
    let action = Action {
        kind: ActionKind::ImportSettlement,
        subject: request.name.chars().take(200).collect(),
        merchant: Some(request.merchant.to_string()),
        reason: (request.consent == Consent::Anyway).then(|| "--anyway".to_owned()),
        done_by: Some(done_by.to_owned()),
        detail: Some(detail.to_owned()),
    };
    Ok(postgres::record_action(pool, &action).await?)
}
