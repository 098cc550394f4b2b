//! The clients of deploy/clients, run as an upstream developer would run them, against the real service. A
//! language that is not on the machine is left out.

use crate::harness::{World, broker, child::BINARY, eventually};
use jenius_pay::app::Role;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Ended with the test, however that ends.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Client {
    fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }
}

/// How one language runs its publisher and its subscriber.
struct Clients {
    /// The program and what comes before the client's own arguments.
    publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Clients {
    fn of(program: &[&str], publisher: &Path, subscriber: &Path) -> Self {
        let line = |client: &Path| {
            program.iter().map(|word| (*word).to_owned()).chain([client.display().to_string()]).collect()
        };
        Self { publish: line(publisher), subscribe: line(subscriber) }
    }

    fn start(line: &[String], arguments: &[&str], prefix: &str) -> Client {
        Self::start_by(&broker::url(), line, arguments, prefix)
    }

    fn start_by(url: &str, line: &[String], arguments: &[&str], prefix: &str) -> Client {
        let child = Command::new(&line[0])
            .args(&line[1..])
            .args(arguments)
            .envs([("AMQP_URL", url), ("JENIUS_PREFIX", prefix), ("AGAIN_AFTER_SECONDS", "0.2")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Client(child)
    }
}

fn folder(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/clients").join(language)
}

/// The next line, read off the runtime.
pub async fn next(mut lines: Lines<BufReader<ChildStdout>>) -> (Lines<BufReader<ChildStdout>>, String) {
    tokio::task::spawn_blocking(move || {
        let line = lines.next().expect("the client has ended").unwrap();
        (lines, line)
    })
    .await
    .unwrap()
}

/// What a publisher printed, and whether it ended well.
async fn ended(mut client: Client) -> (Vec<String>, bool) {
    tokio::task::spawn_blocking(move || {
        let lines = client.lines().map(Result::unwrap).collect();
        (lines, client.0.wait().unwrap().success())
    })
    .await
    .unwrap()
}

/// One payment asked for again and again, one asked for after it is done, and one that breaks a rule.
async fn play(clients: Clients) {
    fail(&clients).await;
    // Nobody takes commands yet: there is only the topology.
    let mut world = World::with().without_service().build().await;
    world.start(&[Role::Relay]).await;
    let prefix = world.broker.prefix.clone();
    let queue = format!("{prefix}.book");
    let mut subscriber = Clients::start(&clients.subscribe, &[&queue, "#"], &prefix);
    let heard = subscriber.lines();
    eventually("the subscriber's queue", async || world.broker.exists(&queue).await.then_some(())).await;

    let invoice = world.invoice();
    let publisher = Clients::start(&clients.publish, &[&invoice], &prefix);
    let twice = async || (world.broker.depth("payments").await >= 2).then_some(());
    eventually("the same command a second time", twice).await;
    let command: Value = serde_json::from_slice(&world.broker.get("payments").await.unwrap().body).unwrap();
    assert!(
        command["time"].as_str().is_some_and(|time| time.ends_with('Z')),
        "its budget counts from there: {command}"
    );
    world.stop().await;
    world.start(&Role::UNNAMED).await;
    let (told, well) = ended(publisher).await;
    let id = told[0].strip_prefix("id ").unwrap();
    let accepted_event = world.event(&invoice, "payment.accepted").await;
    let line = format!("jenius.payment.accepted.v1 {}", accepted_event.body["id"].as_str().unwrap());
    assert_eq!((&told[1..], well), ([line].as_slice(), true));

    let paid_event = world.event(&invoice, "order.paid").await;
    let again = ended(Clients::start(&clients.publish, &[&invoice, id], &prefix)).await;
    assert_eq!(again, (told.clone(), true), "the outcome of a known command is told again");

    let (told, well) = ended(Clients::start(&clients.publish, &["two words"], &prefix)).await;
    assert!(!well && told[1].starts_with("jenius.command.rejected.v1 "), "{told:?}");
    assert!(told[2].starts_with("order.invoice_number: invalid_characters: must be 1–64 "), "{told:?}");

    let (heard, accepted) = next(heard).await;
    let (heard, paid) = next(heard).await;
    let (heard, rejected) = next(heard).await;
    assert_eq!(accepted, format!("jenius.payment.accepted.v1 {invoice} 1 awaiting_payment"));
    assert_eq!(paid, format!("jenius.order.paid.v1 {invoice} 2 paid"));
    assert_eq!(rejected, "rejected two words order.invoice_number invalid_characters");

    let (accepted, paid) = (accepted_event.body, paid_event.body);
    for event in [&paid, &accepted, &after_a_restore(&paid), &paid, &after_a_restore(&paid)] {
        world.broker.deliver(&queue, event).await;
    }
    let (heard, corrected) = next(heard).await;
    assert_eq!(corrected, format!("corrects jenius.order.failed.v1 {invoice} 2 failed"));
    let mut later = paid.clone();
    (later["id"], later["sequence"]) = (json!("01999a52-7c02-7a18-b5d9-000000000000"), json!("3"));
    world.broker.deliver(&queue, &later).await;
    let (_, last) = next(heard).await;
    assert_eq!(last, format!("jenius.order.paid.v1 {invoice} 3 paid"), "a replay was handled again");
    drop(subscriber);
    world.broker.delete(&queue).await;
    world.end().await;
}

/// The event in another version of history: the database was restored, and the order took another way.
pub fn after_a_restore(event: &Value) -> Value {
    let mut other = event.clone();
    other["id"] = json!("01999a52-7c02-7a18-b5d9-3e4f5a6b7c8d");
    other["type"] = json!("jenius.order.failed.v1");
    other["data"]["state"] = json!("failed");
    other
}

/// How a client ends that is started with these.
async fn ends(line: &[String], arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut client = Command::new(&line[0]);
    client.args(&line[1..]).args(arguments).env_remove("AMQP_URL").envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// What a person sees who starts a client in the wrong way, or whose broker or service is away.
async fn fail(clients: &Clients) {
    let url = broker::url();
    let world = World::with().without_service().build().await;
    for line in [&clients.publish, &clients.subscribe] {
        for (arguments, environment) in
            [(&["a", "b", "c"][..0], &[("AMQP_URL", url.as_str())][..]), (&["a", "b"], &[])]
        {
            let (code, told) = ends(line, arguments, environment).await;
            assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
            assert!(told.starts_with("usage: AMQP_URL=amqp://… "), "{told}");
        }
        let away = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:9/%2f")];
        let (code, told) = ends(line, &["a", "b"], &away).await;
        assert_eq!((code, told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.starts_with("error: the broker: "), "{told}");
    }
    let mut world = world;
    world.start(&[Role::Relay]).await;
    let impatient = [
        ("AMQP_URL", url.as_str()),
        ("JENIUS_PREFIX", &world.broker.prefix.clone()),
        ("GIVE_UP_AFTER_SECONDS", "0.5"),
    ];
    let (code, told) = ends(&clients.publish, &["INV-1", "c-1"], &impatient).await;
    assert_eq!((code, told.lines().count()), (Some(1), 1), "{told}");
    assert!(
        told.starts_with("error: no outcome within 0.5 s") && told.trim_end().ends_with(" INV-1 c-1"),
        "{told}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_in_python_ask_until_they_are_answered_and_handle_each_event_once() {
    play(in_python()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_in_node_ask_until_they_are_answered_and_handle_each_event_once() {
    play(in_node().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_in_java_ask_until_they_are_answered_and_handle_each_event_once() {
    match in_java() {
        Some(clients) => play(clients).await,
        None => eprintln!("not run: javac and its libraries are not on this machine"),
    }
}

fn in_python() -> Clients {
    let folder = folder("python");
    Clients::of(&[crate::readme_clients::python()], &folder.join("publish.py"), &folder.join("subscribe.py"))
}

async fn in_node() -> Clients {
    let folder = node_tools("deploy/clients/node").await;
    Clients::of(&["node"], &folder.join("publish.js"), &folder.join("subscribe.js"))
}

/// With Debian's librabbitmq-client-java and libgoogle-gson-java.
fn in_java() -> Option<Clients> {
    let jars =
        ["amqp-client", "gson", "slf4j-api", "slf4j-nop"].map(|name| format!("/usr/share/java/{name}.jar"));
    let runs = Command::new("javac").arg("-version").output().is_ok_and(|output| output.status.success());
    if !runs || !jars.iter().all(|jar| Path::new(jar).exists()) {
        return None;
    }
    let folder = folder("java");
    let program = ["java", "-XX:TieredStopAtLevel=1", "-cp", &jars.join(":")];
    Some(Clients::of(&program, &folder.join("Publish.java"), &folder.join("Subscribe.java")))
}

/// Each publisher has its payment accepted with this user of the broker, and names it.
pub async fn every_publisher_pays_by(url: &str, world: &World) {
    for clients in [Some(in_python()), Some(in_node().await), in_java()].into_iter().flatten() {
        let invoice = world.invoice();
        let publisher = Clients::start_by(url, &clients.publish, &[&invoice], &world.broker.prefix);
        let (told, well) = ended(publisher).await;
        assert!(
            well && told[1].starts_with("jenius.payment.accepted.v1 "),
            "{:?}: {told:?}",
            clients.publish
        );
    }
}

/// The folder with what its package-lock.json pins, installed where it is missing.
pub async fn node_tools(from: &'static str) -> PathBuf {
    let install = move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/build/node-tools");
        Command::new(script).arg(from).stderr(Stdio::inherit()).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(install).await.unwrap();
    assert!(output.status.success(), "{from} is not installed: is there node and npm?");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What a program prints, given this to read.
pub fn printed(program: &mut Command, input: &[u8]) -> String {
    let (stdin, stdout, stderr) = (Stdio::piped(), Stdio::piped(), Stdio::piped());
    let mut child = program.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asyncapi_prints_the_committed_document_and_a_parser_finds_no_fault_with_it() {
    let folder = node_tools("deploy/asyncapi").await;
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/asyncapi.yaml");
    let found = move || {
        let asyncapi = |argument: &[&str]| printed(Command::new(BINARY).arg("asyncapi").args(argument), &[]);
        assert_eq!(asyncapi(&[]), std::fs::read_to_string(&document).unwrap());
        let check = &mut Command::new("node");
        printed(check.arg(folder.join("check.js")).arg(document), asyncapi(&["--json"]).as_bytes())
    };
    let found = tokio::task::spawn_blocking(found).await.unwrap();
    assert_eq!(found, "19 operations, 19 messages\n");
}

/// The page shows every client, and nothing that is not there.
#[test]
fn every_file_that_the_page_of_clients_names_exists_and_every_client_is_named() {
    let page = std::fs::read_to_string(folder("README.md")).unwrap();
    let linked: Vec<&str> = page
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .filter(|l| !l.contains("://"))
        .collect();
    for link in &linked {
        let path = link.split('#').next().unwrap();
        assert!(folder(path).exists(), "{link} is not there");
    }
    for language in ["python", "node", "java"] {
        for file in std::fs::read_dir(folder(language)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let named = linked.contains(&format!("{language}/{name}").as_str());
            assert!(named || name.ends_with(".json"), "{language}/{name} is not named");
        }
    }
}
