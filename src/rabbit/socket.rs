//! The socket behind a connection, held so that it can be closed whatever the client does.

use parking_lot::Mutex;
use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::Arc,
};

/// A second handle of the socket, to end a connection that will not end by itself: one that hangs in
/// its handshake or is blocked by the broker would otherwise keep its thread and buffers for ever.
#[derive(Default)]
pub(super) struct Opening(Arc<Socket>);

impl Opening {
    pub fn socket(&self) -> Arc<Socket> {
        self.0.clone()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        if let SocketState::Open(stream) = &*state {
            // An error says that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        *state = SocketState::GivenUp;
    }
}

#[derive(Default)]
pub(super) struct Socket(Mutex<SocketState>);

#[derive(Default)]
enum SocketState {
    #[default]
    Unopened,
    Open(TcpStream),
    /// No task waits for it any more.
    GivenUp,
}

impl Socket {
    pub fn put(&self, stream: TcpStream) -> io::Result<()> {
        let mut state = self.0.lock();
        match *state {
            SocketState::GivenUp => Err(io::ErrorKind::TimedOut.into()),
            SocketState::Unopened | SocketState::Open(_) => {
                *state = SocketState::Open(stream);
                Ok(())
            }
        }
    }
}
