//! Bounds what a connection may cost: how many there are, and how long one may take to say something.
//! `axum::serve` sets no timer, so a peer that sends a byte now and then would keep its connection forever.

use super::Limits;
use axum::serve::Listener;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

pub struct BoundedListener {
    listener: TcpListener,
    limits: Limits,
    connections: Arc<Semaphore>,
}

impl BoundedListener {
    pub fn new(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, limits, connections: Arc::new(Semaphore::new(limits.connections)) }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; were it, one more connection does no harm.
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (BoundedStream::new(stream, permit, self.limits), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its peer is too slow. Reading more of a request does not give it more
/// time; only an answer does.
pub struct BoundedStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// Bytes of a request came that no answer followed yet.
    in_request: bool,
    limits: Limits,
    _permit: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    fn new(stream: TcpStream, permit: Option<OwnedSemaphorePermit>, limits: Limits) -> Self {
        let deadline = Box::pin(sleep_until(Instant::now() + limits.request));
        Self { stream, deadline, in_request: false, limits, _permit: permit }
    }

    fn too_slow<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            return self.too_slow(cx);
        }
        self.in_request = false;
        self.deadline.as_mut().reset(Instant::now() + self.limits.idle);
        written
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() && !self.in_request {
            self.in_request = true;
            let until = Instant::now() + self.limits.request + self.limits.answer;
            self.deadline.as_mut().reset(until);
        }
        if self.deadline.is_elapsed() || read.is_pending() { self.too_slow(cx) } else { read }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
