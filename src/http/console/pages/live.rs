//! Live: events as they pass. The page shows the latest events without a script; with it, what passes is put on top while
//! the page is in view. It is the only page that holds a connection.

use crate::{
    flow::ports::{EventFilter, EventView, LiveEvents, LiveRefusal, Operations},
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        words::{moment, order_link, text},
    },
    shown::Times,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use maud::{Markup, html};
use std::{convert::Infallible, time::Duration};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout},
};

const ROWS: u32 = 30;
/// A connection on which nothing goes is taken for dead by what lies between.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// The browser comes again after this time if a stream ends.
const RETRY: &str = "retry: 5000\n\n";
/// Then the browser comes again at once, and the guard judges it anew: its session may have ended, or its groups changed.
const STREAM_LASTS: Duration = Duration::from_secs(300);
const COME_AGAIN: &str = "retry: 500\n\n";

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let filter = EventFilter { limit: ROWS, ..EventFilter::default() };
    let latest = console.operations.events(&filter).await?.events;
    let times = console.times();
    let body = html! {
        p.lede { "Events as they pass, at most 50 a second. The stream rests while the page is not in view." }
        p.actions {
            span #live-state role="status" { "Without a script this page shows the latest events: load it again for newer ones." }
            button #live-pause type="button" hidden { "Pause" }
            a href="/live" { "Load again" }
        }
        br;
        (shown(&latest, times, console.setting.zone.name()))
    };
    Ok(page(&console, &visit, StatusCode::OK, "What happens now?", body).await)
}

fn shown(events: &[EventView], times: Times, zone: &str) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead {
                    tr {
                        th scope="col" { "Time (" (times.zone()) ")" } th scope="col" { "Type" } th scope="col" { "About" } th scope="col" { "Merchant" }
                        th.money scope="col" { "Amount" }
                    }
                }
                tbody #live data-stream="/live/stream" data-zone=(zone) {
                    @for event in events {
                        tr data-event=(event.event_id) {
                            td.when data-label="Time" { (moment(event.at, times)) }
                            td data-label="Type" { code { (text(&event.event_type)) } }
                            td data-label="About" {
                                @match (&event.merchant, &event.invoice_number) {
                                    (Some(merchant), Some(invoice)) if event.version.is_some() => {
                                        a.id href=(order_link(merchant, invoice)) { (text(invoice)) }
                                    }
                                    (_, invoice) => { span.id { (text(invoice.as_deref().unwrap_or_default())) } }
                                }
                            }
                            td data-label="Merchant" { (text(event.merchant.as_deref().unwrap_or_default())) }
                            td.money data-label="Amount" {}
                        }
                    }
                }
            }
        }
    }
}

pub async fn stream_events<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let viewer = visit.person.as_ref().map_or("", |person| person.name.as_str());
    Ok(match console.operations.live(viewer).await {
        Ok(live) => events(live, STREAM_LASTS),
        Err(LiveRefusal::Full) => (StatusCode::SERVICE_UNAVAILABLE, "every place is taken").into_response(),
        Err(LiveRefusal::Away(why)) => (StatusCode::SERVICE_UNAVAILABLE, text(&why)).into_response(),
    })
}

/// Server-sent events until the time is over, the process stops, the browser goes, or the broker ends it.
fn events(live: LiveEvents, lasts: Duration) -> Response {
    let begin = Some((live, Some(Bytes::from_static(RETRY.as_bytes()))));
    let until = Instant::now() + lasts;
    let lines = stream::unfold(begin, move |state: Option<(LiveEvents, Option<Bytes>)>| async move {
        let (mut live, first) = state?;
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), Some((live, None))));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some((Ok(Bytes::from_static(COME_AGAIN.as_bytes())), None));
        }
        let line = timeout(left.min(QUIET_MAX), live.lines.recv());
        let next = live.stop.clone().run_until_cancelled_owned(line).await?;
        let text = match next {
            Err(_) => ": quiet\n\n".to_owned(),
            Ok(Ok(line)) => format!("data: {line}\n\n"),
            Ok(Err(RecvError::Lagged(more))) => format!("data: {{\"more\":{more}}}\n\n"),
            Ok(Err(RecvError::Closed)) => return None,
        };
        Some((Ok(Bytes::from(text)), Some((live, None))))
    });
    let kind = HeaderValue::from_static("text/event-stream");
    ([(CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use tokio::sync::{Semaphore, broadcast};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn a_stream_ends_by_itself_and_has_its_browser_come_again() {
        let (sender, lines) = broadcast::channel(8);
        let place = || std::sync::Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let live = LiveEvents { lines, stop: CancellationToken::new(), places: [place(), place()] };
        // Lines that never pause keep it no longer.
        let busy = tokio::spawn(async move {
            while sender.send("{}".into()).is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let whole = to_bytes(events(live, Duration::from_millis(200)).into_body(), usize::MAX);
        let whole = timeout(Duration::from_secs(20), whole).await.expect("the stream to end").unwrap();
        let text = String::from_utf8(whole.to_vec()).unwrap();
        assert!(text.starts_with(RETRY) && text.contains("data: {}"), "{text}");
        assert!(text.ends_with(COME_AGAIN), "{text}");
        busy.await.unwrap();
    }
}
