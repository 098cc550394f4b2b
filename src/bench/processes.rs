//! Processes: children of ours, and what each process and its descendants cost. On a machine that others use too,
//! CPU time is the figure that keeps its meaning; it is read from `/proc`, so that it is there on Linux only.

use anyhow::{Context, bail};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// `/proc` counts in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);
const LOG_TAIL_BYTES: usize = 4096;

/// A child, killed when it is dropped. What it writes to standard error is kept in a file while it lives.
pub struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    pub fn spawn(command: &mut Command, name: &'static str) -> anyhow::Result<Self> {
        let log = std::env::temp_dir().join(format!("jenius-bench-{}.log", uuid::Uuid::new_v4().simple()));
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, name, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it prints; can be had once.
    pub fn output(&mut self) -> anyhow::Result<BufReader<ChildStdout>> {
        self.child.stdout.take().map(BufReader::new).context("its output is read already")
    }

    /// Waits for a line that it prints.
    pub async fn line(
        &self,
        mut output: BufReader<ChildStdout>,
    ) -> anyhow::Result<(String, BufReader<ChildStdout>)> {
        let (read, line, output) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            (output.read_line(&mut line), line, output)
        })
        .await?;
        if read? == 0 {
            bail!("{} has ended:\n{}", self.name, self.log_tail());
        }
        Ok((line.trim_end().to_owned(), output))
    }

    /// An error where it has ended by itself.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended, {status}:\n{}", self.name, self.log_tail()),
        }
    }

    /// How it has ended, if it has.
    pub fn poll_end(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn log_tail(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }

    pub fn memory(&self) -> Memory {
        Memory::from_pid(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    pub now_mib: f64,
    pub highest_mib: f64,
}

impl Memory {
    fn from_pid(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Self { now_mib: mib(&status, "VmRSS:"), highest_mib: mib(&status, "VmHWM:") }
    }
}

fn mib(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// A group that CPU time is counted for: a name, and the process that it counts with its descendants, unless they are
/// the root of another group.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<&'static str, u32>);

impl Groups {
    pub fn with(mut self, name: &'static str, root: u32) -> Self {
        self.0.insert(name, root);
        self
    }

    /// The CPU time of each group so far.
    pub fn cpu(&self) -> Cpu {
        let all = stats();
        let roots: HashSet<u32> = self.0.values().copied().collect();
        Cpu(self.0.iter().map(|(name, root)| (*name, of_tree(&all, *root, &roots))).collect())
    }
}

/// CPU time by group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cpu(BTreeMap<&'static str, Duration>);

impl Cpu {
    /// Milliseconds for each of `count`, spent since `earlier`.
    pub fn millis_each(&self, earlier: &Self, count: f64) -> BTreeMap<&'static str, f64> {
        let spent = |name| {
            let before = earlier.0.get(name).copied().unwrap_or_default();
            self.0.get(name).copied().unwrap_or_default().saturating_sub(before)
        };
        self.0.keys().map(|name| (*name, spent(name).as_secs_f64() * 1000.0 / count.max(1.0))).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Its own ticks, and those of children it has waited for.
    ticks: u32,
}

fn stats() -> HashMap<u32, Stat> {
    pids()
        .filter_map(|pid| Some((pid, parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The name of a program, the second field, may hold anything, blanks and brackets too.
fn parse_stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Stat { parent: number(1)?, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
}

/// A child's time is counted with its own ticks until it has ended and its parent has waited for it, then with the
/// parent's: never twice.
fn of_tree(all: &HashMap<u32, Stat>, root: u32, roots: &HashSet<u32>) -> Duration {
    let belongs = |pid: u32| {
        let mut at = pid;
        // A chain of parents is no longer than there are processes.
        for _ in 0..all.len() {
            if roots.contains(&at) {
                return at == root;
            }
            match all.get(&at) {
                Some(stat) => at = stat.parent,
                None => return false,
            }
        }
        false
    };
    let ticks: u32 = all.iter().filter(|(pid, _)| belongs(**pid)).map(|(_, stat)| stat.ticks).sum();
    TICK * ticks
}

/// The process that listens on a TCP port of this machine, if we may see it.
pub fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: HashSet<PathBuf> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let mut holders: Vec<u32> = pids().filter(|pid| holds(*pid, &sockets)).collect();
    // Children may have inherited it.
    holders.sort_unstable();
    holders.first().copied()
}

fn listening(table: &str, port: u16) -> Vec<PathBuf> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&suffix) && row[3] == LISTEN)
        .map(|row| PathBuf::from(format!("socket:[{}]", row[9])))
        .collect()
}

fn holds(pid: u32, sockets: &HashSet<PathBuf>) -> bool {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| sockets.contains(&target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a (b) 7 c) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 4 0 1 1 1";
        assert_eq!(parse_stat(line), Some(Stat { parent: 7, ticks: 350 }));
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn descendants_count_with_their_root_unless_they_are_a_root_themselves() {
        let stat = |parent, ticks| Stat { parent, ticks };
        let all = HashMap::from([
            (1, stat(0, 1000)),
            (10, stat(1, 5)),
            (11, stat(10, 7)),
            (12, stat(11, 9)),
            (20, stat(1, 100)),
        ]);
        let ticks =
            |root, roots: &[u32]| of_tree(&all, root, &roots.iter().copied().collect()).as_millis() / 10;
        assert_eq!(ticks(10, &[10]), 21);
        assert_eq!(
            (ticks(10, &[10, 12]), ticks(12, &[10, 12])),
            (12, 9),
            "a group of its own counts for itself"
        );
        assert_eq!(ticks(99, &[99]), 0);
    }

    #[test]
    fn cpu_time_is_told_for_each_command_since_the_first_reading() {
        let cpu = |ms| Cpu(BTreeMap::from([("worker", Duration::from_millis(ms))]));
        assert_eq!(cpu(1500).millis_each(&cpu(500), 2000.0), BTreeMap::from([("worker", 0.5)]));
    }

    #[test]
    fn only_listening_sockets_of_the_port_are_taken() {
        let table = "sl local rem st tx rx tr tm retrnsmt uid timeout inode\n\
            0: 0100007F:1538 00000000:0000 0A 0:0 0:0 0 0 0 777 1\n\
            1: 0100007F:1538 0100007F:9999 01 0:0 0:0 0 0 0 778 1\n\
            2: 0100007F:1539 00000000:0000 0A 0:0 0:0 0 0 0 779 1\n";
        assert_eq!(listening(table, 5432), [PathBuf::from("socket:[777]")]);
    }

    #[test]
    fn memory_is_read_in_mebibytes() {
        let status = "Name:\tx\nVmHWM:\t   65536 kB\nVmRSS:\t   32768 kB\n";
        assert_eq!((mib(status, "VmHWM:"), mib(status, "VmRSS:"), mib(status, "VmSwap:")), (64.0, 32.0, 0.0));
    }

    #[test]
    fn this_process_is_found_by_the_port_it_listens_on() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener(socket.local_addr().unwrap().port()), Some(std::process::id()));
    }
}
