//! Where DOKU's notifications come in: verified over the raw bytes, published with a confirm, answered. What
//! they say is not read here: DOKU must have its answer in milliseconds.
//!
//! Never: 200 before the publish confirm; more work than a signature check for a request nobody signed.

use super::{Limits, places::Place};
use crate::{
    crash::{self, Point},
    domain::notification::{MissingHeader, NotAuthentic, SignedHeaders},
    flow::ports::{NotificationPublisher, NotificationReader, Published, ReceivedNotification},
    metric::{self, Received, Refusal},
    telemetry::span::Span,
};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{ALLOW, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// DOKU opens few connections and sends little; strangers may open many and send nothing.
pub const LIMITS: Limits = Limits {
    connections: 4096,
    unverified_bytes: 64 * 1024 * 1024,
    body_bytes: 256 * 1024,
    request: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    // Longer than the 60 s of a load balancer: the side that sends requests must be the one that closes.
    idle: Duration::from_secs(75),
};

/// A chunk of a longer body has room for so much at least: a byte at a time makes few chunks.
const CHUNK_BYTES: usize = 4 * 1024;

/// What the ingress works with.
pub struct Ingress<R, P> {
    /// The notification path and its previous ones.
    pub paths: Vec<String>,
    pub reader: R,
    pub publisher: P,
}

/// Why a request is not taken.
enum NotTaken {
    /// A GET there is nobody's notification.
    AnotherPath {
        is_post: bool,
    },
    AnotherMethod,
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    HeaderMissing(MissingHeader),
    NoBody(String),
    NotAuthentic(NotAuthentic),
    BrokerAway,
}

/// Answers every path and method itself, in the contract's order.
pub fn router<R: NotificationReader, P: NotificationPublisher>(ingress: Ingress<R, P>) -> Router {
    Router::new().fallback(answer::<R, P>).with_state(Arc::new(ingress))
}

async fn answer<R: NotificationReader, P: NotificationPublisher>(
    State(ingress): State<Arc<Ingress<R, P>>>,
    request: Request,
) -> Response {
    match ingress.receive(request).await {
        Ok(()) => {
            metric::notification_received_by_ingress(Received::Accepted);
            (StatusCode::OK, [(CONTENT_TYPE, "application/json")], "{}").into_response()
        }
        Err(not_taken) => not_taken.into_response(),
    }
}

impl<R: NotificationReader, P: NotificationPublisher> Ingress<R, P> {
    async fn receive(&self, request: Request) -> Result<(), NotTaken> {
        // 1 Where to, and how; a query string is ignored.
        let path = request.uri().path();
        if !self.paths.iter().any(|served| served == path) {
            return Err(NotTaken::AnotherPath { is_post: request.method() == Method::POST });
        }
        if request.method() != Method::POST {
            return Err(NotTaken::AnotherMethod);
        }
        let request_target = path.to_owned();
        let span = Span::serve("POST", &request_target);
        let taken = span.around(self.take(request_target, request)).await;
        span.status(taken.as_ref().err().map_or(StatusCode::OK, NotTaken::status).as_u16());
        taken
    }

    async fn take(&self, request_target: String, request: Request) -> Result<(), NotTaken> {
        // 2 The raw bytes, within their limits.
        let headers = signed_headers(request.headers());
        let place = request.extensions().get::<Arc<Place>>().cloned();
        let until =
            place.as_ref().map_or_else(|| Instant::now() + LIMITS.request, |place| place.body_until());
        let body = timeout_at(until, whole(request.into_body())).await.unwrap_or(Err(NotTaken::TooSlow))?;
        // 3 Something to verify.
        let headers = headers.map_err(NotTaken::HeaderMissing)?;
        if body.is_empty() {
            return Err(NotTaken::NoBody("the body is empty".to_owned()));
        }
        // 4 Whose is it? Nobody's costs no more than this.
        self.reader.verify(&headers, &body).map_err(NotTaken::NotAuthentic)?;
        if let Some(place) = place {
            place.finished();
        }
        crash::point(Point::BeforePublish).await;
        // 5 On the broker, confirmed. If we die before the answer, DOKU sends it again.
        let received = ReceivedNotification { request_target, headers, body };
        let published = self.publisher.publish_notification(&received).await;
        crash::point(Point::AfterPublish).await;
        match published {
            Published::Confirmed => Ok(()),
            Published::Unconfirmed => Err(NotTaken::BrokerAway),
        }
    }
}

/// The whole body. What came is copied together: a body in a thousand pieces would hold the buffers of all of them. It is
/// kept in chunks until it is whole: a buffer that doubles would hold twice of what came, for thousands of strangers.
async fn whole(body: Body) -> Result<Bytes, NotTaken> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > LIMITS.body_bytes {
        return Err(NotTaken::TooLarge);
    }
    // A length need not be announced.
    let room = if announced > 0 { announced.min(CHUNK_BYTES) } else { CHUNK_BYTES };
    let mut pieces = body.into_data_stream();
    let (mut chunks, mut length): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| NotTaken::NoBody("the body is not whole".to_owned()))?;
        length += piece.len();
        if length > LIMITS.body_bytes {
            return Err(NotTaken::TooLarge);
        }
        match chunks.last_mut().filter(|last| last.capacity() - last.len() >= piece.len()) {
            Some(last) => last.extend_from_slice(&piece),
            None => {
                let mut chunk = Vec::with_capacity(piece.len().max(room));
                chunk.extend_from_slice(&piece);
                chunks.push(chunk);
            }
        }
    }
    // Most bodies are one chunk.
    let only = if chunks.len() == 1 { chunks.pop() } else { None };
    Ok(only.unwrap_or_else(|| chunks.concat()).into())
}

