//! HTTP as nobody should speak it, to the ingress and to the operators' listener of a process of its own.

use super::Thrown;
use crate::harness::{
    World,
    child::Service,
    free_port, get,
    reports::Report,
    snap::{Signer, SnapReport},
    world::PATH,
};
use futures_util::future::join_all;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const GOOD_WAITS_MAX: Duration = Duration::from_secs(8);
const CUT_OFF_WITHIN: Duration = Duration::from_secs(20);
/// Thousands of requests may be in a text, and the machine busy.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
const GROWTH_MIB_MAX: u64 = 64;
const FORGED: usize = 10_000;
/// What an odd request may get, where it gets an answer at all.
const REFUSED: &[u16] = &[400, 404, 405, 408, 411, 413, 414, 431, 501, 505];

/// A process with its ingress at a known address.
struct Front {
    world: World,
    service: Service,
    ingress: SocketAddr,
}

impl Front {
    async fn start() -> Self {
        let ingress = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let setting = World::with().set("INGRESS__LISTEN", ingress).without_service();
        let mut world = setting.build().await;
        world.settings.insert("RUST_LOG".to_owned(), "debug".to_owned());
        let service = Service::start(&world).await;
        Self { world, service, ingress }
    }

    /// Posts a good notification, and says how long its 200 took.
    async fn good(&self) -> Duration {
        let report = Report::success(&self.world.invoice());
        let started = Instant::now();
        assert_eq!(report.post(&format!("http://{}{PATH}", self.ingress)).await.unwrap(), 200);
        started.elapsed()
    }

    /// Resident memory, in MiB.
    fn memory(&self) -> u64 {
        let prefix = format!("JENIUS_PAY__AMQP__PREFIX={}\0", self.world.broker.prefix).into_bytes();
        let is_ours = |pid: &str| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(prefix.len()).any(|window| window == prefix)
        };
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pid =
            all.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).find(|pid| is_ours(pid)).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    async fn end(self, what: &'static str, count: usize, became: String, worst: Duration) {
        let Self { world, mut service, .. } = self;
        assert!(service.is_running(), "{}", service.log());
        assert!(!service.log().contains("panicked"), "{}", service.log());
        assert_eq!(world.broker.depth("dead").await, 0, "something was dead-lettered");
        drop(service);
        world.end().await;
        Thrown { what, count, became, worst: Some(worst) }.prove();
    }
}

/// Writes these bytes, and reads what comes until the other side closes.
async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    // The server may answer, and close, before it has read everything.
    let both = async { tokio::join!(write.write_all(bytes), read.read_to_end(&mut answer)) };
    timeout(ANSWERED_WITHIN, both)
        .await
        .map(drop)
        .unwrap_or_else(|_| panic!("not cut off: {:.80}", String::from_utf8_lossy(bytes)));
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers in a text.
fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ").map(|(at, head)| text[at + head.len()..][..3].parse().unwrap()).collect()
}

