//! Standard output. Whoever reads it may leave (`| head -1`): that ends a command quietly, and is no
//! panic, as it would be with `println!`.

use std::io::{self, Write};

/// Why nothing more can be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The reader has left. Nobody is told: there is nobody to tell.
    #[error("nobody reads any more")]
    Closed,
    #[error("standard output cannot be written: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

/// Prints a line, at once.
///
/// # Errors
/// The reader has left, or standard output cannot be written.
pub fn line(text: &str) -> Result<(), PrintError> {
    write_line(&mut io::stdout().lock(), text)
}

/// Tells a person on standard error; where that is closed too, nothing can be said.
pub fn complain(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), text);
}

fn write_line(to: &mut impl Write, text: &str) -> Result<(), PrintError> {
    writeln!(to, "{text}")?;
    Ok(to.flush()?)
}

/// Text of others for a terminal: control characters would drive it.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
