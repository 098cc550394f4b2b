//! `send`: publishes a command as an upstream service would, and waits for what becomes of it.

use super::{
    UsageError, event_line, print, times,
    wait::{Awaited, EventMeaning},
    watch,
};
use crate::{
    app::parts::broker_of,
    config::{Amqp, Source},
    domain::{
        command::CommandKind,
        ids::{CommandId, MerchantName},
    },
    rabbit::{Message, Part, PublishAnswer, Publisher},
};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;

/// A larger message would be dead-lettered.
const DATA_MAX: u64 = 256 * 1024;
/// The `source` of what is sent here.
const SOURCE: &str = "/jenius-pay/cli";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of command.
    kind: CommandArg,
    /// A file with the `data` object alone, in JSON; `-`: standard input.
    file: PathBuf,
    /// The command's id; the same id again is the same command. Without it: a new id.
    #[arg(long, value_parser = |id: &str| CommandId::parse(id))]
    id: Option<CommandId>,
    /// The merchant account that acts; without it: `default`.
    #[arg(long, value_name = "NAME", value_parser = |name: &str| MerchantName::parse(name))]
    merchant: Option<MerchantName>,
    /// Print the order's events until one is final; the exit code is 0 only if the order is paid or, for a refund, refunded.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum CommandArg {
    Payment,
    Refund,
}

impl CommandArg {
    pub(super) fn command(self) -> CommandKind {
        match self {
            Self::Payment => CommandKind::Payment,
            Self::Refund => CommandKind::Refund,
        }
    }
}

