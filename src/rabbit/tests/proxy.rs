//! A TCP proxy that can cut what goes through it, and keep bindings from the broker, as a node that hangs does.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

pub struct Proxy {
    pub port: u16,
    /// Connections so far.
    pub accepted: Arc<AtomicUsize>,
    /// No `queue.bind` reaches the broker, so none is answered.
    pub swallows_bindings: Arc<AtomicBool>,
    cut: broadcast::Sender<()>,
    is_open: Arc<AtomicBool>,
}

/// Class 50, method 20.
const QUEUE_BIND: [u8; 4] = [0, 50, 0, 20];

/// Frame by frame, from the client to the broker.
async fn forward(
    mut near: impl AsyncReadExt + Unpin,
    mut far: impl AsyncWriteExt + Unpin,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    let mut hello = [0; 8];
    near.read_exact(&mut hello).await?;
    far.write_all(&hello).await?;
    loop {
        let mut frame = vec![0; 7];
        near.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
        frame.resize(7 + length + 1, 0);
        near.read_exact(&mut frame[7..]).await?;
        let is_binding = frame[0] == 1 && frame[7..].starts_with(&QUEUE_BIND);
        if !(is_binding && swallow.load(Ordering::SeqCst)) {
            far.write_all(&frame).await?;
        }
    }
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_open) = (broadcast::Sender::new(1), Arc::new(AtomicBool::new(true)));
        let (ear, door) = (cut.clone(), is_open.clone());
        let (swallows_bindings, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (swallow, count) = (swallows_bindings.clone(), accepted.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if !door.load(Ordering::SeqCst) {
                    continue;
                }
                let (mut cut, target, swallow) = (ear.subscribe(), target.clone(), swallow.clone());
                tokio::spawn(async move {
                    let far = TcpStream::connect(target).await.unwrap();
                    let ((near_in, mut near_out), (mut far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = forward(near_in, far_out, &swallow) => {}
                        _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { port, accepted, swallows_bindings, cut, is_open }
    }

    /// Ends every connection; while closed, new ones end at once.
    pub fn cut(&self, stay_closed: bool) {
        self.is_open.store(!stay_closed, Ordering::SeqCst);
        let _ = self.cut.send(());
    }

    pub fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}
