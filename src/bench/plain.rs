//! The plain worker, beside which the service is measured: a process of its own, on a stage of its own.

use super::{Settings, processes::Process, setup::BenchSetup};
use anyhow::bail;
use doku_sandbox::{EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY};
use std::{
    io::BufReader,
    path::Path,
    process::{ChildStdout, Command},
};

pub struct Plain {
    pub process: Process,
    output: Option<BufReader<ChildStdout>>,
}

impl Plain {
    pub fn start(
        setup: &BenchSetup<'_>,
        program: &Path,
        commands: u64,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command
            .args([setup.name("payments"), setup.name("events"), commands.to_string()])
            .args([settings.prefetch.to_string(), settings.max_connections.to_string()])
            .env("DATABASE_URL", setup.database_url.as_str())
            .env("AMQP_URL", &setup.bench.servers.amqp)
            .env("DOKU_BASE_URL", setup.doku_url())
            .env("DOKU_CLIENT_ID", EXAMPLE_CLIENT_ID)
            .env("DOKU_SECRET_KEY", EXAMPLE_SECRET_KEY);
        let mut process = Process::spawn(&mut command, "the plain worker")?;
        let output = Some(process.output()?);
        Ok(Self { process, output })
    }

    /// Waits until it says so: `first` when one command is done, `last` when all are.
    pub async fn wait_for_word(&mut self, word: &str) -> anyhow::Result<()> {
        let Some(output) = self.output.take() else { bail!("the plain worker has no output left") };
        let (line, output) = self.process.line(output).await?;
        self.output = Some(output);
        if line != word {
            bail!("the plain worker printed {line:?}, not {word:?}");
        }
        Ok(())
    }
}
