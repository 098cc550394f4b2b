//! Servers of a story's own, to kill.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
};
use url::Url;
use uuid::Uuid;

pub struct Server {
    kind: &'static str,
    folder: PathBuf,
    /// What it belongs to: another node of its cluster, its primary.
    joins: Option<PathBuf>,
    pid: String,
    pub url: String,
    /// A broker's name in its cluster.
    pub node: String,
}

fn program() -> String {
    std::env::var("JENIUS_TEST_SERVERS").expect("JENIUS_TEST_SERVERS is not set: run ./deploy/local/test")
}

impl Server {
    /// `rabbitmq` or `postgres`.
    pub async fn start(kind: &'static str) -> Self {
        Self::start_in(kind, None).await
    }

    /// One more node of the broker's cluster, or a standby of the database server.
    pub async fn join(other: &Self) -> Self {
        Self::start_in(other.kind, Some(other.folder.clone())).await
    }

    async fn start_in(kind: &'static str, joins: Option<PathBuf>) -> Self {
        let folder = std::env::temp_dir().join(format!("jenius-pay-{kind}-{}", Uuid::new_v4().simple()));
        let mut server =
            Self { kind, folder, joins, pid: String::new(), url: String::new(), node: String::new() };
        server.restart().await;
        server
    }

    /// Becomes a standby of the other, whatever it was: copied anew unless it is one.
    pub async fn follow(&mut self, other: &Self) {
        self.joins = Some(other.folder.clone());
        self.restart().await;
    }

    /// The standby becomes a primary.
    pub async fn promote(&mut self) {
        self.joins = None;
        script(["promote".into(), self.folder.clone()]).await;
    }

    /// Whether the primary's commits wait for a standby.
    pub async fn synchronous(&self, on: bool) {
        script(["synchronous".into(), self.folder.clone(), if on { "on" } else { "off" }.into()]).await;
    }

    pub fn address(&self) -> SocketAddr {
        let url: Url = self.url.parse().unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap()
    }

    /// Starts it again, on its port and with its data.
    pub async fn restart(&mut self) {
        let mut arguments = vec!["start".into()];
        arguments.extend(self.joins.iter().flat_map(|other| ["--join".into(), other.clone()]));
        arguments.extend([self.kind.into(), self.folder.clone()]);
        let mut output = run(arguments.clone()).await;
        if !output.status.success() {
            // A broker on a machine that is busy with other tests: it is stopped and started once more.
            output = run(arguments).await;
        }
        let said = checked("start", &output);
        let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        self.pid = value("PID=").unwrap();
        self.node = value("NODENAME=").unwrap_or_default();
        self.url = value("AMQP_URL=").or_else(|| value("DATABASE_URL=")).unwrap();
    }

    /// Every process of it stands still; what it has open stays open.
    pub async fn freeze(&self) {
        self.act("freeze").await;
    }

    pub async fn thaw(&self) {
        self.act("thaw").await;
    }

    /// Stops it in order, and leaves its data.
    pub async fn halt(&self) {
        self.act("stop").await;
    }

    async fn act(&self, what: &str) {
        script([what.into(), self.kind.into(), self.folder.clone()]).await;
    }

    pub fn kill(&self) {
        self.signal("-KILL");
    }

    /// To its main process. PostgreSQL takes `-QUIT` as its immediate mode.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid]).status().unwrap().success());
    }

    /// `rabbitmqctl`.
    pub async fn ctl(&self, arguments: &[&str]) {
        self.ask_ctl(arguments).await;
    }

    /// The same; gives what it printed.
    pub async fn ask_ctl(&self, arguments: &[&str]) -> String {
        let ctl = ["ctl".into(), self.folder.clone()];
        script(ctl.into_iter().chain(arguments.iter().map(PathBuf::from))).await
    }

    /// Whether an exchange leads to a queue; the default exchange always does.
    pub async fn is_bound(&self, queue: &str) -> bool {
        let bindings = self.ask_ctl(&["--quiet", "list_bindings", "source_name", "destination_name"]).await;
        let ends: Vec<_> = bindings.lines().filter_map(|line| line.split_once('\t')).collect();
        ends.iter().any(|(source, destination)| !source.is_empty() && *destination == queue)
    }
}

/// The schema of a database, as `servers` prints it for a release.
pub async fn schema(url: &Url) -> String {
    script(["schema".into(), url.as_str().into()]).await
}

async fn script(arguments: impl IntoIterator<Item = PathBuf>) -> String {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let output = run(arguments.clone()).await;
    checked(&format!("{arguments:?}"), &output)
}

async fn run(arguments: Vec<PathBuf>) -> Output {
    let run = move || Command::new(program()).args(arguments).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn checked(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new(program()).args(["stop", self.kind]).arg(&self.folder).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
