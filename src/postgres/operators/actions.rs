//! What operators did, kept with who and why. Written in the transaction of the action if it has one, else before
//! the action: no action may exist without its row.

use crate::postgres::{
    error::TxResult,
    pool::PgPool,
    rows::{read_straight, storable},
    tx::answered,
};
use crate::{
    domain::action::{Action, DONE_BY_CHARS_MAX, PLACE_CHARS_MAX, REASON_CHARS_MAX},
    flow::{
        ports::{ActionFilter, Mark, StoreError},
        view::{ActionPage, ActionPlace, ActionView},
    },
};
use sqlx::{FromRow, PgConnection, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

/// Of what an order's timeline does not tell by itself.
const OF_ORDER: &str = "
    SELECT at, action, subject, merchant, reason, done_by, detail, done_from FROM operator_actions
    WHERE subject = $1 AND merchant = $2 AND action NOT IN ('pause', 'resume', 'prune') ORDER BY key";

/// Decisions are kept apart, with their orders. A name stands before what the operating system says, and behind who says
/// that it is theirs.
const LATEST: &str = "
    (SELECT key, false AS is_decision, at, action, subject, merchant, reason, done_by, detail, done_from
     FROM operator_actions
     WHERE ($6::bigint IS NULL OR key < $6) AND ($2::text IS NULL OR subject = $2) AND ($3::text IS NULL OR merchant = $3)
       AND ($4::timestamptz IS NULL OR at >= $4)
       AND ($5::text IS NULL OR split_part(done_by, ' (', 1) IN ($5, 'local:' || $5, 'proxy:' || $5, 'oidc:' || $5))
     ORDER BY key DESC LIMIT $1)
    UNION ALL
    (SELECT d.key, true, d.at, 'resolve_order', o.invoice_number, o.merchant, d.reason, d.decided_by,
            d.review_cause || ' -> ' || d.state, d.done_from
     FROM decisions d JOIN orders o USING (order_key)
     WHERE ($7::bigint IS NULL OR d.key < $7) AND ($2::text IS NULL OR o.invoice_number = $2) AND ($3::text IS NULL OR o.merchant = $3)
       AND ($4::timestamptz IS NULL OR d.at >= $4)
       AND ($5::text IS NULL OR split_part(d.decided_by, ' (', 1) IN ($5, 'local:' || $5, 'proxy:' || $5, 'oidc:' || $5))
     ORDER BY d.key DESC LIMIT $1)";

/// As long as the table's columns take.
const SUBJECT_CHARS_MAX: usize = 255;
const MERCHANT_CHARS_MAX: usize = 255;
const DETAIL_CHARS_MAX: usize = 1000;

read_straight!(ActionView { at, action, subject, merchant, reason, done_by, detail, done_from });

#[derive(FromRow)]
struct LatestRow {
    key: i64,
    is_decision: bool,
    #[sqlx(flatten)]
    view: ActionView,
}

/// What operators did, decisions among it, the latest first.
pub async fn actions(pool: &PgPool, filter: &ActionFilter) -> Result<ActionPage, StoreError> {
    let rows: Vec<LatestRow> = answered!(pool, |c| sqlx::query_as(LATEST)
        .bind(i64::from(filter.limit).saturating_add(1))
        .bind(filter.subject.as_deref())
        .bind(filter.merchant.as_deref())
        .bind(filter.since)
        .bind(filter.by.as_deref())
        .bind(filter.before.map(|place| place.action))
        .bind(filter.before.map(|place| place.decision))
        .fetch_all(c))?;
    Ok(page(rows, filter))
}

/// The later of the two that come first in their tables, time and again: no row is between two pages, whatever the clocks of
/// their transactions were.
fn page(rows: Vec<LatestRow>, filter: &ActionFilter) -> ActionPage {
    let (mut decisions, mut actions): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_decision);
    for table in [&mut decisions, &mut actions] {
        table.sort_unstable_by_key(|row| row.key);
    }
    let mut place = filter.before.unwrap_or(ActionPlace { action: i64::MAX, decision: i64::MAX });
    let mut page = ActionPage::default();
    let most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    loop {
        let is_decision = match (decisions.last(), actions.last()) {
            (None, None) => return page,
            (decision, action) => decision.map(|row| row.view.at) >= action.map(|row| row.view.at),
        };
        if page.actions.len() >= most {
            page.next = Some(place);
            return page;
        }
        let (table, behind) = if is_decision {
            (&mut decisions, &mut place.decision)
        } else {
            (&mut actions, &mut place.action)
        };
        let Some(latest) = table.pop() else { return page };
        *behind = latest.key;
        page.actions.push(latest.view);
    }
}

