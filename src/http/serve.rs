//! Serves HTTP/1.1 to strangers. Each connection has a place: it says how long the connection may
//! live, and who gives way where there are too many.

use super::{
    ServerLimits,
    console::Peer,
    places::{ConnectionPlace, ConnectionPlaces},
};
use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderValue, Request, StatusCode, header::CONNECTION},
};
use hyper::{
    body::{Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The head of a request has no more, and no more of a body is read ahead.
const READ_AHEAD_BYTES_MAX: usize = 16 * 1024;
/// Without a descriptor for it, a connection waits in the kernel; then it is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// It is logged no more often than this.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Serves until the token is cancelled, then finishes what is under way; the limits bound that too.
pub async fn serve(listener: TcpListener, limits: ServerLimits, router: Router, stop: CancellationToken) {
    let places = ConnectionPlaces::new(limits);
    let connections = TaskTracker::new();
    let accepting = async {
        let mut complained = None;
        loop {
            let stream = accept(&listener, &places, &mut complained).await;
            let place = places.enter().await;
            connections.spawn(connection(stream, place, router.clone(), stop.clone()));
        }
    };
    let _: Option<()> = stop.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &ConnectionPlaces,
    complained: &mut Option<Instant>,
) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is small, and its peer waits for it.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            // It ended before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                places.make_room();
                if complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                    *complained = Some(Instant::now());
                    tracing::warn!(%error, "a connection cannot be accepted; another one is closed for it");
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, place: Arc<ConnectionPlace>, router: Router, stop: CancellationToken) {
    let peer = stream.peer_addr().map(|peer| Peer(peer.ip())).ok();
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        if request.body().is_end_stream() {
            place.finished();
        }
        request.extensions_mut().insert(Arc::clone(&place));
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answer = router.call(request);
        async {
            let mut answer = answer.await?;
            // Who was refused comes again on a connection of its own: a place is no stranger's to keep.
            if answer.status() != StatusCode::OK {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer.map(|body| AnswerBody::new(body, Arc::clone(&place))))
        }
    });
    let (written, streamed) = (false, false);
    let io = TokioIo::new(CountedStream { stream, place: Arc::clone(&place), written, streamed });
    let serving = http1::Builder::new().max_buf_size(READ_AHEAD_BYTES_MAX).serve_connection(io, service);
    tokio::pin!(serving);
    let mut stopping = false;
    loop {
        tokio::select! {
            // A connection that fails ends alone.
            _ = serving.as_mut() => return,
            () = place.given_up() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The body of an answer, which tells its connection's place when it has ended.
struct AnswerBody {
    body: Body,
    place: Arc<ConnectionPlace>,
}

impl AnswerBody {
    fn new(body: Body, place: Arc<ConnectionPlace>) -> Self {
        place.streams(!body.is_end_stream());
        Self { body, place }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.place.streams(false);
    }
}

/// A connection that tells its place what comes and goes.
struct CountedStream {
    stream: TcpStream,
    place: Arc<ConnectionPlace>,
    /// Something since the last flush.
    written: bool,
    /// The last flush was a part of an answer.
    streamed: bool,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.place.received(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// HTTP flushes when all that there is of the answer is with the kernel. Its body has ended by then, or streams on.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let written = std::mem::take(&mut self.written);
        if self.place.is_streaming() {
            self.streamed = true;
            if written {
                self.place.goes_on();
            }
        } else if std::mem::take(&mut self.streamed) || written {
            self.place.answered();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
