//! The service as a process of its own, for stories that kill it.

use super::{World, eventually, free_port, get};
use jenius_pay::failpoint::Failpoint;
use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

pub const BINARY: &str = env!("CARGO_BIN_EXE_jenius-pay");

/// What was printed, without its line breaks: a person's terminal has 80 columns.
pub fn one_line(printed: &[u8]) -> String {
    String::from_utf8_lossy(printed).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One command of the program, to its end.
pub async fn run(world: &World, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .envs(&world.settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

pub struct Service {
    child: Child,
    log: PathBuf,
    pub admin: String,
}

impl Service {
    /// `jenius-pay run` in this world, ready.
    pub async fn start(world: &World) -> Self {
        Self::start_role(world, &[]).await
    }

    /// The same with `--role`s.
    pub async fn start_role(world: &World, arguments: &[&str]) -> Self {
        Self::spawn(world, arguments, &[]).ready().await
    }

    /// The same with more variables.
    pub async fn start_with(world: &World, extra: &[(&str, &str)]) -> Self {
        Self::spawn(world, &[], extra).ready().await
    }

    /// The same, its log going elsewhere.
    pub async fn start_logging(world: &World, extra: &[(&str, &str)], stderr: Stdio) -> Self {
        Self::spawn_to(world, &[], extra, stderr).ready().await
    }

    async fn ready(self) -> Self {
        self.is_ready().await;
        self
    }

    pub async fn is_ready(&self) {
        let ready = async || {
            let (status, _) = get(format!("http://{}/readyz", self.admin)).await.ok()?;
            (status == 200).then_some(())
        };
        eventually("the service to be ready", ready).await;
    }

    pub fn start_unready(world: &World, extra: &[(&str, &str)]) -> Self {
        Self::spawn(world, &[], extra)
    }

    pub fn start_unready_role(world: &World, role: &str) -> Self {
        Self::spawn(world, &["--role", role], &[])
    }

    /// In the limits that a shell sets first, `ulimit -n 1024` for example; ready.
    pub async fn start_limited(world: &World, limits: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), BINARY]);
        Self::logged(shell, world, &[], &[]).ready().await
    }

    /// The program of another version, if one is named.
    pub fn start_other(world: &World, extra: &[(&str, &str)]) -> Self {
        let other = std::env::var("JENIUS_OTHER_PROGRAM");
        Self::logged(Command::new(other.as_deref().unwrap_or(BINARY)), world, &[], extra)
    }

    /// Killed at a crash point by the `nth` who reaches it, and whoever comes after.
    pub fn start_to_die(world: &World, point: Failpoint, nth: usize) -> Self {
        Self::spawn(world, &[], &[("JENIUS_CRASH_AT", &format!("{}:{nth}", point.name()))])
    }

    /// Waits until it was killed at its crash point, and says how many were held there.
    pub async fn died(&mut self) -> usize {
        let status = self.ended(super::PATIENCE * 2).await;
        assert_eq!(status.signal(), Some(9), "it was to be killed: {status}\n{}", self.log());
        let log = self.log();
        let held = log.lines().find_map(|line| line.strip_prefix("JENIUS_CRASH_AT: "));
        held.and_then(|held| held.rsplit(' ').next()?.parse().ok()).unwrap()
    }

    fn spawn(world: &World, arguments: &[&str], extra: &[(&str, &str)]) -> Self {
        Self::logged(Command::new(BINARY), world, arguments, extra)
    }

    /// Its log goes to a file of its own.
    fn logged(command: Command, world: &World, arguments: &[&str], extra: &[(&str, &str)]) -> Self {
        let log = std::env::temp_dir().join(format!("jenius-pay-{}.log", uuid::Uuid::new_v4()));
        let file = std::fs::File::create(&log).unwrap();
        let mut service = Self::spawn_by(command, world, arguments, extra, file.into());
        service.log = log;
        service
    }

    fn spawn_to(world: &World, arguments: &[&str], extra: &[(&str, &str)], stderr: Stdio) -> Self {
        Self::spawn_by(Command::new(BINARY), world, arguments, extra, stderr)
    }

    fn spawn_by(
        mut command: Command,
        world: &World,
        arguments: &[&str],
        extra: &[(&str, &str)],
        stderr: Stdio,
    ) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let child = command
            .arg("run")
            .args(arguments)
            .env_clear()
            .envs(&world.settings)
            .env("JENIUS_PAY__ADMIN__LISTEN", &admin)
            .envs(extra.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, log: PathBuf::new(), admin }
    }

    /// The reading end of its log, where that is a pipe.
    pub fn stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// What operators are shown.
    pub async fn page(&self, name: &str) -> String {
        get(format!("http://{}/{name}", self.admin)).await.unwrap().1
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// As the kernel does it: nothing is finished, nothing is said.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let end = tokio::time::Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < end, "still running after {within:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        for canary in ["SK-canary", "Astari", "081288910205"] {
            assert!(std::thread::panicking() || !log.contains(canary), "{canary} in the log");
        }
        if std::thread::panicking() {
            eprintln!("--- the service's log\n{log}");
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

impl Service {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}
