//! Dead letters: what died alike, one by one, and what a replay would do. No page looks into the queues by itself: a look is
//! counted by the broker, so a person asks for it.

use crate::{
    domain::console::Permission,
    flow::{
        ports::{LetterForecast, LetterPage, LetterWork, LettersView, Operations},
        view::letters::{LetterGroup, LetterView, groups},
    },
    http::console::{
        Console, PageAnswer, Shared, Visit,
        layout::page,
        pages::work::show_begun,
        params::link,
        refusal::PageRefusal,
        words::{action_field, ago, text},
    },
    shown::Times,
};
use axum::{Extension, extract::State, http::StatusCode, response::IntoResponse};
use maud::{Markup, html};

/// Rows of a page.
const GROUPS_SHOWN: usize = 50;
/// Letters of a group on its page, and of one piece of work.
const LETTERS_SHOWN: usize = 50;
const SEEN_AGAIN: PageRefusal = PageRefusal::Unknown(
    "The look that this page shows is over, or a newer one took its place. Open the dead letters again.",
);

pub async fn list<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let seen = console.operations.letters().await;
    let body = html! {
        p.lede { "Messages that could not be worked on (dead), or that reached no queue (unrouted)." }
        (looked(&console, &visit, seen.as_ref()))
        @if let Some(seen) = &seen {
            @if seen.letters.is_empty() { div.empty { p { strong { "No dead letters." } } p { "Both queues were empty." } } }
            @else { (grouped(seen, console.times())) }
        }
    };
    Ok(page(&console, &visit, StatusCode::OK, "What could not be worked on?", body).await)
}

/// When and who looked, and the button that looks.
fn looked<O: Operations>(console: &Console<O>, visit: &Visit, seen: Option<&LettersView>) -> Markup {
    let why_not = visit.refusal(Permission::Operate);
    html! {
        div.sheet {
            @match seen {
                Some(seen) => { p { "Looked at " (ago(seen.at, console.times())) " by " (text(&seen.by)) "." } }
                None => { p { "No look is kept. A look takes the letters out of their queues and gives them back, and RabbitMQ counts it: \
                              so it is made when a person asks for it, and kept for 15 minutes." } }
            }
            @for note in seen.map(|seen| seen.notes.as_slice()).unwrap_or_default() { p { strong { (text(note)) } } }
            form.actions action="/dead/look" method="post" {
                button.main[seen.is_none()] disabled[why_not.is_some()] { @if seen.is_some() { "Look again" } @else { "Look" } }
                @if let Some(why) = &why_not { span.quiet.small { (why) } }
            }
        }
    }
}

pub async fn look<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let person = visit.person.as_ref().ok_or(PageRefusal::NotKnown)?;
    match console.operations.look_at_letters(&person.audited()).await {
        Ok(()) => Ok((StatusCode::SEE_OTHER, [("location", "/dead")]).into_response()),
        Err(why) => {
            let body =
                html! { div.note.bad role="status" { p { (text(&why)) } } p { a href="/dead" { "Back" } } };
            Ok(page(&console, &visit, StatusCode::SERVICE_UNAVAILABLE, "The look failed", body).await)
        }
    }
}

fn grouped(seen: &LettersView, times: Times) -> Markup {
    let groups = groups(&seen.letters);
    let stamp = seen.at.timestamp_millis().to_string();
    html! {
        h2 { (letters(seen.letters.len())) ", by what they died of" }
        div.table {
            table.stacks {
                thead {
                    tr {
                        th.money scope="col" { "Letters" } th scope="col" { "Cause" } th scope="col" { "Type" }
                        th scope="col" { "Source" } th scope="col" { "Detail" } th scope="col" { "Oldest" }
                    }
                }
                tbody {
                    @for (number, group) in groups.iter().enumerate().take(GROUPS_SHOWN) {
                        @let href = link("/dead/group", &[("look", &stamp), ("group", &number.to_string())]);
                        tr {
                            td.money data-label="Letters" { (group.letters.len()) }
                            td data-label="Cause" {
                                a href=(href) { span.state.warn { i aria-hidden="true" { "▲" } (text(group.reason).replace('_', " ")) } }
                                @if group.replayed() > 0 { " " span.quiet.small { (group.replayed()) " died again" } }
                            }
                            td data-label="Type" { (text(group.event_type.unwrap_or("unknown"))) }
                            td.source data-label="Source" { span.id { (text(group.source.unwrap_or_default())) } }
                            td data-label="Detail" { (text(group.detail.unwrap_or_default())) }
                            td.when data-label="Oldest" { @if let Some(oldest) = group.oldest() { (ago(oldest, times)) } }
                        }
                    }
                }
            }
        }
        @if groups.len() > GROUPS_SHOWN { p.quiet { (groups.len() - GROUPS_SHOWN) " smaller groups are not shown: work these off first." } }
    }
}

