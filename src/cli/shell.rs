//! `completions` and `man`: what a shell and `man` know of the commands, made from their definitions.

use super::{Cli, print};
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell that reads them.
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct Man {
    /// The directory that the pages are written to.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// For `source <(jenius-pay completions bash)`, for example.
pub fn completions(args: &Completions) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// A page for the program and one for each command.
pub fn man(args: &Man) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the directory {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    print::line(&format!("the pages are in {}: man -l {}/jenius-pay.1", folder.display(), folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