pub async fn run(args: Args, source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let amqp = Amqp::load(source)?;
    let data = read(&args.file).map_err(|e| UsageError(format!("{}: {e}", args.file.display())))?;
    let (asked, body) = wrap(&args, &data)?;
    // Subscribed before the command is published, or its event could be missed.
    let events = if args.wait { Some(watch::subscribe(&amqp).await?) } else { None };
    publish(&amqp, asked.kind, asked.id.as_str(), body).await?;
    print::line(asked.id.as_str())?;
    let Some(mut events) = events else { return Ok(ExitCode::SUCCESS) };
    let times = times::from_source(source)?;
    while let Some(body) = events.recv().await {
        let Ok(event) = serde_json::from_slice(&body) else { continue };
        let seen = asked.judge(&event);
        if seen != EventMeaning::Other {
            print::line(&event_line::for_people(&event, times))?;
        }
        if let EventMeaning::Ends { done } = seen {
            return Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    anyhow::bail!("the broker is away; the command is published, watch for its events")
}

pub(super) fn read(file: &PathBuf) -> io::Result<Vec<u8>> {
    let input: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let mut data = Vec::new();
    input.take(DATA_MAX + 1).read_to_end(&mut data)?;
    if u64::try_from(data.len()).is_ok_and(|length| length <= DATA_MAX) {
        Ok(data)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {DATA_MAX} bytes")))
    }
}

/// The CloudEvent around `data`, whose bytes stay as they are: the service judges what is in it.
fn wrap(args: &Args, data: &[u8]) -> Result<(Awaited, Vec<u8>), UsageError> {
    let bad = |e: serde_json::Error| UsageError(format!("{}: not JSON: {e}", args.file.display()));
    let value: serde_json::Value = serde_json::from_slice(data).map_err(bad)?;
    if !value.is_object() {
        return Err(UsageError(format!("{}: allowed: the `data` object alone", args.file.display())));
    }
    let id = args.id.clone().map_or_else(new_id, Ok)?;
    let kind = args.kind.command();
    let envelope = CommandEnvelope {
        specversion: "1.0",
        id: id.as_str(),
        source: SOURCE,
        event_type: kind.event_type(),
        datacontenttype: "application/json",
        merchant: args.merchant.as_ref().map(MerchantName::as_str),
        data: serde_json::from_slice(data).map_err(bad)?,
    };
    let body = serde_json::to_vec(&envelope).map_err(bad)?;
    let invoice_number = value["order"]["invoice_number"].as_str().map(str::to_owned);
    let merchant = args.merchant.clone().unwrap_or_else(MerchantName::default_account);
    Ok((Awaited { kind, id, source: SOURCE, merchant, invoice_number }, body))
}

fn new_id() -> Result<CommandId, UsageError> {
    CommandId::parse(uuid::Uuid::now_v7().to_string()).map_err(|e| UsageError(e.to_string()))
}

#[derive(Serialize)]
struct CommandEnvelope<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    datacontenttype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<&'a str>,
    data: &'a RawValue,
}

/// Publishes a command to `<prefix>.commands` and waits for the publish confirm.
async fn publish(amqp: &Amqp, kind: CommandKind, id: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let broker = broker_of(amqp)?;
    let names = broker.names();
    let routing_key = kind.routing_key();
    let mut message =
        Message::cloud_event(&names.commands_exchange, routing_key, id, kind.event_type(), body.into())?;
    if let Some(user) = broker.user() {
        message = message.from_user(&user)?;
    }
    broker.declare(&[Part::Commands]).await?;
    let (publisher, task) = Publisher::new(&broker, "send", &[Part::Commands]);
    let stop = CancellationToken::new();
    let link = tokio::spawn(task.run(stop.clone()));
    let answer = publisher.publish_one(message).await;
    stop.cancel();
    link.await?;
    match answer {
        PublishAnswer::Confirmed => Ok(()),
        PublishAnswer::Returned | PublishAnswer::Refused => {
            anyhow::bail!("the broker did not take the command ({answer:?}); it is not published")
        }
        PublishAnswer::Unknown => anyhow::bail!(
            "the broker did not confirm the command; send it again with --id {id}: if it was published, it is \
             the same command"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(id: Option<&str>, merchant: Option<&str>) -> Args {
        Args {
            kind: CommandArg::Refund,
            file: PathBuf::from("refund.json"),
            id: id.map(|id| CommandId::parse(id).unwrap()),
            merchant: merchant.map(|name| MerchantName::parse(name).unwrap()),
            wait: false,
        }
    }

    #[test]
    fn data_that_is_no_object_is_refused_before_anything_is_published() {
        for (data, said) in
            [("", "not JSON"), ("{", "not JSON"), ("[]", "the `data` object alone"), ("1", "alone")]
        {
            let refused = wrap(&args(None, None), data.as_bytes()).unwrap_err().to_string();
            assert!(refused.starts_with("refund.json: ") && refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn data_is_wrapped_and_its_bytes_stay() {
        let data = r#"{ "order": {"invoice_number": "INV-1", "amount": "1",  "x": 1.50} }"#;
        let (asked, body) = wrap(&args(Some("c-1"), Some("shop")), data.as_bytes()).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(data), "{body}");
        let mut envelope: serde_json::Value = serde_json::from_str(&body).unwrap();
        envelope["data"].take();
        let expected = json!({"specversion": "1.0", "id": "c-1", "source": "/jenius-pay/cli", "data": null,
            "type": "jenius.refund.request.v1", "datacontenttype": "application/json", "merchant": "shop"});
        assert_eq!(envelope, expected);
        assert_eq!((asked.merchant.as_str(), asked.invoice_number.as_deref()), ("shop", Some("INV-1")));
    }

    #[test]
    fn without_an_id_each_command_is_a_new_one_of_the_default_merchant() {
        let wrapped = || wrap(&args(None, None), b"{}").unwrap();
        let ((first, body), (second, _)) = (wrapped(), wrapped());
        assert_ne!(first.id, second.id);
        assert_eq!(uuid::Uuid::parse_str(first.id.as_str()).unwrap().get_version_num(), 7);
        assert_eq!(first.merchant, MerchantName::default_account());
        assert!(!String::from_utf8(body).unwrap().contains("merchant"));
    }
}
