//! A TCP proxy between the service and a server, which can be cut, go silent, or refuse. It counts who comes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Nothing passes, nothing is closed: a host that vanished.
    BlackHole,
    /// Connections are closed, new ones too.
    Refuse,
    /// The same, but nobody listens: the kernel says so.
    Down,
}

impl Mode {
    fn cuts(self) -> bool {
        matches!(self, Self::Refuse | Self::Down)
    }
}

pub struct Proxy {
    pub address: SocketAddr,
    targets: watch::Sender<Vec<SocketAddr>>,
    mode: watch::Sender<Mode>,
    resets: watch::Sender<u64>,
    accepted: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port of loopback and forwards to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self {
            address,
            targets: watch::Sender::new(vec![target]),
            mode: watch::Sender::new(Mode::Forward),
            resets: watch::Sender::new(0),
            accepted: Arc::default(),
        };
        let targets = proxy.targets.subscribe();
        let line = Line {
            targets,
            turn: Arc::default(),
            mode: proxy.mode.subscribe(),
            resets: proxy.resets.subscribe(),
        };
        tokio::spawn(serve(listener, line, Arc::clone(&proxy.accepted)));
        proxy
    }

    /// The same for a server's URL, which it changes so that it leads through the proxy.
    pub async fn before(url: &mut url::Url) -> Self {
        let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
        let proxy = Self::to(target).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        proxy
    }

    /// Leads new connections to these in turn, to the next one where one refuses. What is open stays where it is.
    pub fn lead_to(&self, targets: &[SocketAddr]) {
        self.targets.send_replace(targets.to_vec());
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets what is open, once; who comes afterwards is let through.
    pub fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// Connections that were accepted so far, whatever became of them.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// What one connection needs to know.
#[derive(Clone)]
struct Line {
    targets: watch::Receiver<Vec<SocketAddr>>,
    turn: Arc<AtomicUsize>,
    mode: watch::Receiver<Mode>,
    resets: watch::Receiver<u64>,
}

impl Line {
    async fn connect(&self) -> Option<TcpStream> {
        let targets = self.targets.borrow().clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..targets.len() {
            if let Ok(stream) = TcpStream::connect(targets[(turn + at) % targets.len()]).await {
                return Some(stream);
            }
        }
        None
    }
}

async fn serve(mut listener: TcpListener, line: Line, accepted: Arc<AtomicU64>) {
    let address = listener.local_addr().unwrap();
    let mut mode = line.mode.clone();
    loop {
        tokio::select! {
            Ok((inbound, _)) = listener.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(inbound, line.clone()));
                continue;
            }
            down = reaches(&mut mode, |mode| mode == Mode::Down) => if !down { return },
        }
        drop(listener);
        // Bound and not listening: refused by the kernel, and nobody else can have the port.
        let held = TcpSocket::new_v4().unwrap();
        held.set_reuseaddr(true).unwrap();
        held.bind(address).unwrap();
        if !reaches(&mut mode, |mode| mode != Mode::Down).await {
            return;
        }
        listener = held.listen(1024).unwrap();
    }
}

/// False where the proxy is gone.
async fn reaches(mode: &mut watch::Receiver<Mode>, wanted: fn(Mode) -> bool) -> bool {
    mode.wait_for(|mode| wanted(*mode)).await.is_ok()
}

async fn carry(inbound: TcpStream, mut line: Line) {
    line.resets.mark_unchanged();
    if line.mode.borrow_and_update().cuts() {
        return;
    }
    let Some(outbound) = line.connect().await else {
        // The closest to being refused.
        let _ = inbound.set_zero_linger();
        return;
    };
    let (mut client_read, mut client_write) = inbound.into_split();
    let (mut server_read, mut server_write) = outbound.into_split();
    let is_reset = tokio::select! {
        () = pump(&mut client_read, &mut server_write, line.mode.clone()) => false,
        () = pump(&mut server_read, &mut client_write, line.mode.clone()) => false,
        _ = line.mode.wait_for(|mode| mode.cuts()) => false,
        _ = line.resets.changed() => true,
    };
    if is_reset {
        let _ = client_write.as_ref().set_zero_linger();
        let _ = server_write.as_ref().set_zero_linger();
    }
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut mode: watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
