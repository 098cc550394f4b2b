//! Through a real socket: how long a connection lives.

use super::*;
use crate::http::BoundServer;
use axum::{body::Bytes, routing::get};
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(100);
const STEPS: usize = 40;

/// Half a second to be idle, and three for an answer.
const LIMITS: ServerLimits = ServerLimits {
    connections: 2,
    unverified_bytes: 1024,
    body_bytes: 1024,
    request: Duration::from_millis(500),
    answer: Duration::from_millis(1500),
    idle: Duration::from_millis(500),
    upload: None,
};

/// Longer than an answer or a silence may last, a step at a time.
fn slow_stream() -> Body {
    Body::from_stream(stream::unfold(0, async |step| {
        tokio::time::sleep(STEP).await;
        (step < STEPS).then(|| (Ok::<_, std::convert::Infallible>(Bytes::from_static(b"step\n")), step + 1))
    }))
}

#[tokio::test]
async fn an_answer_that_streams_is_not_cut_while_it_goes_on_and_then_the_connection_is_idle() {
    let bound = BoundServer::new("127.0.0.1:0".parse().unwrap(), LIMITS).await.unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let router = Router::new().route("/", get(async || slow_stream()));
    let serving = tokio::spawn(bound.serve(router, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The server closes what is idle.
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("step").count(), STEPS, "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    stop.cancel();
    serving.await.unwrap();
}
