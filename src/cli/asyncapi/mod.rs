//! `asyncapi`: prints the contract as an AsyncAPI 3.0 document, made from the types that are written and the
//! rules that are judged by. It connects to nothing and reads no configuration.

mod channels;
mod command;
mod document;
mod examples;
mod messages;
#[cfg(test)]
mod tests;
mod yaml;

use super::print;
use crate::rabbit::TopologyNames;
use std::process::ExitCode;

pub use document::document;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON instead of YAML.
    #[arg(long)]
    json: bool,
    /// `amqp.prefix`: the first word of every exchange and queue.
    #[arg(long, default_value = "jenius", value_parser = TopologyNames::new)]
    prefix: TopologyNames,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let document = document(&args.prefix);
    let text = if args.json { format!("{document:#}") } else { yaml::write(&document) };
    print::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
