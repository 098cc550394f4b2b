//! The ingress: who gets which answer, and what it puts up with.

use crate::{
    events::broker_behind_a_proxy,
    harness::{
        World, eventually,
        proxy::{Mode, Proxy},
        reports::Report,
        snap::SnapReport,
        world::PATH,
    },
};
use futures_util::future::join_all;
use jenius_pay::app::Role;
use std::{
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn address(world: &World) -> SocketAddr {
    world.app().ingress_address().unwrap()
}

/// One request with exactly these headers; `None` where the connection was cut off.
async fn ask(
    world: &World,
    method: &str,
    target: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address(world)).await.unwrap();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may answer before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().unwrap(), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_fault_of_a_request_decides_its_answer() {
    let world = World::with().notified().build().await;
    let invoice = world.waiting().await;
    let good = Report::success(&invoice);
    let forged = Report { key: "SK-forged".to_owned(), ..good.clone() };
    let huge = Report::with_body(vec![b' '; 256 * 1024 + 1]);
    let largest = Report::with_body({
        let mut body = Report::of(&world.invoice(), "SUCCESS", "1").body;
        body.resize(256 * 1024, b' ');
        body
    });
    let empty = Report::with_body("");
    let without = |name: &str| -> Vec<(&str, String)> {
        good.headers().into_iter().filter(|(n, _)| *n != name).collect()
    };
    let (signed, none) = (good.headers().to_vec(), Vec::new());
    let query = format!("{PATH}?x=1");
    let mut rows = vec![
        // What is wrong in several ways is answered for the first.
        ("GET", "/elsewhere", none.clone(), &huge.body, 404),
        ("POST", "/", signed.clone(), &good.body, 404),
        ("POST", "/payments/notifications/", signed.clone(), &good.body, 404),
        ("POST", "/payments", signed.clone(), &good.body, 404),
        ("GET", PATH, none.clone(), &huge.body, 405),
        ("PUT", PATH, signed.clone(), &good.body, 405),
        ("POST", PATH, none.clone(), &huge.body, 413),
        ("POST", PATH, huge.headers().to_vec(), &huge.body, 413),
        ("POST", PATH, none, &good.body, 400),
        ("POST", PATH, empty.headers().to_vec(), &empty.body, 400),
        ("POST", PATH, forged.headers().to_vec(), &empty.body, 400),
        ("POST", PATH, forged.headers().to_vec(), &good.body, 401),
        ("POST", PATH, signed.clone(), &b"{}".to_vec(), 401),
        ("POST", PATH, largest.headers().to_vec(), &largest.body, 200),
        ("POST", &query, signed, &good.body, 200),
    ]
    .into_iter()
    .map(|(method, target, headers, body, status)| (method, target, headers, body.clone(), status))
    .collect::<Vec<_>>();
    for name in ["Client-Id", "Request-Id", "Request-Timestamp", "Signature"] {
        rows.push(("POST", PATH, without(name), good.body.clone(), 400));
    }
    for (method, target, headers, body, status) in rows {
        let answer = ask(&world, method, target, &headers, &body).await;
        let answer = answer.unwrap_or_else(|| panic!("{method} {target}: no answer, not {status}"));
        assert_eq!(answer.0, status, "{method} {target} {headers:?}: {}", answer.1);
        if status == 200 {
            assert_eq!(answer.1, "{}");
        }
    }
    world.event(&invoice, "order.paid").await;
    let (_, metrics) = world.admin("/metrics").await;
    for result in ["accepted", "not_authentic", "malformed"] {
        let label = format!("jenius_notifications_received_total{{role=\"ingress\",result=\"{result}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&label)).unwrap();
        assert_ne!(count, "0", "{result}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_paths_in_rotation_still_verify() {
    let setting = World::with().notified().set("DOKU__PREVIOUS_SECRET_KEYS", "SK-canary-older,SK-canary-old");
    let world = setting.set("DOKU__PREVIOUS_NOTIFICATION_PATHS", "/old/{path},/older").build().await;
    for key in ["SK-canary-old", "SK-canary-older"] {
        let invoice = world.waiting().await;
        world.notify(&Report { key: key.to_owned(), ..Report::success(&invoice) }).await;
        world.event(&invoice, "order.paid").await;
    }
    // A gateway may rewrite the path: what is signed is one of ours, where it is sent too.
    for (signed, sent) in [("/older", "/older"), ("/old/{path}", PATH), (PATH, "/older")] {
        let invoice = world.waiting().await;
        let report = Report { signed_path: signed.to_owned(), ..Report::success(&invoice) };
        assert_eq!(world.post(sent, &report).await, 200);
        world.event(&invoice, "order.paid").await;
    }
    let elsewhere = Report { signed_path: "/elsewhere".to_owned(), ..Report::success("INV-1") };
    assert_eq!(world.post(PATH, &elsewhere).await, 401);
    world.end().await;
}

/// The broker goes away before or while DOKU waits: never 200, and nothing that was answered 200 is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_publish_confirm_the_answer_is_503() {
    for mode in [Mode::Refuse, Mode::BlackHole] {
        let mut world = World::with().notified().without_service().build().await;
        let proxy = broker_behind_a_proxy(&mut world).await;
        world.start(&Role::UNNAMED).await;
        let invoice = world.waiting().await;
        let lost = world.waiting().await;
        world.notify(&Report::success(&invoice)).await;
        world.event(&invoice, "order.paid").await;
        proxy.set(mode);
        let start = Instant::now();
        assert_eq!(world.post(PATH, &Report::success(&lost)).await, 503, "{mode:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "DOKU waited for {:?}", start.elapsed());
        let (status, answer) = world.post_snap(&SnapReport::success(&lost)).await;
        assert_eq!((status, answer["responseCode"].as_str()), (503, Some("5035600")), "{answer}");
        // Judged before the broker is asked.
        let forged = Report { key: "SK-forged".to_owned(), ..Report::success(&lost) };
        assert_eq!(world.post(PATH, &forged).await, 401);
        proxy.set(Mode::Forward);
        let taken = async || (world.post(PATH, &Report::success(&lost)).await == 200).then_some(());
        eventually("a notification to be taken again", taken).await;
        world.event(&lost, "order.paid").await;
        world.end().await;
    }
}

/// The connection to the broker is cut again and again under load: what was answered 200 is never lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_200_survives_a_broker_that_comes_and_goes() {
    const CUTS: usize = 5;
    let mut world = World::with().notified().without_service().build().await;
    let proxy = broker_behind_a_proxy(&mut world).await;
    world.start(&[Role::Ingress]).await;
    let taken = Mutex::new(Vec::new());
    let sending = join_all((0..15).map(|_| async {
        loop {
            let invoice = world.invoice();
            if world.post(PATH, &Report::success(&invoice)).await == 200 {
                taken.lock().unwrap().push(invoice);
            }
        }
    }));
    // Each cut comes when notifications are being taken, however long that took.
    let flapping = async {
        for _ in 0..CUTS {
            let enough = taken.lock().unwrap().len() + 20;
            let flowing = async || (taken.lock().unwrap().len() >= enough).then_some(());
            eventually("notifications to be taken", flowing).await;
            proxy.set(Mode::Refuse);
            tokio::time::sleep(Duration::from_millis(30)).await;
            proxy.set(Mode::Forward);
        }
    };
    tokio::select! { () = flapping => {}, _ = sending => {} }
    let taken = taken.into_inner().unwrap();
    world.stop().await;
    world.start(&[Role::Reconciler]).await;
    let parked = async || {
        let found: Vec<String> = sqlx::query_scalar("SELECT invoice_number FROM notifications")
            .fetch_all(&world.database.pool)
            .await
            .unwrap();
        taken.iter().all(|invoice| found.contains(invoice)).then_some(())
    };
    eventually("everything that was answered 200", parked).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingress_needs_no_postgres() {
    let mut world = World::with().notified().without_service().build().await;
    let database = world.settings.remove("DATABASE_URL").unwrap();
    world.start(&[Role::Ingress]).await;
    assert_eq!(world.admin("/readyz?role=ingress").await.0, 200);
    let invoice = world.invoice();
    world.notify(&Report::success(&invoice)).await;
    assert_eq!(world.broker.depth("notifications").await, 1);
    world.stop().await;
    world.settings.insert("DATABASE_URL".to_owned(), database);
    world.start(&Role::UNNAMED).await;
    world.publish(&crate::harness::payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    world.end().await;
}

/// Postgres away: notifications wait in the broker, and none is dead-lettered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_outlast_an_outage_of_postgres() {
    let mut world = World::with().notified().without_service().build().await;
    let mut url = world.database.url.clone();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)).parse().unwrap();
    let proxy = Proxy::to(target).await;
    url.set_port(Some(proxy.address.port())).unwrap();
    world.settings.insert("DATABASE_URL".to_owned(), url.to_string());
    world.start(&Role::UNNAMED).await;
    let mut invoices = Vec::new();
    for _ in 0..10 {
        invoices.push(world.waiting().await);
    }
    proxy.set(Mode::Refuse);
    for invoice in &invoices {
        world.notify(&Report::success(invoice)).await;
    }
    assert_eq!(world.admin("/readyz?role=ingress").await.0, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    proxy.set(Mode::Forward);
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    world.end().await;
}

/// A byte now and then, in the head or in the body, is cut off; a thousand silent connections do no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_peers_are_cut_off_and_harm_nobody() {
    const CUT_OFF_WITHIN: Duration = Duration::from_secs(20);
    let world = World::with().notified().build().await;
    let connect = || TcpStream::connect(address(&world));
    let idle = join_all((0..1000).map(|_| connect())).await;
    assert!(idle.iter().all(Result::is_ok));
    let body_head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    let slow = ["POST /", body_head.as_str()].map(|head| async move {
        let mut stream = connect().await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let drip = async {
            while write.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! { () = drip => {}, _ = read.read_to_end(&mut answer) => {} }
        String::from_utf8_lossy(&answer).into_owned()
    });
    let quick = async {
        for _ in 0..20 {
            let start = Instant::now();
            world.notify(&Report::success(&world.invoice())).await;
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        }
    };
    let (answers, ()) = timeout(CUT_OFF_WITHIN, async { tokio::join!(join_all(slow), quick) }).await.unwrap();
    assert!(answers[0].is_empty() && answers[1].starts_with("HTTP/1.1 408 "), "{answers:?}");
    let mut silent = idle.into_iter().next().unwrap().unwrap();
    let end = timeout(CUT_OFF_WITHIN, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "a silent connection stays open");
    world.end().await;
}
