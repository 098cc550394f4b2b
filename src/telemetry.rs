//! Traces, in `span`, and logs: to standard error, as text for a person at a terminal, as JSON for programs. Never a body, a key
//! or a customer: who logs names the order and what is known about it.

#[cfg(feature = "otel")]
mod export;
mod lines;
pub mod span;

#[cfg(feature = "otel")]
pub use export::{flush, start as start_traces};
pub use lines::{flush as flush_log, write_line};

use crate::shown::may_colour;
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};
use tracing_subscriber::EnvFilter;

/// lapin writes whole returned messages at WARN and an error for every link that ends; our own links say
/// what there is to say. sqlx writes every notice of the database at INFO.
const FILTER_DEFAULT: &str = "info,lapin=off,sqlx=warn";
/// A person who runs a command reads what it prints.
const FILTER_OF_COMMANDS: &str = "warn,lapin=off";
/// lapin's line of a returned message has all of it, a customer's data, and is written at WARN. In two parts: only the name of
/// a log's target, no use of the crate.
const FILTER_ALWAYS: &str = concat!("lapin", "::returned_messages=off");
const FILTER_VARIABLE: &str = "RUST_LOG";
const FORMAT_VARIABLE: &str = "JENIUS_PAY_LOG";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging as the environment says; without it a service logs more than a command does. Once in a process: later calls change nothing.
///
/// # Errors
/// `RUST_LOG` or `JENIUS_PAY_LOG` says something that is not allowed, or there is no thread.
pub fn install(is_service: bool) -> Result<(), LogError> {
    let terminal = io::stderr().is_terminal();
    let format = format(std::env::var_os(FORMAT_VARIABLE), terminal)?;
    let default = if is_service { FILTER_DEFAULT } else { FILTER_OF_COMMANDS };
    let filter = filter(std::env::var_os(FILTER_VARIABLE), default)?;
    let lines = lines::install()?.clone();
    // It would report a failed write by `eprintln`, which panics in whatever task logs.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter);
    let builder = builder.with_writer(lines);
    let installed = match format {
        Format::Text => builder.with_ansi(may_colour(terminal)).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("logging was installed before");
    }
    Ok(())
}

fn format(wanted: Option<OsString>, terminal: bool) -> Result<Format, LogError> {
    let wanted = wanted.unwrap_or_default();
    match wanted.to_str() {
        Some("") if terminal => Ok(Format::Text),
        Some("") | Some("json") => Ok(Format::Json),
        Some("text") => Ok(Format::Text),
        Some(_) | None => Err(LogError::Setting {
            variable: FORMAT_VARIABLE,
            problem: "no such format; allowed: text, json".to_owned(),
        }),
    }
}

fn filter(wanted: Option<OsString>, default: &str) -> Result<EnvFilter, LogError> {
    let problem = |problem: String| LogError::Setting { variable: FILTER_VARIABLE, problem };
    let wanted = wanted.unwrap_or_default();
    let directives = match wanted.to_str() {
        Some("") => default,
        Some(directives) => directives,
        None => return Err(problem("not UTF-8; allowed: directives as info,lapin=error".to_owned())),
    };
    EnvFilter::try_new(format!("{directives},{FILTER_ALWAYS}"))
        .map_err(|e| problem(format!("not a filter ({e}); allowed: directives as info,lapin=error")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_nobody_knows_is_refused() {
        let refused = format(Some("yaml".into()), true).unwrap_err().to_string();
        assert_eq!(refused, "JENIUS_PAY_LOG: no such format; allowed: text, json");
        let refused = filter(Some("lapin=loud".into()), FILTER_DEFAULT).unwrap_err().to_string();
        assert!(refused.starts_with("RUST_LOG: not a filter"), "{refused}");
    }

    #[test]
    fn people_read_text_and_programs_json_unless_told_otherwise() {
        for (wanted, terminal, expected) in [
            (None, true, Format::Text),
            (None, false, Format::Json),
            (Some(""), false, Format::Json),
            (Some("text"), false, Format::Text),
            (Some("json"), true, Format::Json),
        ] {
            let read = format(wanted.map(OsString::from), terminal).unwrap();
            assert_eq!(read, expected, "{wanted:?} {terminal}");
        }
    }

    #[test]
    fn lapin_and_sqlx_are_quiet_unless_asked() {
        let default = filter(None, FILTER_DEFAULT).unwrap().to_string();
        assert!(default.contains("lapin=off") && default.contains("sqlx=warn"), "{default}");
        let asked = filter(Some("debug".into()), FILTER_OF_COMMANDS).unwrap().to_string();
        assert_eq!(asked, format!("{FILTER_ALWAYS},debug"));
    }

    #[test]
    fn installing_twice_is_no_error() {
        assert!(install(true).is_ok() && install(false).is_ok());
    }
}
