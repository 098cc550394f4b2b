//! Servers of a story's own, to kill.

use std::{
    path::PathBuf,
    process::{Command, Output},
};
use uuid::Uuid;

pub struct Server {
    kind: &'static str,
    folder: PathBuf,
    pid: String,
    pub url: String,
}

fn script() -> String {
    std::env::var("JENIUS_TEST_SERVERS").expect("JENIUS_TEST_SERVERS is not set: run ./deploy/local/test")
}

impl Server {
    /// `rabbitmq` or `postgres`.
    pub async fn start(kind: &'static str) -> Self {
        let folder = std::env::temp_dir().join(format!("jenius-pay-{kind}-{}", Uuid::new_v4().simple()));
        let mut server = Self { kind, folder, pid: String::new(), url: String::new() };
        server.restart().await;
        server
    }

    /// Starts it again, on its port and with its data.
    pub async fn restart(&mut self) {
        let mut output = self.script("start").await;
        if !output.status.success() {
            // A broker on a machine that is busy with other tests: it is stopped and started once more.
            output = self.script("start").await;
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        self.pid = value("PID=").unwrap();
        self.url = value("AMQP_URL=").or_else(|| value("DATABASE_URL=")).unwrap();
    }

    pub fn kill(&self) {
        self.signal("-KILL");
    }

    /// To its main process. PostgreSQL takes `-QUIT` as its immediate mode.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid]).status().unwrap().success());
    }

    /// Stops it in order, and leaves its data.
    pub async fn halt(&self) {
        assert!(self.script("stop").await.status.success());
    }

    async fn script(&self, what: &'static str) -> Output {
        let (kind, folder) = (self.kind, self.folder.clone());
        let run = move || Command::new(script()).args([what, kind]).arg(folder).output().unwrap();
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// `rabbitmqctl`.
    pub async fn ctl(&self, arguments: &[&str]) {
        let mut command = Command::new(script());
        command.arg("ctl").arg(&self.folder).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new(script()).args(["stop", self.kind]).arg(&self.folder).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
