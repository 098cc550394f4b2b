//! A TCP proxy that can cut what goes through it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

pub struct Proxy {
    pub port: u16,
    cut: broadcast::Sender<()>,
    is_open: Arc<AtomicBool>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_open) = (broadcast::Sender::new(1), Arc::new(AtomicBool::new(true)));
        let (ear, door) = (cut.clone(), is_open.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if !door.load(Ordering::SeqCst) {
                    continue;
                }
                let (mut cut, target) = (ear.subscribe(), target.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { port, cut, is_open }
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