/// The letters of one group, each to be chosen.
pub async fn group<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let seen = console.operations.letters().await.ok_or(SEEN_AGAIN)?;
    if visit.query.get("look") != Some(seen.at.timestamp_millis().to_string().as_str()) {
        return Err(SEEN_AGAIN);
    }
    let groups = groups(&seen.letters);
    let number = visit.query.get("group").and_then(|number| number.parse::<usize>().ok());
    let group = number.and_then(|number| groups.get(number)).ok_or(SEEN_AGAIN)?;
    let body = html! {
        p.lede { (letters(group.letters.len())) " died of " strong { (text(group.reason).replace('_', " ")) }
            @if let Some(detail) = group.detail { ": " (text(detail)) } }
        (choices(&visit, group, console.times()))
    };
    Ok(page(&console, &visit, StatusCode::OK, "Which of these?", body).await)
}

fn choices(visit: &Visit, group: &LetterGroup<'_>, times: Times) -> Markup {
    let (operate, decide) = (visit.refusal(Permission::Operate), visit.refusal(Permission::Decide));
    html! {
        form method="post" {
            div.table {
                table.stacks {
                    thead {
                        tr {
                            th scope="col" { "Chosen" } th scope="col" { "Letter" } th scope="col" { "Died" } th scope="col" { "Command" }
                            th scope="col" { "Queue" } th.money scope="col" { "Bytes" } th scope="col" { "Before" }
                        }
                    }
                    tbody {
                        @for letter in group.letters.iter().take(LETTERS_SHOWN) {
                            tr {
                                td data-label="Chosen" {
                                    input type="checkbox" name="id" value=(letter.id) checked aria-label={ "Choose " (text(&letter.id)) };
                                }
                                td.short data-label="Letter" { a.id href=(link("/dead/letter", &[("id", &letter.id)])) { (text(&letter.id)) } }
                                td.when data-label="Died" { @if let Some(at) = letter.at { (ago(at, times)) } }
                                td data-label="Command" { span.id { (text(letter.command_id.as_deref().unwrap_or_default())) } }
                                td data-label="Queue" { (letter.queue) }
                                td.money data-label="Bytes" { (letter.bytes) }
                                td data-label="Before" { (before(letter)) }
                            }
                        }
                    }
                }
            }
            @if group.letters.len() > LETTERS_SHOWN {
                p.quiet { "These are the first " (LETTERS_SHOWN) "; the others follow when they are worked off." }
            }
            p.actions {
                button.main formaction="/dead/replay/confirm" disabled[operate.is_some()] { "See what a replay would do" }
                button.risky formaction="/dead/drop/confirm" disabled[decide.is_some()] { "Drop the chosen" }
                @for why in [&operate, &decide].into_iter().flatten() { span.quiet.small { (why) } }
            }
        }
    }
}

fn letters(count: usize) -> String {
    if count == 1 { "1 letter".to_owned() } else { format!("{count} letters") }
}

fn before(letter: &LetterView) -> Markup {
    html! {
        @match letter.replays {
            0 => {}
            1 => { span.state.warn { i aria-hidden="true" { "↻" } "replayed once, died again" } }
            more => { span.state.warn { i aria-hidden="true" { "↻" } "replayed " (more) " times, died again" } }
        }
    }
}

/// One letter, masked, and what a replay of it would do.
pub async fn letter<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let id = visit.query.get("id").ok_or(SEEN_AGAIN)?;
    let shown = console.operations.letter(id).await?.ok_or(SEEN_AGAIN)?;
    let title = format!("Why did {} die?", text(&shown.letter.id));
    let body = one(&visit, &shown);
    Ok(page(&console, &visit, StatusCode::OK, &title, body).await)
}

fn one(visit: &Visit, shown: &LetterPage) -> Markup {
    let letter = &shown.letter;
    let (operate, decide) = (visit.refusal(Permission::Operate), visit.refusal(Permission::Decide));
    html! {
        div.columns {
            section.sheet aria-label="What it is" {
                dl.facts {
                    @for death in &shown.deaths { dt { "Died" } dd { (text(death)) } }
                    dt { "Queue" } dd { (letter.queue) }
                    dt { "Type" } dd { (text(letter.event_type.as_deref().unwrap_or("unknown"))) }
                    @if let Some(source) = &letter.source { dt { "Source" } dd { span.id { (text(source)) } } }
                    @if let Some(command) = &letter.command_id { dt { "Command" } dd { span.id { (text(command)) } } }
                    dt { "Belongs to" } dd { (shown.belongs_to.unwrap_or("nowhere: neither its type nor its routing key is one of ours")) }
                    dt { "Size" } dd { (letter.bytes) " bytes" }
                }
            }
            section.sheet aria-label="What a replay would do" {
                h2 { "What a replay would do" }
                (forecast(&shown.forecast))
                @if letter.replays > 0 { p { (before(letter)) } }
                form.actions method="post" {
                    input type="hidden" name="id" value=(letter.id);
                    button.main formaction="/dead/replay/confirm" disabled[operate.is_some()] { "Replay it" }
                    button.risky formaction="/dead/drop/confirm" disabled[decide.is_some()] { "Drop it" }
                    @for why in [&operate, &decide].into_iter().flatten() { span.quiet.small { (why) } }
                }
            }
        }
        h2 { "Body, masked" }
        pre.sheet tabindex="0" aria-label="Body, masked" { (shown.body) }
        details {
            summary { "Headers" }
            dl.facts {
                @for (name, value) in &shown.headers {
                    dt { span.id { (text(name)) } } dd { (text(value.as_deref().unwrap_or("not shown: it may hold a customer's data"))) }
                }
            }
        }
    }
}

