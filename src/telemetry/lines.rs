//! The log's way to standard error: a thread of its own writes it. The reader may leave, stop reading, or be a
//! disk that is full: then lines are dropped and counted, and nothing else waits or fails.

use crate::{metric, shown::clean_log_line};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait in memory; what is over is dropped.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// At the end of the process, for what waits.
const FLUSH_MAX: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 256 * 1024;

static LINES: OnceLock<Lines> = OnceLock::new();

/// Takes lines for the thread.
#[derive(Debug, Clone)]
pub struct Lines {
    entries: Sender<Entry>,
    waiting_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Everything before it is written or dropped.
    Flush(SyncSender<()>),
}

/// The one of the process; starts it.
///
/// # Errors
/// No thread can be started.
pub fn install() -> io::Result<&'static Lines> {
    if let Some(lines) = LINES.get() {
        return Ok(lines);
    }
    // A handle of our own: the standard one is locked for as long as a write takes.
    let lines = Lines::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))?;
    Ok(LINES.get_or_init(|| lines))
}

/// Writes a text after the lines that wait, if logging is installed. False: it is not.
pub fn write_line(text: &str) -> bool {
    let Some(lines) = LINES.get() else { return false };
    text.lines().for_each(|line| lines.send(line));
    lines.flush();
    true
}

/// Waits for what is not written yet, no longer than a second.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

impl Lines {
    fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (entries, received) = channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&waiting_bytes);
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || write_all(out, &received, &waiting))?;
        Ok(Self { entries, waiting_bytes })
    }

    fn send(&self, line: &str) {
        let line = clean_log_line(line);
        let length = line.len();
        let waiting = self.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        // The thread ends with the process only.
        if waiting + length > WAITING_BYTES_MAX || self.entries.send(Entry::Line(line)).is_err() {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            metric::log_line_dropped();
        }
    }

    fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.entries.send(Entry::Flush(done)).is_ok() {
            // What is not written by then never will be.
            let _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

fn write_all(mut out: impl Write, entries: &Receiver<Entry>, waiting_bytes: &AtomicUsize) {
    let mut is_cut = false;
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                let after_cut = if is_cut { "\n" } else { "" };
                match out.write_all(after_cut.as_bytes()).and_then(|()| out.write_all(line.as_bytes())) {
                    Ok(()) => is_cut = false,
                    Err(_) => {
                        is_cut = true;
                        metric::log_line_dropped();
                    }
                }
            }
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One line, written at once, as the formatter does.
pub struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.send(&String::from_utf8_lossy(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    /// Takes nothing while it is full.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(bool, String)>>);

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            if disk.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.1.push_str(std::str::from_utf8(text).unwrap());
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_its_lines_and_the_next_one_begins_anew() {
        let disk = Disk::default();
        let lines = Lines::start(disk.clone()).unwrap();
        for (full, line) in [(false, "one\n"), (true, "two\n"), (false, "three\u{202e}\n")] {
            disk.0.lock().unwrap().0 = full;
            lines.make_writer().write_all(line.as_bytes()).unwrap();
            lines.flush();
        }
        assert_eq!(disk.0.lock().unwrap().1, "one\n\nthree\\u202e\n");
    }

    struct Blocked(mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_keeps_nobody_waiting_and_memory_small() {
        let (_held, blocked) = mpsc::channel();
        let lines = Lines::start(Blocked(blocked)).unwrap();
        let line = "x".repeat(64 * 1024);
        for _ in 0..200 {
            lines.send(&line);
        }
        assert!(lines.waiting_bytes.load(Ordering::Relaxed) <= WAITING_BYTES_MAX);
        lines.flush();
    }
}
