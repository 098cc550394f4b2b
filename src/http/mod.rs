//! The only HTTP server: for operators (`admin`), and for notifications. A bound server keeps its limits
//! itself; a router only says what is answered.

pub mod admin;
mod ask;
pub mod ingress;
mod listener;

pub use ask::{Answered, ask};

use crate::{metric::PanicIn, panics::caught};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use listener::BoundedListener;
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

/// What one server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Further connections wait to be accepted.
    pub connections: usize,
    /// For a handler that reads the body; others never see it.
    pub body_bytes: usize,
    /// From a request's first byte to its last, head and body.
    pub request: Duration,
    /// For the handler; then 503.
    pub answer: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
}

/// A server whose port is taken already.
pub struct Bound {
    listener: BoundedListener,
    address: SocketAddr,
    limits: Limits,
}

impl Bound {
    /// Port 0 takes any free one.
    ///
    /// # Errors
    /// The address is not ours, or in use.
    pub async fn new(listen: SocketAddr, limits: Limits) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener: BoundedListener::new(listener, limits), address, limits })
    }

    /// Where it listens, the port that was taken included.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled, then finishes what is under way; the limits bound that too.
    ///
    /// # Errors
    /// None that is known: a connection that fails ends alone.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let router = router
            .layer(middleware::from_fn(answer_after_panic))
            .layer(DefaultBodyLimit::max(self.limits.body_bytes))
            .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, self.limits.answer));
        axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// A panic costs its own request; DOKU sends a notification again that is answered so.
async fn answer_after_panic(request: Request, next: Next) -> Response {
    let answered = caught(PanicIn::Request, next.run(request)).await;
    answered.unwrap_or_else(|| {
        tracing::error!("the task of a request panicked; the answer is 500");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}