/// What operators did to an order, decisions aside, oldest first.
pub(in crate::postgres) async fn actions_of_order(
    pool: &PgPool,
    merchant: &str,
    invoice: &str,
) -> Result<Vec<ActionView>, StoreError> {
    answered!(pool, |c| sqlx::query_as(OF_ORDER).bind(invoice).bind(merchant).fetch_all(c))
}

/// Keeps an action by itself.
pub async fn record_action(pool: &PgPool, action: &Action) -> Result<(), StoreError> {
    answered!(pool, |c| insert(action).execute(c))?;
    Ok(())
}

/// Keeps an action that a form asks for, once: false if the form has acted already.
pub async fn record_form(pool: &PgPool, action: &Action, mark: &Mark) -> Result<bool, StoreError> {
    let kept = answered!(pool, |c| insert_from(action, Some(&mark.from), Some(mark.action_id)).execute(c))?;
    Ok(kept.rows_affected() == 1)
}

/// Keeps an action in the transaction of what was done.
pub(in crate::postgres) async fn write(connection: &mut PgConnection, action: &Action) -> TxResult<()> {
    insert(action).execute(connection).await?;
    Ok(())
}

/// The same of what the console did, with the peer's address.
pub(in crate::postgres) async fn write_from(
    connection: &mut PgConnection,
    action: &Action,
    from: &str,
) -> TxResult<()> {
    insert_from(action, Some(from), None).execute(connection).await?;
    Ok(())
}

/// The same, where a form of the console may have asked for it.
pub(in crate::postgres) async fn write_marked(
    connection: &mut PgConnection,
    action: &Action,
    mark: Option<&Mark>,
) -> TxResult<()> {
    let (from, id) = (mark.map(|mark| mark.from.as_str()), mark.map(|mark| mark.action_id));
    insert_from(action, from, id).execute(connection).await?;
    Ok(())
}

/// Whether a form has acted already.
pub(in crate::postgres) async fn is_done(connection: &mut PgConnection, action_id: Uuid) -> TxResult<bool> {
    let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM operator_actions WHERE action_id = $1)")
        .bind(action_id);
    Ok(found.fetch_one(connection).await?)
}

fn insert(action: &Action) -> Query<'static, Postgres, PgArguments> {
    insert_from(action, None, None)
}

fn insert_from(
    action: &Action,
    from: Option<&str>,
    action_id: Option<Uuid>,
) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(
        "INSERT INTO operator_actions (action, subject, merchant, reason, done_by, detail, done_from, action_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (action_id) DO NOTHING",
    )
    .bind(action.kind.name())
    .bind(storable(&action.subject, SUBJECT_CHARS_MAX))
    .bind(bounded(action.merchant.as_deref(), MERCHANT_CHARS_MAX))
    .bind(bounded(action.reason.as_deref(), REASON_CHARS_MAX))
    .bind(bounded(action.done_by.as_deref(), DONE_BY_CHARS_MAX))
    .bind(bounded(action.detail.as_deref(), DETAIL_CHARS_MAX))
    .bind(bounded(from, PLACE_CHARS_MAX))
    .bind(action_id)
}

/// An empty text becomes `None`.
fn bounded(text: Option<&str>, chars_max: usize) -> Option<String> {
    text.map(|text| storable(text, chars_max)).filter(|text| !text.is_empty())
}
