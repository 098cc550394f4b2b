//! One settlement file: a person sends it, sees what its rows come to, and then has it matched. Before that nothing of it
//! counts. Names of customers stand in the file alone, and no page shows them.

use super::settlement::{batch_link, named, signed};
use crate::{
    domain::{console::Permission, ids::MerchantName, settlement::is_doubtful},
    flow::{
        ports::{BroughtIn, NewFile, Operations, SeenFile},
        view::settlement::FileView,
    },
    http::{
        console::{
            Console, PageAnswer, Shared, Visit,
            layout::page,
            params::link,
            refusal::PageRefusal,
            upload::Upload,
            words::{action_field, ago, text},
        },
        places::ConnectionPlace,
    },
    shown::Times,
};
use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use std::sync::Arc;

const NO_FILE: PageRefusal = PageRefusal::Unknown(
    "There is no such file. One that cannot be read is taken away; the audit has the reason.",
);
const BUSY: PageRefusal =
    PageRefusal::Senseless("Another file of this merchant is being imported: send yours when that is done.");
const NOT_WHOLE: PageRefusal =
    PageRefusal::Senseless("The file did not come whole, and nothing of it counts: send it again.");

const OLD_PAGE: PageRefusal =
    PageRefusal::Senseless("That page is old: its number is another file's now. Look at the list of files.");

const READ_MEANWHILE: &str =
    "The file has been read whole since you looked. Nothing was done: look at its sums now.";

pub fn file_link(number: i64) -> String {
    link("/settlement/file", &[("number", &number.to_string())])
}

/// How far a file is, in words.
pub fn state_words(state: &str) -> &'static str {
    match state {
        "receiving" => "coming in",
        "reading" => "being read",
        "held" => "waits for a person",
        "matching" => "being matched",
        "done" => "matched",
        _ => "unknown",
    }
}

/// Where a person sends a file.
pub fn form<O: Operations>(console: &Console<O>, visit: &Visit) -> Markup {
    let why_not = visit.refusal(Permission::Settle);
    let (merchants, profiles) = (&console.setting.merchants, &console.setting.profiles);
    html! {
        form.filter action="/settlement/bring" method="post" enctype="multipart/form-data" {
            (action_field())
            label.field { "Merchant"
                select name="merchant" required { @for merchant in merchants { option { (merchant.as_str()) } } }
            }
            label.field { "Written as"
                select name="profile" {
                    option value="" { "usual for the merchant" }
                    @for profile in profiles { option { (text(profile)) } }
                }
            }
            label.field { "Why" input name="reason" maxlength="500" required placeholder="The pay-out of Monday"; }
            // The last field: what stands before it is known when its bytes come.
            label.field { "DOKU's file, CSV or XLSX, at most 512 MiB" input type="file" name="file" required accept=".csv,.txt,.xlsx"; }
            button disabled[why_not.is_some()] { "Send and read it" }
            @if let Some(why) = &why_not { span.quiet.small { (why) } }
        }
    }
}

/// Takes a file. Nothing of it counts yet.
pub async fn bring_in<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> PageAnswer {
    let (parts, body) = request.into_parts();
    let place = parts.extensions.get::<Arc<ConnectionPlace>>().cloned();
    let mut upload = Upload::new(&parts.headers, body, place)?;
    let (visit, sent) = upload.read(visit).await?;
    let act = visit.act()?;
    let merchant = visit.form.get("merchant").and_then(|name| MerchantName::parse(name).ok());
    let merchant = merchant.filter(|name| console.setting.merchants.contains(name));
    let merchant = merchant.ok_or(PageRefusal::Senseless("There is no such merchant."))?;
    let profile = visit.form.get("profile").map(str::to_owned);
    if profile.as_ref().is_some_and(|name| !console.setting.profiles.contains(name)) {
        return Err(PageRefusal::Senseless("There is no such profile."));
    }
    let file = NewFile { name: text(&sent.name), merchant, profile };
    let outcome = console.operations.bring_in(file, sent.bytes(), act).await?;
    answer(&console, &visit, outcome).await
}

/// The second step: from here on the file counts.
pub async fn match_file<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let number = visit.form.get("number").and_then(|number| number.parse().ok()).ok_or(NO_FILE)?;
    let seen = SeenFile {
        sha256: visit.form.get("sha256").unwrap_or_default().to_owned(),
        is_held: visit.form.get("state") == Some("held"),
    };
    let outcome = console.operations.match_file(number, seen, visit.act()?).await?;
    if outcome == BroughtIn::ReadMeanwhile {
        let file = console.operations.settlement_file(number).await?.ok_or(NO_FILE)?;
        return Ok(file_page(&console, &visit, &file, Some(READ_MEANWHILE)).await);
    }
    answer(&console, &visit, outcome).await
}

