//! The only HTTP server: for probes and metrics (`admin`), for notifications (`ingress`), and for people (`console`). A
//! bound server keeps its limits itself; a router only says what is answered.

pub mod admin;
mod ask;
pub mod console;
pub mod ingress;
mod places;
mod serve;

pub use ask::{Answered, ask, ask_all};

use crate::{metric::PanicIn, panics::caught};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What one server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// At one time. For a further one another gives way.
    pub connections: usize,
    /// Of all requests together that are not whole and verified, as they were received.
    pub unverified_bytes: usize,
    /// Of one request.
    pub body_bytes: usize,
    /// From a request's first byte to its last, head and body.
    pub request: Duration,
    /// For the handler, once the request is whole; then 503.
    pub answer: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// A path whose body is a file, and how long its handler may take.
    pub upload: Option<(&'static str, Duration)>,
}

impl ServerLimits {
    /// Strangers hold no more than half of the descriptors that the process may open.
    #[must_use]
    pub fn within(self, descriptors: u64) -> Self {
        let half = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
        Self { connections: self.connections.min(half).max(1), ..self }
    }
}

/// A server that has its port already.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    limits: ServerLimits,
}

impl BoundServer {
    /// Port 0 takes any free one.
    ///
    /// # Errors
    /// The address is not ours, or in use.
    pub async fn new(listen: SocketAddr, limits: ServerLimits) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, limits })
    }

    /// Where it listens, the port that was taken included.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled, then finishes what is under way; the limits bound that too.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let in_time = middleware::from_fn_with_state(self.limits, answer_in_time);
        let router = router.layer(middleware::from_fn(answer_after_panic)).layer(in_time);
        serve::serve(self.listener, self.limits, router, stop).await;
    }
}

async fn answer_in_time(State(limits): State<ServerLimits>, request: Request, next: Next) -> Response {
    let of_upload = limits.upload.filter(|(path, _)| *path == request.uri().path()).map(|(_, max)| max);
    // A handler may read the body itself.
    let max = of_upload.unwrap_or(limits.request + limits.answer);
    match tokio::time::timeout(max, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
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