fn signed_headers(headers: &HeaderMap) -> Result<SignedHeaders, MissingHeader> {
    SignedHeaders::read(|name| headers.get(name).and_then(|value| value.to_str().ok()))
}

impl NotTaken {
    fn status(&self) -> StatusCode {
        match self {
            Self::AnotherPath { .. } => StatusCode::NOT_FOUND,
            Self::AnotherMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeaderMissing(_) | Self::NoBody(_) => StatusCode::BAD_REQUEST,
            Self::NotAuthentic(_) => StatusCode::UNAUTHORIZED,
            Self::BrokerAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `None` for what was never meant for us.
    fn counted(&self) -> Option<Received> {
        match self {
            Self::AnotherPath { .. } | Self::AnotherMethod => None,
            Self::TooLarge | Self::TooSlow | Self::HeaderMissing(_) | Self::NoBody(_) => {
                Some(Received::Malformed)
            }
            Self::NotAuthentic(_) => Some(Received::NotAuthentic),
            Self::BrokerAway => Some(Received::Unavailable),
        }
    }

    /// `None` where the fault is ours, and for what asks and reports nothing: probes, `doctor`. A POST to another path may
    /// be a wrong URL in DOKU's back office.
    fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::AnotherPath { is_post } => is_post.then_some(Refusal::AnotherPath),
            Self::AnotherMethod => None,
            Self::TooLarge => Some(Refusal::TooLarge),
            Self::TooSlow => Some(Refusal::TooSlow),
            Self::HeaderMissing(_) => Some(Refusal::HeaderMissing),
            Self::NoBody(_) => Some(Refusal::Malformed),
            Self::NotAuthentic(why) => Some((*why).into()),
            Self::BrokerAway => None,
        }
    }

    fn says(&self) -> String {
        match self {
            Self::AnotherPath { .. } => "no notifications are taken at this path".to_owned(),
            Self::AnotherMethod => "POST is allowed".to_owned(),
            Self::TooLarge => "at most 256 KiB are allowed".to_owned(),
            Self::TooSlow => "the body did not come in time".to_owned(),
            Self::HeaderMissing(which) => which.to_string(),
            Self::NoBody(what) => what.clone(),
            // Which of the two is nothing for a stranger to learn.
            Self::NotAuthentic(_) => "the signature or the Client-Id is wrong".to_owned(),
            Self::BrokerAway => "not taken: send it again".to_owned(),
        }
    }
}

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        if let Some(counted) = self.counted() {
            metric::notification_received_by_ingress(counted);
        }
        if let Some(refusal) = self.refusal() {
            metric::notification_refused_by_ingress(refusal);
        }
        let body = serde_json::json!({ "error": self.says() }).to_string();
        let mut response = (self.status(), [(CONTENT_TYPE, "application/json")], body).into_response();
        if matches!(self, Self::AnotherMethod) {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
