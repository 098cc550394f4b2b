//! Through a real socket: status lines and bodies as an operator's tools see them.

use super::*;
use crate::http::BoundServer;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn start(readiness: Readiness, limits: ServerLimits) -> Server {
    crate::metric::install().unwrap();
    let bound = BoundServer::new("127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
    let address = bound.address();
    let stop = CancellationToken::new();
    let router = router(move || readiness.clone());
    Server { address, stop: stop.clone(), serving: tokio::spawn(bound.serve(router, stop)) }
}

impl Server {
    /// Sends bytes and reads until the server closes.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn ask(&self, method: &str, target: &str) -> (u16, String) {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = self.raw(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn waiting_for_postgres() -> Readiness {
    Readiness {
        ready: false,
        paused: false,
        dependencies: BTreeMap::from([
            ("postgres", ComponentStatus::bad("the schema is not migrated")),
            ("broker", ComponentStatus::ok("connected")),
            ("doku", ComponentStatus::ok("breaker closed")),
        ]),
        roles: BTreeMap::from([
            ("worker", ComponentStatus::bad("waits for postgres")),
            ("ingress", ComponentStatus::ok("listening")),
        ]),
        sends: ComponentStatus::ok("sends run"),
        tasks: BTreeMap::from([("gauges", ComponentStatus::bad("restarted"))]),
        stranded_orders: 2,
    }
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let server = start(waiting_for_postgres(), LIMITS).await;
    for (method, target, status) in [
        ("GET", "/", 404),
        ("GET", "/readyz/", 404),
        ("GET", "/ready", 404),
        ("POST", "/nope", 404),
        ("POST", "/readyz", 405),
        ("DELETE", "/metrics", 405),
        ("PUT", "/livez", 405),
        ("GET", "/readyz?role=relay", 404),
        ("GET", "/readyz?role=%00", 404),
    ] {
        assert_eq!(server.ask(method, target).await.0, status, "{method} {target}");
    }
}

#[tokio::test]
async fn readyz_says_what_is_missing_while_livez_is_well() {
    let server = start(waiting_for_postgres(), LIMITS).await;
    assert_eq!(server.ask("GET", "/livez").await.0, 200);
    let (status, body) = server.ask("GET", "/readyz").await;
    assert_eq!(status, 503);
    let expected = serde_json::json!({
        "ready": false, "paused": false, "sends": {"ok": true, "detail": "sends run"}, "stranded_orders": 2,
        "tasks": {"gauges": {"ok": false, "detail": "restarted"}},
        "dependencies": {
            "postgres": {"ok": false, "detail": "the schema is not migrated"},
            "broker": {"ok": true, "detail": "connected"},
            "doku": {"ok": true, "detail": "breaker closed"},
        },
        "roles": {
            "worker": {"ok": false, "detail": "waits for postgres"},
            "ingress": {"ok": true, "detail": "listening"},
        },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn one_role_is_judged_alone() {
    let server = start(waiting_for_postgres(), LIMITS).await;
    let (status, body) = server.ask("GET", "/readyz?role=ingress").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"]), (200, &serde_json::json!(true)));
    assert_eq!(body["roles"], serde_json::json!({"ingress": {"ok": true, "detail": "listening"}}));
    assert_eq!(server.ask("GET", "/readyz?role=worker").await.0, 503);
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let server = start(waiting_for_postgres(), LIMITS).await;
    let (status, body) = server.ask("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE jenius_commands_settled_total counter"), "{body}");
}

#[tokio::test]
async fn a_peer_that_never_finishes_its_request_is_cut_off() {
    let quick =
        ServerLimits { request: Duration::from_millis(50), answer: Duration::from_millis(50), ..LIMITS };
    let server = start(waiting_for_postgres(), quick).await;
    // Half a head, then nothing at all; `raw` returns once the server closes.
    assert_eq!(server.raw("GET /livez HTTP/1.1\r\nHo").await, "");
    assert_eq!(server.raw("").await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let quick = ServerLimits { idle: Duration::from_millis(50), ..LIMITS };
    let server = start(waiting_for_postgres(), quick).await;
    let answer = server.raw("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_gives_way_to_a_new_one() {
    let narrow = ServerLimits { connections: 1, ..LIMITS };
    let server = start(waiting_for_postgres(), narrow).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(server.ask("GET", "/livez").await.0, 200);
    let closed = timeout(PATIENCE, first.read_to_end(&mut Vec::new())).await;
    assert!(closed.is_ok(), "both connections are open, where one is allowed");
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_ends() {
    let server = start(waiting_for_postgres(), LIMITS).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.stop.cancel();
    timeout(PATIENCE, server.serving).await.unwrap().unwrap();
}
