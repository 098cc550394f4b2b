//! The spans of a command's and a notification's trace, named and described by OpenTelemetry's conventions for
//! messaging and HTTP. They say which order and what became of it, never a body, a key or a customer.
//!
//! Where nothing is exported none is started, and nothing ever depends on one.

use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt, WithContext},
    global::BoxedTracer,
    trace::{
        SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    },
};
use std::{fmt::Display, future::Future, sync::OnceLock};

/// Of the exporter, once it has started.
pub(super) static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// One span, ended when it is dropped.
#[derive(Debug)]
pub struct Span {
    context: Option<Context>,
}

impl Span {
    /// The work on a delivery.
    pub fn process(queue: &str, traceparent: Option<&str>) -> Self {
        let parent = || parent(traceparent);
        Self::start(SpanKind::Consumer, parent, || {
            let what = queue.rsplit('.').next().unwrap_or(queue);
            (format!("{what} process"), messaging(queue, "process", "process"))
        })
    }

    /// An attempt that is not a delivery's: a resend or an inquiry, when its time has come.
    pub fn follow_up(kind: &'static str, traceparent: Option<&str>) -> Self {
        let attributes = || ("follow-up".to_owned(), vec![KeyValue::new("jenius.attempt.kind", kind)]);
        Self::start(SpanKind::Internal, || parent(traceparent), attributes)
    }

    /// A stranger's request; what it says of a trace is not believed.
    pub fn serve(method: &str, route: &str) -> Self {
        Self::start(SpanKind::Server, Context::new, || {
            let attributes = [("http.request.method", method), ("http.route", route)];
            (format!("{method} {route}"), texts(&attributes))
        })
    }

    /// A step of the story with the current span; nothing if there is none.
    pub fn step(name: &'static str) -> Self {
        Self::within(SpanKind::Internal, || (name.to_owned(), Vec::new()))
    }

    /// A request of ours. It carries no trace to DOKU.
    pub fn request(method: &str, host: Option<&str>, port: Option<u16>) -> Self {
        Self::within(SpanKind::Client, || {
            let host = host.unwrap_or_default();
            let mut attributes = texts(&[("http.request.method", method), ("server.address", host)]);
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
            (method.to_owned(), attributes)
        })
    }

    /// A message on its way to the broker, until its publish confirm.
    pub fn publish(exchange: &str, key: &str, id: impl Display, traceparent: Option<&str>) -> Self {
        let parent = || parent(traceparent);
        Self::start(SpanKind::Producer, parent, || {
            let what = exchange.rsplit('.').next().unwrap_or(exchange);
            let mut attributes = messaging(exchange, "publish", "send");
            let id = id.to_string();
            attributes.extend(texts(&[
                ("messaging.rabbitmq.destination.routing_key", key),
                ("messaging.message.id", &id),
            ]));
            (format!("{what} publish"), attributes)
        })
    }

    pub fn set_attribute(&self, key: &'static str, value: &str) {
        if let Some(context) = &self.context {
            context.span().set_attribute(KeyValue::new(key, value.to_owned()));
        }
    }

    pub fn status(&self, http_status: u16) {
        if let Some(context) = &self.context {
            let status = KeyValue::new("http.response.status_code", i64::from(http_status));
            context.span().set_attribute(status);
        }
    }

    pub fn failed(&self, error_type: &'static str) {
        if let Some(context) = &self.context {
            context.span().set_attribute(KeyValue::new("error.type", error_type));
            context.span().set_status(Status::error(error_type));
        }
    }

    /// For the next process of this trace.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.context.as_ref()?.span().span_context().clone();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        Some(format!("00-{trace}-{span}-{flags:02x}"))
    }

    /// The work that the span is about; it is current meanwhile.
    pub fn around<F: Future>(&self, work: F) -> Either<WithContext<F>, F> {
        match &self.context {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        }
    }

    fn within(kind: SpanKind, describe: impl FnOnce() -> (String, Vec<KeyValue>)) -> Self {
        if TRACER.get().is_some() && Context::map_current(TraceContextExt::has_active_span) {
            Self::start(kind, Context::current, describe)
        } else {
            Self { context: None }
        }
    }

    fn start(
        kind: SpanKind,
        parent: impl FnOnce() -> Context,
        describe: impl FnOnce() -> (String, Vec<KeyValue>),
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self { context: None } };
        let ((name, attributes), parent) = (describe(), parent());
        let span = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent);
        Self { context: Some(parent.with_span(span)) }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.context {
            context.span().end();
        }
    }
}

/// The trace that another process began; if there is none, the current one.
fn parent(traceparent: Option<&str>) -> Context {
    match traceparent.and_then(read) {
        Some(remote) => Context::new().with_remote_span_context(remote),
        None => Context::current(),
    }
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let [_version, trace, span, flags] = traceparent.split('-').collect::<Vec<_>>()[..] else { return None };
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

fn messaging(destination: &str, operation: &str, operation_type: &str) -> Vec<KeyValue> {
    texts(&[
        ("messaging.system", "rabbitmq"),
        ("messaging.destination.name", destination),
        ("messaging.operation.name", operation),
        ("messaging.operation.type", operation_type),
    ])
}

fn texts(pairs: &[(&'static str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_or_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = read(good).unwrap();
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!read(&good.replace("b7-01", "b7-00")).unwrap().is_sampled());
        for bad in ["", "00", "00-x-y-01", &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32))]
        {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn where_nothing_is_exported_nothing_is_started() {
        let span = Span::process("jenius.payments", None);
        assert_eq!(span.traceparent(), None);
        assert_eq!(span.around(async { 7 }).await, 7);
    }
}
