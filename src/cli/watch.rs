//! `watch`: prints events as they are published, until it is stopped.

use super::{
    event_line, print,
    times::{self, Times},
};
use crate::{
    app::parts::broker_of,
    config::{Amqp, Source},
    rabbit::Watch,
};
use bytes::Bytes;
use std::process::ExitCode;
use tokio::sync::mpsc;

/// Events that wait here while a terminal is slow; more wait at the broker.
const EVENTS_WAITING_MAX: usize = 256;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one CloudEvent a line.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let amqp = Amqp::load(source)?;
    let times = times::from_source(source)?;
    let mut events = subscribe(&amqp).await?;
    loop {
        let body = tokio::select! {
            body = events.recv() => body,
            stopped = tokio::signal::ctrl_c() => return stopped.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        };
        match body {
            Some(body) => show(&body, times, args.json)?,
            None => anyhow::bail!("the broker is away; watch again once it is back"),
        }
    }
}

fn show(body: &[u8], times: Times, json: bool) -> anyhow::Result<()> {
    let line = if json {
        event_line::for_programs(body)
    } else {
        serde_json::from_slice(body).map(|event| event_line::for_people(&event, times))
    };
    match line {
        Ok(line) => print::line(&line)?,
        // Others may publish to the exchange too; what is no JSON is no event of ours.
        Err(e) => print::complain(&format!("skipped a message that is not an event: {e}")),
    }
    Ok(())
}

/// The bodies of all events from now on; the channel ends where the connection does. Who gets it is
/// subscribed already: an event published afterwards is in it.
pub(super) async fn subscribe(amqp: &Amqp) -> anyhow::Result<mpsc::Receiver<Bytes>> {
    let mut watch = Watch::start(&broker_of(amqp)?, &[]).await?;
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    tokio::spawn(async move {
        while let Ok(body) = watch.next().await {
            if sender.send(body).await.is_err() {
                break;
            }
        }
        watch.close().await;
    });
    Ok(events)
}
