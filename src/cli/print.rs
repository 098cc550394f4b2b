//! Standard output. Its reader may leave (`| head -1`): that ends a command quietly, and is no
//! panic, as it would be with `println!`.

pub use crate::shown::clean;

use crate::shown::{clean_json, clean_lines};
use std::io::{self, IsTerminal, Write};

/// Why nothing more can be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The reader has left: there is no one to report it to.
    #[error("standard output was closed by its reader")]
    Closed,
    #[error("standard output cannot be written: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

/// Prints a line or several, at once. What could drive a terminal is replaced, ours or not.
///
/// # Errors
/// The reader has left, or standard output cannot be written.
pub fn line(text: &str) -> Result<(), PrintError> {
    write_line(&mut io::stdout().lock(), &clean_lines(text))
}

/// Tells a person on standard error; if that is closed too, nothing can be shown.
pub fn complain(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), &clean_lines(text));
}

/// JSON for programs, which a terminal may be shown too: what could drive it is escaped.
///
/// # Errors
/// The value is none that JSON has.
pub fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    Ok(clean_json(&serde_json::to_string_pretty(value)?))
}

/// Prints exact bytes; to a terminal, what could drive it is replaced.
///
/// # Errors
/// As of `line`.
pub fn bytes(bytes: &[u8]) -> Result<(), PrintError> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        let text = clean_lines(&String::from_utf8_lossy(bytes));
        write_line(&mut out, &text)?;
        complain("the body is shown as a terminal can; written to a file it keeps its exact bytes");
        return Ok(());
    }
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn write_line(to: &mut impl Write, text: &str) -> Result<(), PrintError> {
    writeln!(to, "{text}")?;
    Ok(to.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(io::ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_told_from_a_disk_that_is_full() {
        let closed = write_line(&mut Gone(io::ErrorKind::BrokenPipe), "x");
        assert!(matches!(closed, Err(PrintError::Closed)));
        let full = write_line(&mut Gone(io::ErrorKind::StorageFull), "x");
        assert!(matches!(full, Err(PrintError::Failed(_))));
    }
}
