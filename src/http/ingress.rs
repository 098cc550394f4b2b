//! Where DOKU's notifications come in, in either form: verified over the raw bytes, published with a confirm, answered.
//! What they say of an order is not judged here: DOKU must have its answer in milliseconds. Beside them DOKU fetches
//! the bearer tokens of the SNAP form here.
//!
//! Never: 200 before the publish confirm; more work than a signature check for a request without a right signature.

mod answers;

use super::{ServerLimits, places::ConnectionPlace};
use crate::{
    domain::signed::{Form, HeaderOccurrence, MissingHeader, SignedHeaders},
    failpoint::{Failpoint, failpoint},
    flow::ports::{
        NotificationPublisher, NotificationReader, Published, ReceivedNotification, ReportOf, TokenIssuer,
        TokenRequest,
    },
    metric::{self, NotificationRole, Received},
    telemetry::span::Span,
};
use answers::{NotTaken, taken, token_issued, token_refused};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use bytes::Bytes;
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// DOKU opens few connections and sends little; strangers may open many and send nothing.
pub const LIMITS: ServerLimits = ServerLimits {
    connections: 4096,
    unverified_bytes: 64 * 1024 * 1024,
    body_bytes: 256 * 1024,
    request: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    // Longer than the 60 s of a load balancer: the side that sends requests must be the one that closes.
    idle: Duration::from_secs(75),
    upload: None,
};

/// A chunk of a longer body has room for so much at least: a byte at a time makes few chunks.
const CHUNK_BYTES: usize = 4 * 1024;

/// Of a token request: who asks, when, and the signature of both.
const TOKEN_HEADERS: [&str; 3] = ["X-CLIENT-KEY", "X-TIMESTAMP", "X-SIGNATURE"];
/// Longer ones are not DOKU's.
const TOKEN_HEADER_BYTES_MAX: usize = 2048;

/// What the ingress works with.
pub struct Ingress<R, P, T> {
    /// The notification path and its previous ones.
    pub paths: Vec<String>,
    pub reader: R,
    pub publisher: P,
    pub tokens: T,
}

/// Answers every path and method itself; the first check that fails decides the answer.
pub fn router<R, P, T>(ingress: Ingress<R, P, T>) -> Router
where
    R: NotificationReader,
    P: NotificationPublisher,
    T: TokenIssuer,
{
    Router::new().fallback(answer::<R, P, T>).with_state(Arc::new(ingress))
}

async fn answer<R: NotificationReader, P: NotificationPublisher, T: TokenIssuer>(
    State(ingress): State<Arc<Ingress<R, P, T>>>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let is_for_tokens = ingress.tokens.path() == Some(path) && !ingress.takes(path);
    if is_for_tokens {
        return ingress.give_token(request).await;
    }
    let form = Form::from_headers(header_of(request.headers()));
    match ingress.receive(request).await {
        Ok(report_of) => {
            metric::notification_received_by_ingress(Received::Accepted);
            taken(form, report_of)
        }
        Err(not_taken) => not_taken.answer(form),
    }
}

impl<R: NotificationReader, P: NotificationPublisher, T: TokenIssuer> Ingress<R, P, T> {
    fn takes(&self, path: &str) -> bool {
        self.paths.iter().any(|served| served == path)
    }

    async fn receive(&self, request: Request) -> Result<ReportOf, NotTaken> {
        // 1 Where to, and how; a query string is ignored.
        let path = request.uri().path();
        if !self.takes(path) {
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

    async fn take(&self, request_target: String, request: Request) -> Result<ReportOf, NotTaken> {
        // 2 The raw bytes, within their limits.
        let headers = SignedHeaders::read(header_of(request.headers()));
        let (place, body) = read_whole(request).await?;
        // 3 Something to verify.
        let headers = headers.map_err(NotTaken::HeaderMissing)?;
        if body.is_empty() {
            return Err(NotTaken::BodyMissing("the body is empty".to_owned()));
        }
        // 4 Verify. A stranger's request costs no more than this.
        let report_of = {
            let verified = self.reader.verify(&headers, &body).map_err(NotTaken::NotAuthentic)?;
            self.reader.report_of(&verified)
        };
        metric::notification_verified(NotificationRole::Ingress, headers.form());
        if let Some(place) = place {
            place.finished();
        }
        failpoint(Failpoint::BeforePublish).await;
        // 5 On the broker, confirmed. If we die before the answer, DOKU sends it again.
        let received = ReceivedNotification { request_target, headers, body };
        let published = self.publisher.publish_notification(&received).await;
        failpoint(Failpoint::AfterPublish).await;
        match published {
            Published::Confirmed => Ok(report_of),
            Published::Refused | Published::Unconfirmed => Err(NotTaken::BrokerAway),
        }
    }

    /// Answers a token request. What its body says is not signed, and not read.
    async fn give_token(&self, request: Request) -> Response {
        if request.method() != Method::POST {
            return NotTaken::AnotherMethod.answer_uncounted(Form::Snap);
        }
        let asked = token_request(request.headers());
        let place = match read_whole(request).await {
            Ok((place, _)) => place,
            Err(not_taken) => return not_taken.answer_uncounted(Form::Snap),
        };
        match asked.ok().and_then(|asked| self.tokens.issue(&asked)) {
            Some((token, life_seconds)) => {
                if let Some(place) = place {
                    place.finished();
                }
                token_issued(&token, life_seconds)
            }
            None => token_refused(),
        }
    }
}

fn token_request(headers: &HeaderMap) -> Result<TokenRequest, MissingHeader> {
    let of = header_of(headers);
    let read = |name: &'static str| {
        let found = of(name).usable(TOKEN_HEADER_BYTES_MAX).map(str::to_owned);
        found.ok_or(MissingHeader(name))
    };
    let [client_id, timestamp, signature] = TOKEN_HEADERS;
    Ok(TokenRequest { client_id: read(client_id)?, timestamp: read(timestamp)?, signature: read(signature)? })
}

/// The whole body, and the place of its connection.
async fn read_whole(request: Request) -> Result<(Option<Arc<ConnectionPlace>>, Bytes), NotTaken> {
    let place = request.extensions().get::<Arc<ConnectionPlace>>().cloned();
    let until = place.as_ref().map_or_else(|| Instant::now() + LIMITS.request, |place| place.body_until());
    let body = timeout_at(until, collected(request.into_body())).await.unwrap_or(Err(NotTaken::TooSlow))?;
    Ok((place, body))
}

/// What came is copied together: a body in a thousand pieces would hold the buffers of all of them. It is
/// kept in chunks until it is whole: a buffer that doubles would hold twice of what came, for thousands of strangers.
async fn collected(body: Body) -> Result<Bytes, NotTaken> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > LIMITS.body_bytes {
        return Err(NotTaken::TooLarge);
    }
    // A length need not be announced.
    let room = if announced > 0 { announced.min(CHUNK_BYTES) } else { CHUNK_BYTES };
    let mut pieces = body.into_data_stream();
    let (mut chunks, mut length): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| NotTaken::BodyMissing("the body is not whole".to_owned()))?;
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

fn header_of<'a>(headers: &'a HeaderMap) -> impl Fn(&str) -> HeaderOccurrence<'a> {
    move |name: &str| {
        HeaderOccurrence::from_values(headers.get_all(name).iter().map(|value| value.to_str().ok()))
    }
}