fn forecast(forecast: &LetterForecast) -> Markup {
    html! { (text(&forecast.sentence)) @if let Some(stays) = forecast.stays { " " strong { (stays) } } }
}

pub async fn confirm_replay<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let work = LetterWork::Replay { again: visit.form.get("again").is_some() };
    confirm(&console, &visit, work).await
}

pub async fn confirm_drop<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    confirm(&console, &visit, LetterWork::Drop).await
}

/// Says what will become of each. It changes nothing.
async fn confirm<O: Operations>(console: &Console<O>, visit: &Visit, work: LetterWork) -> PageAnswer {
    let foreseen = console.operations.foresee_letters(work, &chosen(visit)?).await?;
    if foreseen.is_empty() {
        return Err(SEEN_AGAIN);
    }
    let going = foreseen.iter().filter(|(_, forecast)| forecast.stays.is_none()).count();
    let title = match work {
        LetterWork::Replay { .. } => "Is this what you want to replay?",
        LetterWork::Drop => "Is this what you want to lose?",
    };
    let body = html! {
        p.lede {
            @match work {
                LetterWork::Replay { .. } => { (going) " of " (foreseen.len()) " would be published again, ten a second." }
                LetterWork::Drop => { (letters(going)) " will be deleted for good. This cannot be undone." }
            }
        }
        (table(&foreseen))
        (confirm_form(&foreseen, work, going))
    };
    Ok(page(console, visit, StatusCode::OK, title, body).await)
}

fn table(foreseen: &[(LetterView, LetterForecast)]) -> Markup {
    html! {
        div.table {
            table.stacks {
                thead { tr { th scope="col" { "Letter" } th scope="col" { "Cause" } th scope="col" { "What will happen" } } }
                tbody {
                    @for (letter, its) in foreseen {
                        tr {
                            td.short data-label="Letter" { a.id href=(link("/dead/letter", &[("id", &letter.id)])) { (text(&letter.id)) } }
                            td data-label="Cause" { (text(&letter.reason).replace('_', " ")) }
                            td data-label="What" { (forecast(its)) }
                        }
                    }
                }
            }
        }
    }
}

fn confirm_form(foreseen: &[(LetterView, LetterForecast)], work: LetterWork, going: usize) -> Markup {
    let died_again = foreseen.iter().any(|(letter, _)| letter.replays > 0);
    let (path, word) = match work {
        LetterWork::Replay { .. } => ("/dead/replay", format!("Confirm: replay {going}")),
        LetterWork::Drop => ("/dead/drop", format!("Confirm: drop {going} for good")),
    };
    html! {
        form.sheet.stack action=(path) method="post" {
            (action_field())
            @for (letter, _) in foreseen { input type="hidden" name="id" value=(letter.id); }
            @if died_again && work != LetterWork::Drop {
                label.check {
                    input type="checkbox" name="again" value="yes" checked[work == LetterWork::Replay { again: true }];
                    "Replay those too that were replayed before and died again"
                }
            }
            label.field { "Why, or the ticket" input name="reason" maxlength="500" required; }
            div.actions {
                button.main.risky[work == LetterWork::Drop] disabled[going == 0 && !died_again] { (word) }
                a href="/dead" { "Back" }
            }
        }
    }
}

pub async fn replay<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let work = LetterWork::Replay { again: visit.form.get("again").is_some() };
    begin(&console, &visit, work).await
}

pub async fn drop<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    begin(&console, &visit, LetterWork::Drop).await
}

async fn begin<O: Operations>(console: &Console<O>, visit: &Visit, work: LetterWork) -> PageAnswer {
    let (ids, act) = (chosen(visit)?, visit.act()?);
    let id = act.mark.action_id;
    let start = console.operations.work_on_letters(work, ids, act).await;
    Ok(show_begun(console, visit, id, start).await)
}

/// The letters of a form, and no others.
fn chosen(visit: &Visit) -> Result<Vec<String>, PageRefusal> {
    let ids: Vec<String> = visit.form.all_values("id").map(str::to_owned).collect();
    if ids.is_empty() || ids.len() > LETTERS_SHOWN {
        return Err(PageRefusal::Senseless("Choose at least one letter, and at most 50."));
    }
    Ok(ids)
}