async fn answer<O: Operations>(console: &Shared<O>, visit: &Visit, outcome: BroughtIn) -> PageAnswer {
    let to = match outcome {
        BroughtIn::Begun(number) | BroughtIn::Known(number) => file_link(number),
        BroughtIn::Repeated => "/settlement".to_owned(),
        BroughtIn::Busy => return Err(BUSY),
        BroughtIn::NotWhole => return Err(NOT_WHOLE),
        BroughtIn::Unknown => return Err(NO_FILE),
        BroughtIn::ReadMeanwhile => return Err(PageRefusal::Senseless(READ_MEANWHILE)),
        BroughtIn::Another => return Err(OLD_PAGE),
        BroughtIn::Refused(why) => {
            let body = html! {
                div.note.bad role="status" { p { (text(&why)) } p { "Nothing of the file was kept." } }
                p { a href="/settlement" { "Back" } }
            };
            return Ok(page(console, visit, StatusCode::BAD_REQUEST, "The file is refused", body).await);
        }
    };
    Ok((StatusCode::SEE_OTHER, [("location", to)]).into_response())
}

pub async fn show<O: Operations>(
    State(console): State<Shared<O>>,
    Extension(visit): Extension<Visit>,
) -> PageAnswer {
    let number = visit.query.get("number").and_then(|number| number.parse().ok()).ok_or(NO_FILE)?;
    let file = console.operations.settlement_file(number).await?.ok_or(NO_FILE)?;
    Ok(file_page(&console, &visit, &file, None).await)
}

/// `news`: why the page comes again in place of what its form asked for.
async fn file_page<O: Operations>(
    console: &Console<O>,
    visit: &Visit,
    file: &FileView,
    news: Option<&str>,
) -> Response {
    let body = html! {
        @if let Some(news) = news { div.note.warn role="status" { p { (news) } } }
        div.sheet { (facts(file, console.times())) }
        (next(visit, file))
        p.actions { a href="/settlement" { "All of settlement" } }
    };
    let status = if news.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    page(console, visit, status, &format!("What is in {}?", named(&file.name)), body).await
}

fn facts(file: &FileView, times: Times) -> Markup {
    html! {
        dl.facts {
            dt { "State" } dd { strong { (state_words(&file.state)) } }
            dt { "Of" } dd { (text(&file.merchant)) ", written as " (text(&file.profile)) }
            dt { "Came" } dd { (ago(file.received_at, times)) }
            @if let Some(batch) = &file.batch { dt { "Batch" } dd { a.id href=(batch_link(batch)) { (text(batch)) } } }
            dt { "Rows" } dd { (file.rows) ", of our channel " (file.own_rows) }
            dt { "Our rows come to" } dd {
                "gross " (signed(file.own_gross)) ", refunded " (signed(file.own_refunded)) ", fee " (signed(file.own_fee)) ", discount " (signed(file.own_discount))
                ", net " strong { (signed(file.own_net)) }
            }
            dt { "All channels" } dd {
                "net " (signed(file.net)) @if let Some(stated) = file.stated_net { ", the file states " (signed(stated)) }
            }
            @if let Some(fault) = &file.totals_fault { dt { "It contradicts itself" } dd { strong { "▲ " (text(fault)) } } }
            dt { "Without an order here" } dd { (file.without_order) }
            dt { "Cannot be read" } dd { (file.unreadable) }
            @if let Some(digest) = &file.sha256 { dt { "SHA-256" } dd { span.id { (text(digest)) } } }
        }
    }
}

/// What a person does next, and what follows.
fn next(visit: &Visit, file: &FileView) -> Markup {
    let (words, button) = match file.state.as_str() {
        "held" => (
            "When you have it matched, its rows count: what does not fit becomes a break, DOKU is asked about orders in doubt, and \
             an event goes out for each row that fits. No order moves. This cannot be undone.",
            "Have it matched",
        ),
        "done" => return html! {},
        _ => (
            "It is being worked on: load this page again. If the figures stand still, the import was broken off, and goes on by \
             this button.",
            "Go on with it",
        ),
    };
    let why_not = visit.refusal(Permission::Settle);
    html! {
        form.sheet action="/settlement/match" method="post" {
            @if is_doubtful(file.own_rows, file.without_order, file.unreadable) {
                div.note.warn role="status" {
                    p {
                        "More than one in ten of its rows has no order here, or cannot be read. Are merchant, environment and \
                         the form it is written in right? A file that is matched is not read anew."
                    }
                }
            }
            p { (words) }
            input type="hidden" name="number" value=(file.number);
            // Only a form that was made for a file that waits has it matched.
            input type="hidden" name="state" value=(file.state);
            input type="hidden" name="sha256" value=(file.sha256.as_deref().unwrap_or_default());
            (action_field())
            div.actions {
                input name="reason" maxlength="500" required placeholder="Why, or the ticket" aria-label="Why" disabled[why_not.is_some()];
                button.main disabled[why_not.is_some()] { (button) }
                @if let Some(why) = &why_not { span.quiet.small { (why) } }
            }
        }
    }
}