fn request(method: &str, target: &str, headers: &[(&str, String)], body: &[u8], last: bool) -> Vec<u8> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let close = if last { "Connection: close\r\n" } else { "" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\n{close}Content-Length: {}\r\n{lines}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What is sent.
fn odd_requests(path: &str) -> Vec<(&'static str, Vec<u8>)> {
    let post = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    let with = |rest: &str| format!("{post}{rest}").into_bytes();
    let many: String = (0..5000).map(|n| format!("X-{n}: x\r\n")).collect();
    let endless = ["10000\r\n".to_owned(), "x".repeat(65536), "\r\n".to_owned()].concat().repeat(100);
    vec![
        ("a body of 10 GiB", with("Content-Length: 10000000000\r\n\r\nx")),
        ("a length that is none", with("Content-Length: -1\r\n\r\n")),
        ("a length beyond 64 bits", with("Content-Length: 99999999999999999999999\r\n\r\n")),
        ("two lengths", with("Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")),
        ("a length and chunks", with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("no chunk size", format!("{chunked}zz\r\nx\r\n0\r\n\r\n").into_bytes()),
        ("a chunk of 2^64", format!("{chunked}ffffffffffffffffff\r\nx").into_bytes()),
        ("6 MiB in chunks", format!("{chunked}{endless}0\r\n\r\n").into_bytes()),
        (
            "a chunk extension of 1 MiB",
            format!("{chunked}1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(1 << 20)).into_bytes(),
        ),
        ("5,000 headers", with(&format!("{many}\r\n"))),
        ("a header of 4 MiB", with(&format!("X: {}\r\n\r\n", "x".repeat(4 << 20)))),
        (
            "a target of 1 MiB",
            format!("POST /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20)).into_bytes(),
        ),
        ("a header over two lines", with("Signature: a\r\n b\r\n\r\n")),
        ("a header with a lone LF", with("Signature: a\nX-Evil: b\r\nContent-Length: 0\r\n\r\n")),
        ("a header with NUL", with("Signature: a\0b\r\n\r\n")),
        ("a header's name with a space", with("Signature : a\r\n\r\n")),
        ("a method nobody knows", b"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("a tunnel", b"CONNECT evil:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("a trace", b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("bytes", vec![0xff; 70_000]),
        ("an encoded slash", request("POST", "/payments%2fnotifications", &[], b"{}", true)),
        ("dots", request("POST", "/payments/../payments/notifications", &[], b"{}", true)),
        ("two slashes", request("POST", "//payments/notifications", &[], b"{}", true)),
        ("an encoded NUL", request("POST", "/payments/notifications%00", &[], b"{}", true)),
        ("a bad encoding", request("POST", "/%zz%", &[], b"{}", true)),
        ("no UTF-8 in the target", b"POST /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_refused_or_cut_off_and_good_ones_pass_beside_them() {
    let front = Front::start().await;
    let idle = front.memory();
    let mut worst = front.good().await;
    let odd = odd_requests(PATH);
    for to in [front.ingress, front.service.admin.parse().unwrap()] {
        let all = join_all(odd.iter().map(|(_, bytes)| raw(to, bytes)));
        let beside = async {
            for _ in 0..10 {
                worst = worst.max(front.good().await);
            }
        };
        let (answers, ()) = tokio::join!(all, beside);
        for ((what, _), text) in odd.iter().zip(answers) {
            let refused = statuses(&text).iter().all(|status| REFUSED.contains(status));
            assert!(refused, "{what}: {text:.300} by {to}");
        }
    }
    let doubled = signatures_and_targets(&front).await;
    for page in ["metrics", "readyz", "livez"] {
        let (status, _) = get(format!("http://{}/{page}", front.service.admin)).await.unwrap();
        assert_eq!(status, 200, "{page}");
    }
    assert!(worst < GOOD_WAITS_MAX, "{worst:?}");
    let grown = front.memory().saturating_sub(idle);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more");
    let became = format!("all refused or cut off, +{grown} MiB");
    front.end("odd HTTP requests", 2 * odd.len() + doubled, became, worst).await;
}

/// Requests that are odd in what is signed: each with the one status it must get.
async fn signatures_and_targets(front: &Front) -> usize {
    let good = Report::success(&front.world.invoice());
    let signed = good.headers().to_vec();
    let forged = ("Signature", "HMACSHA256=AAAA".to_owned());
    let first_bad = [&[forged.clone()][..], &signed].concat();
    let absolute = format!("http://evil.example{PATH}");
    let rows = [
        ("a forged signature before the good one", PATH.to_owned(), first_bad, 400),
        ("an absolute target", absolute, signed.clone(), 200),
        ("a fragment of a query", format!("{PATH}?a=%00&b=%ff"), signed.clone(), 200),
    ];
    for (what, target, headers, expected) in &rows {
        let text = raw(front.ingress, &request("POST", target, headers, &good.body, true)).await;
        assert_eq!(statuses(&text), [*expected], "{what}: {text}");
    }
    let snap = SnapReport::success(&front.world.invoice());
    let signed_in_snap = snap.headers();
    let other = ("X-SIGNATURE", "A".repeat(86));
    let folded = ("X-SIGNATURE", format!("{}\r\n x", "A".repeat(86)));
    let snap_rows = [
        ("a SNAP signature before the good one", [&[other.clone()][..], &signed_in_snap].concat(), 400),
        ("a SNAP signature behind the good one", [&signed_in_snap[..], &[other]].concat(), 400),
        ("a folded one behind the good one", [&signed_in_snap[..], &[folded]].concat(), 400),
        ("a token of 5,000 bytes", snap.clone().with_token(&"x".repeat(5000)).headers(), 400),
        ("the good one", signed_in_snap, 200),
    ];
    for (what, headers, expected) in &snap_rows {
        let text = raw(front.ingress, &request("POST", PATH, headers, &snap.body, true)).await;
        assert_eq!(statuses(&text), [*expected], "{what}: {text}");
    }
    // Pipelined: every one is answered, in its order, up to the first that is refused.
    let one = |headers: &[(&str, String)]| request("POST", PATH, headers, &good.body, false);
    let mut pipeline: Vec<u8> = (0..50).flat_map(|_| one(&signed)).collect();
    pipeline.extend([one(&[]), one(&signed)].concat());
    let expected: Vec<u16> = (0..51).map(|n| if n < 50 { 200 } else { 400 }).collect();
    assert_eq!(statuses(&raw(front.ingress, &pipeline).await), expected);
    rows.len() + snap_rows.len() + 51
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_forged_notifications_are_refused_while_good_ones_pass() {
    const CONNECTIONS: usize = 16;
    let front = Front::start().await;
    front.good().await;
    let idle = front.memory();
    let started = Instant::now();
    let forgers = (0..CONNECTIONS).map(|nth| {
        let invoice = front.world.invoice();
        // Each closes its connection.
        let one = if nth % 2 == 0 {
            let forged = Report { key: "SK-forged".to_owned(), ..Report::success(&invoice) };
            request("POST", PATH, &forged.headers(), &forged.body, true)
        } else {
            let signer = Signer::Key("SK-forged".to_owned());
            let forged = SnapReport { signer, ..SnapReport::success(&invoice) };
            request("POST", PATH, &forged.headers(), &forged.body, true)
        };
        let to = front.ingress;
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..FORGED / CONNECTIONS {
                answers.extend(statuses(&raw(to, &one).await));
            }
            answers
        })
    });
    let forgers = join_all(forgers.collect::<Vec<_>>());
    tokio::pin!(forgers);
    let (mut worst, mut good) = (Duration::ZERO, 0);
    let answers = loop {
        tokio::select! {
            answers = &mut forgers => break answers,
            took = front.good() => { worst = worst.max(took); good += 1; }
        }
    };
    let took = started.elapsed();
    let answers: Vec<u16> = answers.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), FORGED);
    assert!(worst < GOOD_WAITS_MAX, "{worst:?}");
    let grown = front.memory().saturating_sub(idle);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more");
    let became =
        format!("401, each; {good} good ones beside them in {:.1} s, +{grown} MiB", took.as_secs_f64());
    front.end("forged notifications", FORGED, became, worst).await;
}

/// More slow peers than the operators' listener takes, and hundreds at the ingress: good requests pass, and
/// probes again as soon as the slow ones are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_in_hundreds_delay_nobody_at_the_ingress_and_are_cut_off() {
    const SLOW: usize = 400;
    const SLOW_OPERATORS: usize = 80;
    let front = Front::start().await;
    front.good().await;
    let idle = front.memory();
    let (ingress, admin): (_, SocketAddr) = (front.ingress, front.service.admin.parse().unwrap());
    let slow = |to: SocketAddr, body: bool| async move {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let head = if body {
            format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        } else {
            "GET / HTTP/1.1\r\nX-Slow: ".to_owned()
        };
        let _ = stream.write_all(head.as_bytes()).await;
        let (mut read, mut write) = stream.split();
        let drip = async {
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(250)).await;
            }
        };
        let mut answer = Vec::new();
        let ended = async {
            tokio::select! { () = drip => {}, _ = read.read_to_end(&mut answer) => {} }
        };
        timeout(2 * CUT_OFF_WITHIN, ended).await.expect("a slow peer is not cut off");
    };
    let at_ingress = (0..SLOW).map(|n| slow(ingress, n % 2 == 0));
    let at_admin = (0..SLOW_OPERATORS).map(|_| slow(admin, false));
    let all = async { tokio::join!(join_all(at_ingress), join_all(at_admin)) };
    tokio::pin!(all);
    let (mut worst, mut probe) = (Duration::ZERO, Duration::ZERO);
    let neighbours = async {
        sleep(Duration::from_millis(500)).await;
        for _ in 0..20 {
            worst = worst.max(front.good().await);
            sleep(Duration::from_millis(100)).await;
        }
        let started = Instant::now();
        assert_eq!(get(format!("http://{admin}/livez")).await.unwrap().0, 200);
        probe = started.elapsed();
    };
    tokio::join!(&mut all, neighbours);
    assert!(worst < GOOD_WAITS_MAX, "{worst:?}");
    assert!(probe < CUT_OFF_WITHIN, "a probe waited {probe:?}");
    let grown = front.memory().saturating_sub(idle);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more");
    let became = format!("cut off; a probe behind {SLOW_OPERATORS} of them after {} ms", probe.as_millis());
    front.end("slow peers", SLOW + SLOW_OPERATORS, became, worst).await;
}
