//! `jenius-pay sandbox`: DOKU's side, for trying and testing. It reads no configuration file and connects to
//! nothing but the notification URL it is given.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use doku_sandbox::{
    EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY, Merchant, NotifyForm, RETRY_SCALE_MAX, Sandbox, SandboxConfig,
    snap::SnapSignature,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Where notifications go, unless a payment overrides it
    #[arg(long, value_name = "URL")]
    notify: Option<String>,
    /// A merchant's Client-Id; give one --secret-key for each [default: an example]
    #[arg(long, value_name = "ID", env = "DOKU_CLIENT_ID")]
    client_id: Vec<String>,
    /// The key of that merchant, best by the environment [default: an example]
    #[arg(long, value_name = "KEY", env = "DOKU_SECRET_KEY", hide_env_values = true)]
    secret_key: Vec<String>,
    /// From the payment request to the customer's payment
    #[arg(long, value_name = "MS", default_value_t = SandboxConfig::default().pay_after_ms)]
    pay_after_ms: u64,
    /// Multiplies the 30 minutes, 6 hours and 12 hours after which a notification is tried again
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    retry_scale: f64,
    /// How long a request hangs if its order asks for that
    #[arg(long, value_name = "MS", default_value_t = SandboxConfig::default().hang_ms)]
    hang_ms: u64,
    /// The share of requests that get a random fault
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = share)]
    fault_rate: f64,
    /// Chooses the random faults; the same seed chooses the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Notify in the SNAP form, unless an order asks for the other
    #[arg(long)]
    snap: bool,
    /// DOKU's RSA key (PEM, PKCS#8): with it a token is fetched before each SNAP notification
    #[arg(long, value_name = "FILE")]
    snap_key: Option<std::path::PathBuf>,
    /// For load: payments only, verified and counted, and nothing else remembered
    #[arg(long)]
    fast: bool,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Keys that do not pair with Client-Ids (a [`clap::Error`]: usage), or an address or URL that cannot be used.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let example = args.client_id.is_empty() && args.secret_key.is_empty();
    let merchants = merchants(&args.client_id, &args.secret_key)?;
    let client_ids =
        merchants.iter().map(|merchant| merchant.client_id.clone()).collect::<Vec<_>>().join(", ");
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let notify = args.notify.clone().unwrap_or_else(|| "only if a payment says so (--notify URL)".into());
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("--snap-key {}", path.display()))
    };
    let snap_private_key = args.snap_key.as_ref().map(read).transpose()?;
    let sandbox = Sandbox::start(SandboxConfig {
        listen: args.listen,
        merchants,
        notify_url: args.notify,
        pay_after_ms: args.pay_after_ms,
        retry_scale: args.retry_scale,
        hang_ms: args.hang_ms,
        fault_rate: args.fault_rate,
        seed: args.seed,
        fast: args.fast,
        notify_form: if args.snap { NotifyForm::Snap(SnapSignature::Hmac) } else { NotifyForm::Jenius },
        snap_private_key,
        ..SandboxConfig::default()
    })
    .await
    .with_context(|| format!("the sandbox cannot start on {}", args.listen))?;

    let base_url = sandbox.base_url();
    let mut text = format!("base URL       {base_url}\nclient id      {client_ids}\n");
    if example {
        text.push_str(&format!("secret key     {EXAMPLE_SECRET_KEY} (an example)\n"));
    }
    text.push_str(&format!(
        "notifications  {notify}\nledger         {base_url}/ledger\nsettlement     {base_url}/settlement\nfault words    \
         {base_url}/help\n"
    ));
    say(&text);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let counts = sandbox.counts();
    let ledger = sandbox.stop().await;
    say(&if args.fast {
        format!("{} requests, {} charges\n", counts.requests, counts.charges)
    } else {
        let (requests, charges, refunds) =
            (ledger.requests.len(), ledger.charges.len(), ledger.refunds.len());
        format!("{requests} requests, {charges} charges, {refunds} refunds\n")
    });
    Ok(())
}

/// A reader that has gone away does not stop the server.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn merchants(client_ids: &[String], secret_keys: &[String]) -> Result<Vec<Merchant>, clap::Error> {
    if client_ids.is_empty() && secret_keys.is_empty() {
        return Ok(vec![Merchant::new(EXAMPLE_CLIENT_ID, EXAMPLE_SECRET_KEY)]);
    }
    let given = client_ids.iter().chain(secret_keys).all(|text| !text.is_empty());
    if client_ids.len() != secret_keys.len() || !given {
        let message = "give one --secret-key (or DOKU_SECRET_KEY) for each --client-id (or DOKU_CLIENT_ID)\n";
        return Err(clap::Error::raw(clap::error::ErrorKind::WrongNumberOfValues, message));
    }
    Ok(client_ids.iter().zip(secret_keys).map(|(id, key)| Merchant::new(id, key)).collect())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a number from 0 to 1".into())
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (0.0..=RETRY_SCALE_MAX).contains(factor));
    factor.ok_or_else(|| format!("a number from 0 to {RETRY_SCALE_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_client_id_is_refused() {
        assert!(merchants(&["MCH-1".into()], &[]).is_err());
        assert!(merchants(&[], &["SK-1".into()]).is_err());
        assert!(merchants(&["MCH-1".into()], &["".into()]).is_err());
        assert_eq!(merchants(&[], &[]).unwrap()[0].client_id, EXAMPLE_CLIENT_ID);
        assert_eq!(merchants(&["A".into(), "B".into()], &["1".into(), "2".into()]).unwrap().len(), 2);
    }
}
