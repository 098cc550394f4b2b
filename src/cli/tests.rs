//! What every subcommand does with its arguments and its exit code.

use super::*;
use crate::config::{Config, RequiredSections};
use clap::{CommandFactory, error::ErrorKind};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn what_makes_no_sense_is_refused_as_usage() {
    for (line, kind) in [
        ("jenius-pay", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("jenius-pay pay", ErrorKind::InvalidSubcommand),
        ("jenius-pay run --role boss", ErrorKind::InvalidValue),
        ("jenius-pay send payment", ErrorKind::MissingRequiredArgument),
        ("jenius-pay send gift -", ErrorKind::InvalidValue),
        ("jenius-pay send payment - --id ä", ErrorKind::ValueValidation),
        ("jenius-pay send payment - --merchant A-B", ErrorKind::ValueValidation),
        ("jenius-pay asyncapi --prefix ä", ErrorKind::ValueValidation),
        ("jenius-pay bench everything", ErrorKind::InvalidValue),
        ("jenius-pay bench drain --commands 1", ErrorKind::ValueValidation),
        ("jenius-pay bench latency --rates 100,0", ErrorKind::ValueValidation),
        ("jenius-pay dead", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("jenius-pay dead list --limit 0", ErrorKind::ValueValidation),
        ("jenius-pay dead list --queue payments", ErrorKind::InvalidValue),
        ("jenius-pay dead show", ErrorKind::MissingRequiredArgument),
        ("jenius-pay dead show a --raw --json", ErrorKind::ArgumentConflict),
        ("jenius-pay dead replay --all --cause malformed", ErrorKind::ArgumentConflict),
        ("jenius-pay dead replay --all --per-second 0", ErrorKind::ValueValidation),
        ("jenius-pay dead drop --all", ErrorKind::MissingRequiredArgument),
        ("jenius-pay dead drop --all --reason ", ErrorKind::ValueValidation),
        ("jenius-pay orders", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("jenius-pay orders list --state payed", ErrorKind::InvalidValue),
        ("jenius-pay orders list --limit 0", ErrorKind::ValueValidation),
        ("jenius-pay orders list --older-than soon", ErrorKind::ValueValidation),
        ("jenius-pay orders list --csv --json", ErrorKind::ArgumentConflict),
        ("jenius-pay pause --merchant A-B", ErrorKind::ValueValidation),
        ("jenius-pay events replay", ErrorKind::MissingRequiredArgument),
        ("jenius-pay events replay --since yesterday", ErrorKind::ValueValidation),
        ("jenius-pay events replay --invoice I --since 2026-01-01T00:00:00Z", ErrorKind::ArgumentConflict),
        ("jenius-pay events replay --invoice I --until 2026-01-01T00:00:00Z", ErrorKind::ArgumentConflict),
        (
            "jenius-pay events replay --since 2026-01-01T00:00:00Z --merchant shop",
            ErrorKind::ArgumentConflict,
        ),
        ("jenius-pay orders list --search ä", ErrorKind::ValueValidation),
        ("jenius-pay orders list --page 0", ErrorKind::ValueValidation),
        (
            "jenius-pay orders resolve INV-1 --state paid --reason x --yes --dry-run",
            ErrorKind::ArgumentConflict,
        ),
        ("jenius-pay audit --since yesterday", ErrorKind::ValueValidation),
        ("jenius-pay audit --csv --json", ErrorKind::ArgumentConflict),
        ("jenius-pay dead list --each --json", ErrorKind::ArgumentConflict),
        ("jenius-pay doctor --all --json", ErrorKind::ArgumentConflict),
        ("jenius-pay asyncapi --schemas x --json", ErrorKind::ArgumentConflict),
        ("jenius-pay completions basic", ErrorKind::InvalidValue),
        ("jenius-pay man", ErrorKind::MissingRequiredArgument),
        ("jenius-pay orders show ..", ErrorKind::ValueValidation),
        ("jenius-pay orders check", ErrorKind::MissingRequiredArgument),
        ("jenius-pay orders resolve INV-1 --state paid", ErrorKind::MissingRequiredArgument),
        ("jenius-pay orders resolve INV-1 --state paid --reason ", ErrorKind::ValueValidation),
        ("jenius-pay orders resolve INV-1 --reason x", ErrorKind::MissingRequiredArgument),
        ("jenius-pay orders resolve INV-1 --state expired --reason x", ErrorKind::InvalidValue),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
    }
}

#[test]
fn every_command_of_the_contract_is_understood() {
    for line in [
        "jenius-pay run",
        "jenius-pay --config pay.toml run --role worker --role follow-up --role reconciler",
        "jenius-pay run --role relay --role ingress --config pay.toml",
        "jenius-pay migrate",
        "jenius-pay send payment - --id c-1 --merchant shop --wait",
        "jenius-pay send refund refund.json",
        "jenius-pay watch --json",
        "jenius-pay orders list --state awaiting_payment --limit 5 --json",
        "jenius-pay orders show INV-1 --merchant shop --json",
        "jenius-pay orders list --merchant shop --older-than 15m --younger-than 2h --min-amount 1 --max-amount 9 --csv",
        "jenius-pay pause --merchant shop --reason x",
        "jenius-pay resume",
        "jenius-pay events replay --invoice INV-1 --merchant shop --type order.paid",
        "jenius-pay events replay --since 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00+07:00 --type order.paid",
        "jenius-pay audit --limit 5 --json",
        "jenius-pay orders check INV-1 --merchant shop",
        "jenius-pay orders resolve INV-1 --state refunded --reason x --merchant shop --i-checked-doku",
        "jenius-pay dead list --json --cause malformed --queue dead --type payment.request --limit 5",
        "jenius-pay dead show 0123456789ab --json",
        "jenius-pay dead show 0123456789ab --raw",
        "jenius-pay dead replay 0123456789ab 0123456789ab-2 --again --yes --reason x --per-second 5",
        "jenius-pay dead replay --type refund.request --dry-run --json",
        "jenius-pay dead drop --all --reason x --yes --json",
        "jenius-pay doctor",
        "jenius-pay doctor --json",
        "jenius-pay sandbox",
        "jenius-pay sandbox --fast",
        "jenius-pay asyncapi",
        "jenius-pay asyncapi --json --prefix shop",
        "jenius-pay bench",
        "jenius-pay bench floor drain --commands 1000 --json bench.json",
        "jenius-pay bench latency --rates 100,1000 --seconds 5 --svg latency.svg --json",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn usage_and_configuration_end_with_2_and_everything_else_with_1() {
    let faults = Config::load(&nothing(), RequiredSections::EVERYTHING).unwrap_err();
    assert_eq!(code_of(&faults.into()), 2);
    assert_eq!(code_of(&UsageError("x".to_owned()).into()), 2);
    assert_eq!(code_of(&anyhow::anyhow!("the broker is away")), 1);
    let context = anyhow::Error::from(UsageError("x".to_owned())).context("while reading");
    assert_eq!(code_of(&context), 2, "context does not hide what it was");
}

#[test]
fn a_reader_that_left_is_no_failure() {
    let closed = exit_code(Err(PrintError::Closed.into()));
    assert_eq!(format!("{closed:?}"), format!("{:?}", ExitCode::SUCCESS));
}

fn nothing() -> Source<'static> {
    let nothing: [(String, String); 0] = [];
    Source::new(None, nothing, |_| Err(std::io::ErrorKind::NotFound.into()))
}

#[test]
fn a_server_that_is_away_is_named_with_who_says_more() {
    let broker = || BrokerError::Failed { doing: "connecting", cause: "refused".to_owned() };
    let away = || StoreError::Away("refused".to_owned());
    let hint = "\n`jenius-pay doctor` says what to do";
    for (error, expected) in [
        (anyhow::anyhow!("x"), "error: x".to_owned()),
        (StoreError::Refused("x".to_owned()).into(), "error: the database refused: x".to_owned()),
        (away().into(), format!("error: the database is away: refused{hint}")),
        (broker().into(), format!("error: the broker: connecting: refused{hint}")),
        (
            anyhow::Error::new(broker()).context("nothing was done"),
            format!("error: nothing was done: connecting: refused{hint}"),
        ),
    ] {
        assert_eq!(in_words(&error), expected);
    }
}

/// Every command, with those that it has itself.
fn commands(command: clap::Command, name: &str, all: &mut Vec<(String, clap::Command)>) {
    for below in command.get_subcommands() {
        commands(below.clone(), &format!("{name} {}", below.get_name()), all);
    }
    all.push((name.to_owned(), command));
}

/// A usage line is what is typed: it has no place to break.
#[test]
fn the_help_of_every_command_fits_eighty_columns() {
    let mut all = Vec::new();
    commands(Cli::command(), "jenius-pay", &mut all);
    assert!(all.len() > 25, "{}", all.len());
    for (name, command) in all {
        let help = command.max_term_width(80).term_width(80).render_long_help().to_string();
        for line in help.lines().filter(|line| !line.starts_with("Usage:") && !line.contains("<")) {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn the_version_says_what_it_was_built_from_and_with() {
    let said = Cli::command().render_version();
    let version = env!("CARGO_PKG_VERSION");
    assert!(said.starts_with(&format!("jenius-pay {version} (revision ")), "{said}");
    assert!(
        said.trim_end().ends_with("features: otel)") || said.trim_end().ends_with("features: none)"),
        "{said}"
    );
}
