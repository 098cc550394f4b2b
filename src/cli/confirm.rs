//! Asks a person before something is done that cannot be undone.

use super::{UsageError, print};
use std::io::{self, BufRead, IsTerminal, Read};

/// An answer is shorter.
const ANSWER_BYTES_MAX: u64 = 64;

/// Asks a person on the terminal. A program has no terminal: it must pass `--yes`.
///
/// # Errors
/// Standard input is no terminal, and `yes` is not given.
pub async fn is_confirmed(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let help = "nothing was done: pass --yes to do it, or --dry-run to see what it would do";
        return Err(UsageError(help.to_owned()).into());
    }
    print::complain(&format!("{question} [y/N]"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer).map(|_| answer)
    });
    Ok(matches!(answer.await??.trim(), "y" | "yes"))
}
