//! Traces, as a collector gets them: one from the upstream's `traceparent` to the event, and another from a
//! notification's request to its order. A collector that is away holds nothing up.
#![cfg(feature = "otel")]

use crate::harness::{
    World,
    child::Service,
    commands::payment_with,
    eventually, free_port,
    world::{PATH, assert_no_canary},
};
use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UPSTREAM: &str = "00f067aa0ba902b7";

#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let take = |State(taken): State<Self>, body: Bytes| async move {
            taken.requests.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, url)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|spans| &spans.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    fn named(&self, name: &str, trace: &str) -> Span {
        let spans = self.spans();
        let found = spans.iter().find(|span| span.name == name && hex(&span.trace_id) == trace);
        found.unwrap_or_else(|| panic!("no {name} in {trace}: {spans:#?}")).clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|a| a.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} of {}: {other:?}", span.name),
    }
}

/// A service of its own process, that exports to an endpoint.
async fn service(world: &mut World, endpoint: &str) -> Service {
    let port = free_port();
    let ingress = format!("127.0.0.1:{port}");
    for (name, value) in [
        ("JENIUS_PAY__INGRESS__LISTEN", ingress.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_SERVICE_NAME", "pay-of-the-test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ] {
        world.settings.insert(name.to_owned(), value.to_owned());
    }
    world.sandbox.set_notify_url(Some(&format!("http://{ingress}{PATH}"))).unwrap();
    Service::start(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_command_to_the_event_and_one_from_the_notification_to_its_order() {
    let mut world = World::with().set("CHECK__FIRST_AFTER_MS", 3_600_000).without_service().build().await;
    let (collector, endpoint) = Collector::start().await;
    let mut service = service(&mut world, &endpoint).await;
    let invoice = world.invoice();
    let traceparent = format!("00-{TRACE}-{UPSTREAM}-01");
    world.publish(&payment_with(&invoice, "429:0").with("traceparent", traceparent.as_str())).await;
    let accepted = world.event(&invoice, "payment.accepted").await;
    world.event(&invoice, "order.paid").await;
    service.signal("-TERM");
    assert!(service.ended(Duration::from_secs(20)).await.success());

    // The event carries the same trace, in its attribute and its header.
    assert_eq!(accepted.body["traceparent"], traceparent);
    assert_eq!(accepted.traceparent.as_deref(), Some(traceparent.as_str()));
    let process = collector.named("payments process", TRACE);
    assert_eq!(hex(&process.parent_span_id), UPSTREAM);
    for name in ["claim", "POST", "record"] {
        let step =
            collector.spans().into_iter().find(|s| s.name == name && s.parent_span_id == process.span_id);
        assert!(step.is_some(), "{name}: {:#?}", collector.spans());
    }
    // The resend, when its time had come.
    let follow_up = collector.named("follow-up", TRACE);
    assert_eq!(hex(&follow_up.parent_span_id), UPSTREAM);
    assert!(collector.spans().iter().any(|s| s.name == "POST" && s.parent_span_id == follow_up.span_id));
    let queue = format!("{}.payments", world.broker.prefix);
    let publish = collector.named("events publish", TRACE);
    let request = collector.named("POST", TRACE);
    for (span, key, value) in [
        (&process, "messaging.system", "rabbitmq"),
        (&process, "messaging.destination.name", queue.as_str()),
        (&process, "messaging.operation.type", "process"),
        (&process, "jenius.invoice_number", invoice.as_str()),
        (&request, "http.request.method", "POST"),
        (&request, "http.response.status_code", "429"),
        (&request, "server.address", "127.0.0.1"),
        (&publish, "messaging.operation.type", "send"),
    ] {
        assert_eq!(attribute(span, key), value, "{key}");
    }

    let served = collector.spans().into_iter().find(|s| s.name == format!("POST {PATH}")).unwrap();
    let trace = hex(&served.trace_id);
    let published = collector.named("notifications publish", &trace);
    let reconciled = collector.named("notifications process", &trace);
    assert_eq!(published.parent_span_id, served.span_id);
    assert_eq!(reconciled.parent_span_id, published.span_id);
    assert_eq!(collector.named("reconcile", &trace).parent_span_id, reconciled.span_id);
    assert_eq!(attribute(&served, "http.response.status_code"), "200");

    let everything = format!("{:?}", collector.requests.lock().unwrap());
    assert!(everything.contains("pay-of-the-test"));
    assert_no_canary("a trace", &everything);
    world.end().await;
}

/// What follows hours later belongs to the trace that was begun here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_a_trace_begins_one() {
    let mut world = World::with().without_service().build().await;
    let (collector, endpoint) = Collector::start().await;
    let service = service(&mut world, &endpoint).await;
    let invoice = world.invoice();
    world.publish(&crate::harness::payment(&invoice)).await;
    let accepted = world.event(&invoice, "payment.accepted").await;
    let traceparent = accepted.traceparent.unwrap();
    let trace = traceparent.split('-').nth(1).unwrap();
    eventually("the event's span", async || {
        collector
            .spans()
            .iter()
            .any(|s| s.name == "events publish" && hex(&s.trace_id) == trace)
            .then_some(())
    })
    .await;
    assert!(collector.named("payments process", trace).parent_span_id.is_empty());
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_nothing_up() {
    let mut world = World::with().without_service().build().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = service(&mut world, &format!("http://{}", silent.local_addr().unwrap())).await;
    let invoice = world.invoice();
    world.publish(&crate::harness::payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    let stopped = Instant::now();
    service.signal("-TERM");
    assert!(service.ended(Duration::from_secs(20)).await.success());
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    world.end().await;
}
