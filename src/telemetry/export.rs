//! Where spans go: OTLP over HTTP, in batches, from a thread of its own. A collector that is away costs the
//! spans and nothing else: what finishes a span never waits, and a full queue drops it.

use super::{LogError, span::TRACER};
use opentelemetry::{global::BoxedTracer, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Handle;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SCOPE: &str = "jenius-pay";
/// One batch, all of it.
const EXPORT_MAX: Duration = Duration::from_secs(5);
/// What a collector says of a batch is short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// At the end of the process: what is not taken by then is lost.
const FLUSH_MAX: Duration = Duration::from_secs(2);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts to export, where the environment names an endpoint. Sampling, limits and the service's name are
/// configured by OpenTelemetry's own variables.
///
/// # Errors
/// The endpoint is no URL.
pub fn start(runtime: Handle) -> Result<(), LogError> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let Some(variable) = ENDPOINTS.iter().find(|name| is_set(name)) else { return Ok(()) };
    let problem = |problem: String| LogError::Setting { variable, problem };
    let collector = Collector::new(runtime).map_err(|e| problem(e.to_string()))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(collector)
        .with_timeout(EXPORT_MAX)
        .build()
        .map_err(|e| problem(format!("{e}; allowed: the http(s) URL of an OTLP collector")))?;
    let mut resource = Resource::builder();
    if !is_set(&SERVICE_NAME) && !is_set(&RESOURCE) {
        resource = resource.with_service_name(SCOPE);
    }
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let tracer = BoxedTracer::new(Box::new(provider.tracer(SCOPE)));
    // A second start finds the first one's; its own exporter ends with it.
    if PROVIDER.set(provider).is_ok() {
        let _ = TRACER.set(tracer);
    }
    Ok(())
}

/// Sends what is not sent yet, within a bound. Before the runtime ends.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && provider.shutdown_with_timeout(FLUSH_MAX).is_err()
    {
        tracing::warn!("the last traces were not taken in time");
    }
}

/// The exporter's thread knows no runtime: its requests are made by ours.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    is_away: AtomicBool,
}

impl Collector {
    fn new(runtime: Handle) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(EXPORT_MAX)
            .build()?;
        Ok(Self { http, runtime, is_away: AtomicBool::new(false) })
    }

    /// Logged once, when it goes and when it comes back: batches follow each other every few seconds.
    fn note(&self, fault: Option<&str>) {
        let was_away = self.is_away.swap(fault.is_some(), Ordering::Relaxed);
        match fault {
            Some(fault) if !was_away => {
                tracing::warn!(fault, "the collector of traces is away: they are lost")
            }
            None if was_away => tracing::info!("the collector of traces is back"),
            Some(_) | None => {}
        }
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'this, 'sent>(&'this self, request: Request<Bytes>) -> Sent<'sent>
    where
        'this: 'sent,
        Self: 'sent,
    {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move { send(&http, request).await });
        Box::pin(async move {
            let answer = sending.await.map_err(HttpError::from).and_then(|answer| answer);
            let fault = match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("HTTP {}", answer.status().as_u16())),
                Err(error) => Some(error.to_string()),
            };
            self.note(fault.as_deref());
            answer
        })
    }
}

async fn send(http: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
    let mut answer = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err("the collector's answer is too long".into());
        }
    }
    Ok(Response::builder().status(answer.status()).body(Bytes::from(body))?)
}
