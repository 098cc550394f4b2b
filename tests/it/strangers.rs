//! What strangers can hold of a process at its listeners: nothing that a payment, a probe or DOKU needs.

use crate::harness::{
    World, child::Service, free_port, get, payment, reports::Report, vitals::resident_kib, world::PATH,
};
use futures_util::{StreamExt, future::join_all, stream};
use jenius_pay::startup;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What is held unverified is 64 MiB as received. Buffers, tasks and sockets take nearly as much again, in a debug build.
const GROWTH_KIB_MAX: u64 = 160 * 1024;
const PEERS: usize = 4000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A world whose ingress has a port that is known before it starts.
async fn world() -> (World, SocketAddr) {
    startup::raise_descriptors();
    let mut world = World::with().without_service().build().await;
    let ingress: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    world.settings.insert("JENIUS_PAY__INGRESS__LISTEN".to_owned(), ingress.to_string());
    (world, ingress)
}

/// One request on a connection of its own, or on one that is kept; what was answered, head and body.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<String> {
    stream.write_all(request).await.ok()?;
    let mut answer = vec![0; 4096];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.ok()?.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&answer[..read]).into_owned())
}

fn notification(report: &Report) -> Vec<u8> {
    let headers: String =
        report.headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n", report.body.len());
    [head.as_bytes(), &report.body].concat()
}

async fn doku_is_answered(world: &World, ingress: SocketAddr) {
    let mut stream = TcpStream::connect(ingress).await.unwrap();
    let answer = ask(&mut stream, &notification(&Report::success(&world.invoice()))).await;
    assert!(answer.as_ref().is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_unfinished_requests_hold_little_memory_however_often_they_come_and_keep_doku_out_of_nothing()
 {
    const PIECE: usize = 64 * 1024;
    const FLOODS: usize = 3;
    let (world, ingress) = world().await;
    let service = Service::start(&world).await;
    doku_is_answered(&world, ingress).await;
    let idle = resident_kib(service.id()).unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 250000\r\n\r\n");
    let request = [head.as_bytes(), &vec![b'x'; PIECE]].concat();
    // The allocator keeps what was freed for the next one: more floods take no more.
    for flood in 0..FLOODS {
        let peers = unfinished(ingress, &request).await;
        for _ in 0..5 {
            doku_is_answered(&world, ingress).await;
        }
        let grown = resident_kib(service.id()).unwrap().saturating_sub(idle);
        println!("flood {flood}: {grown} KiB more");
        assert!(grown < GROWTH_KIB_MAX, "flood {flood}: {grown} KiB more");
        drop(peers);
    }
    drop(service);
    world.end().await;
}

/// As many connections with a request each that is not whole. Those that give way meanwhile cannot write.
async fn unfinished(ingress: SocketAddr, request: &[u8]) -> Vec<Option<TcpStream>> {
    let connecting = stream::iter(0..PEERS).map(|_| async {
        let mut stream = TcpStream::connect(ingress).await.ok()?;
        let _ = stream.write_all(request).await;
        Some(stream)
    });
    connecting.buffer_unordered(100).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_peers_stop_no_payment_and_no_probe_in_a_process_of_few_descriptors() {
    const IDLE: usize = 1000;
    const AT_THE_OPERATORS: usize = 100;
    let (world, ingress) = world().await;
    let service = Service::start_limited(&world, "ulimit -n 1024").await;
    let admin: SocketAddr = service.admin.parse().unwrap();
    let peers =
        (0..IDLE + AT_THE_OPERATORS).map(|n| TcpStream::connect(if n < IDLE { ingress } else { admin }));
    let peers = join_all(peers).await;
    assert!(peers.iter().all(Result::is_ok));
    for page in ["livez", "readyz"] {
        let (status, body) = timeout(PATIENCE, get(format!("http://{admin}/{page}"))).await.unwrap().unwrap();
        assert_eq!(status, 200, "{page}: {body}");
    }
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    doku_is_answered(&world, ingress).await;
    drop(peers);
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_closes_its_connection_and_a_taken_one_keeps_it() {
    let (mut world, ingress) = world().await;
    world.start(&jenius_pay::app::Role::UNNAMED).await;
    let forged = Report { key: "SK-forged".to_owned(), ..Report::success("INV-1") };
    let requests = [
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        notification(&forged),
    ];
    for request in requests {
        let mut stream = TcpStream::connect(ingress).await.unwrap();
        let answer = ask(&mut stream, &request).await.unwrap();
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
        assert_eq!(
            ask(&mut stream, &notification(&Report::success(&world.invoice()))).await,
            None,
            "{answer}"
        );
    }
    let mut stream = TcpStream::connect(ingress).await.unwrap();
    for _ in 0..3 {
        let answer = ask(&mut stream, &notification(&Report::success(&world.invoice()))).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    world.end().await;
}
