//! `asyncapi`: prints the contract as an AsyncAPI 3.0 document, made from the types that are written and the
//! rules that are judged by. It connects to nothing and reads no configuration.

mod channels;
mod command;
mod document;
mod examples;
mod messages;
mod schemas;
#[cfg(test)]
mod tests;
mod yaml;

use super::print;
use crate::rabbit::TopologyNames;
use anyhow::Context;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub use document::document;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON instead of YAML.
    #[arg(long)]
    json: bool,
    /// Write the JSON Schema of each message to a file of its own in this directory, and print no document.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["json", "prefix"])]
    schemas: Option<PathBuf>,
    /// The first word of every exchange and queue (`amqp.prefix`).
    #[arg(long, default_value = "jenius", value_parser = TopologyNames::new)]
    prefix: TopologyNames,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.schemas {
        return write_schemas(folder);
    }
    let document = document(&args.prefix);
    let text = if args.json { format!("{document:#}") } else { yaml::write(&document)? };
    print::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn write_schemas(folder: &Path) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the directory {}", folder.display()))?;
    for name in schemas::messages() {
        let path = folder.join(format!("{name}.json"));
        let text = format!("{:#}\n", schemas::alone(&name));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        print::line(&path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
