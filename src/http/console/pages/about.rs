//! About: which version runs where, on which schema, with which configuration. Never a secret.

use crate::{
    flow::ports::{AboutView, Operations, ProcessView, SchemaView},
    http::console::{
        PageAnswer, Shared, Visit,
        layout::page,
        words::{ago, text},
    },
    metric::REVISION,
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode};
use maud::{Markup, html};

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let about = console.operations.about().await;
    let times = console.times();
    let body = html! {
        div.sheet {
            dl.facts {
                dt { "Version" } dd { "jenius-pay " (env!("CARGO_PKG_VERSION")) }
                dt { "Revision" } dd { span.id { (REVISION) } }
                dt { "Schema" } dd { (schema(&about)) }
            }
        }
        h2 { "Processes that run" }
        @match &about.processes {
            Ok(processes) => { (processes_of(processes, times)) }
            Err(why) => { div.note.bad role="status" { p { (text(why)) } } }
        }
        h2 { "Configuration of this process" }
        (config(&about))
    };
    Ok(page(&console, &visit, StatusCode::OK, "What runs here?", body).await)
}

fn schema(about: &AboutView) -> Markup {
    html! {
        @match &about.migrations {
            Ok(SchemaView { known, applied }) if applied > known => {
                (applied) " migrations, of which this version knows " (known) ": a newer version runs too"
            }
            Ok(SchemaView { known, applied }) if applied < known => {
                strong { (applied) " of " (known) " migrations" } ": run " code { "jenius-pay migrate" }
            }
            Ok(SchemaView { applied, .. }) => { (applied) " migrations, all of this version" }
            Err(why) => { "not known: " (text(why)) }
        }
    }
}

pub fn processes_of(processes: &[ProcessView], times: Times) -> Markup {
    html! {
        @if processes.is_empty() { div.empty { p { "No process has reported yet. Each reports once a minute." } } }
        @else {
            div.table {
                table.stacks {
                    thead {
                        tr {
                            th scope="col" { "Host" } th scope="col" { "Roles" } th scope="col" { "Version" } th scope="col" { "Started" }
                            th scope="col" { "Seen" }
                        }
                    }
                    tbody {
                        @for process in processes {
                            tr {
                                td data-label="Host" { span.id { (text(&process.host)) } }
                                td data-label="Roles" { (process.roles.iter().map(|role| text(role)).collect::<Vec<_>>().join(", ")) }
                                td data-label="Version" { (text(&process.version)) ", " span.id { (text(&process.revision)) } }
                                td.when data-label="Started" { (ago(process.started_at, times)) }
                                td.when data-label="Seen" { (ago(process.seen_at, times)) }
                            }
                        }
                    }
                }
            }
            p.quiet.small { "Each reports once a minute. A process with the role ingress alone has no database, and does not report." }
        }
    }
}

fn config(about: &AboutView) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "From" } } }
                tbody {
                    @for (key, value, origin) in &about.config {
                        tr {
                            td data-label="Key" { span.id { (text(key)) } }
                            td data-label="Value" { (text(value.as_deref().unwrap_or("–"))) }
                            td.quiet data-label="From" { (text(origin.as_deref().unwrap_or_default())) }
                        }
                    }
                }
            }
        }
    }
}
