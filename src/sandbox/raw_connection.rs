//! The connection, with a knife: lets an answer be cut off before its first byte, after its headers, or with a
//! reset. A client must see exactly what it sees when a real peer dies, which no HTTP response can play.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const CUT: u8 = 1;
const RESET: u8 = 2;
const CUT_AFTER_HEADERS: u8 = 3;

/// What a request handler holds of its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct RawConnection(Arc<AtomicU8>);

impl RawConnection {
    /// No byte of an answer leaves; the connection is closed.
    pub(super) fn cut(&self) {
        self.0.store(CUT, Ordering::Release);
    }

    /// As [`Wire::cut`], with an RST in place of an orderly end.
    pub(super) fn reset(&self) {
        self.0.store(RESET, Ordering::Release);
    }

    /// The status line and the headers leave, no byte of the body.
    pub(super) fn cut_after_headers(&self) {
        self.0.store(CUT_AFTER_HEADERS, Ordering::Release);
    }
}

pub(super) struct WiredListener(pub(super) TcpListener);

impl Listener for WiredListener {
    type Io = WiredStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WiredStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        (WiredStream { stream, wire: RawConnection::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, WiredListener>> for RawConnection {
    fn connect_info(stream: IncomingStream<'_, WiredListener>) -> Self {
        stream.io().wire.clone()
    }
}

pub(super) struct WiredStream {
    stream: TcpStream,
    wire: RawConnection,
}

impl AsyncRead for WiredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// Not vectored, so that headers and body arrive in one buffer, where the end of the headers can be found.
impl AsyncWrite for WiredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.wire.0.load(Ordering::Acquire) {
            CUT => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            RESET => {
                self.stream.set_zero_linger()?;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            CUT_AFTER_HEADERS => {
                let end = buf.windows(4).position(|four| four == b"\r\n\r\n").map_or(buf.len(), |at| at + 4);
                let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..end]))?;
                if written == end {
                    self.wire.cut();
                }
                Poll::Ready(Ok(written))
            }
            _ => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
