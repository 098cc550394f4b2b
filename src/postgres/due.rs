//! What is due: rows in and out, and which of them are wanted now. A row is written under its order's row lock.

use super::{
    StoreContext,
    claim_identity::ClaimIdentity,
    error::unknown_value,
    orders,
    pool::PgPool,
    rows::{Lease, inquiry_rank, merchant, send_rank},
    tx::answered,
    write_statement::Statement,
};
use crate::{
    domain::{Time, ids::MerchantName, schedule::Due},
    flow::ports::{Claim, ClaimError, DueFilter, DueOf, DueOrder, DueWhat, StoreError},
};
use sqlx::FromRow;
use std::{sync::Arc, time::Duration};

/// What an order waits for. With a lease an attempt is under way.
pub(super) struct NewDue<'a> {
    pub order_key: i64,
    pub merchant: &'a MerchantName,
    pub due: &'a Due,
    pub lease: Option<Lease>,
}

/// The columns of `write_statement::WRITE` for what orders wait for.
pub(super) fn bind<'q>(statement: Statement<'q>, all: &'q [NewDue<'_>]) -> Statement<'q> {
    statement
        .bind(all.iter().map(|new| new.order_key).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.merchant.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.inquiry.at).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.inquiry.rank.number()).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.send.map(|send| send.at)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.send.map(|send| send.ends_at)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.due.send.map(|send| send.rank.number())).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.lease.map(|lease| lease.token)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.lease.map(|lease| lease.claimed_at)).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.lease.map(|lease| lease.kind.name())).collect::<Vec<_>>())
        .bind(all.iter().map(|new| new.lease.map(|lease| lease.ends_at)).collect::<Vec<_>>())
}

/// Gives a claim back without an attempt: what it was for is due again now, the rest as it was. One
/// that is lost already stays so.
pub(super) async fn release_claim(context: &Arc<StoreContext>, claim: &Claim) -> Result<(), ClaimError> {
    let (identity, token) = (ClaimIdentity::from_claim(claim), claim.token);
    let order_key = identity.order_key;
    let is_known = context
        .transaction(move |connection| {
            Box::pin(async move {
                if orders::lock_if_known(connection, order_key).await?.is_none() {
                    return Ok(false);
                }
                // The revision is raised as by every write: a statement that rests on the claim finds that it is gone.
                let freed = sqlx::query(
                    "WITH freed AS (
                         UPDATE due
                         SET send_at = CASE WHEN attempt = 'send' THEN jenius_now() ELSE send_at END,
                             inquire_at = CASE WHEN attempt = 'inquiry' THEN jenius_now() ELSE inquire_at END,
                             token = NULL, claimed_at = NULL, attempt = NULL, lease_ends_at = NULL
                         WHERE order_key = $1 AND token = $2
                         RETURNING order_key)
                     UPDATE orders SET revision = revision + 1 WHERE order_key = (SELECT order_key FROM freed)",
                )
                .bind(order_key)
                .bind(token)
                .execute(&mut *connection)
                .await?;
                Ok(freed.rows_affected() == 1 || identity.is_known(connection).await?)
            })
        })
        .await
        .map_err(StoreError::from)?;
    context.due_changed.notify_one();
    if is_known { Ok(()) } else { Err(context.forgotten()) }
}

/// An order whose command was made for an account or a host that is not configured now is stranded: it is not
/// asked about under another. OFFSET 0 makes each look one into an index.
macro_rules! made_for_the_account {
    () => {
        "EXISTS (SELECT
                 FROM (SELECT CASE
                           WHEN state = 'refunding' OR review_cause = 'refund_unresolved' THEN refund
                           ELSE payment END AS command
                       FROM orders WHERE order_key = d.order_key OFFSET 0) AS o
                 CROSS JOIN LATERAL (
                     SELECT merchant, client_id, base_url FROM commands WHERE key = o.command OFFSET 0) AS c
                 WHERE c.merchant = w.merchant AND c.client_id = w.client_id AND c.base_url = w.base_url)"
    };
}

/// The sends of one kind; one in doubt with a due inquiry has that inquiry before it.
macro_rules! due_sends {
    ($rank:literal, $order:literal) => {
        concat!(
            "(SELECT d.order_key, d.send_rank AS rank, 'send' AS what,
                     d.inquire_rank = 0 AND d.inquire_at <= now AS asks_first
              FROM due d
              WHERE d.merchant = w.merchant AND d.send_rank = ",
            $rank,
            " AND d.token IS NULL AND d.stranded_at IS NULL
                AND d.send_at <= now AND d.sends_end_at > now AND ",
            made_for_the_account!(),
            " ORDER BY ",
            $order,
            " LIMIT w.sends)"
        )
    };
}

/// Each merchant's due sends and inquiries by their own indexes, each up to its own limit, so that no merchant
/// and no kind is in the way of another; and attempts that were lost.
pub(super) const LIST: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
     SELECT w.merchant, f.order_key, f.rank, f.what, f.asks_first
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
          AS w (merchant, client_id, base_url, sends, inquiries)
     CROSS JOIN clock
     CROSS JOIN LATERAL (",
    due_sends!("0", "d.sends_end_at DESC"),
    " UNION ALL ",
    due_sends!("1", "d.send_at"),
    " UNION ALL ",
    due_sends!("2", "d.send_at"),
    " UNION ALL
         SELECT i.order_key, r.rank, 'inquiry', false
         FROM unnest('{0, 1, 2, 3, 4}'::smallint[]) AS r (rank)
         CROSS JOIN LATERAL (
             SELECT d.order_key FROM due d
             WHERE d.merchant = w.merchant AND d.inquire_rank = r.rank AND d.inquire_at <= now
               AND d.token IS NULL AND d.stranded_at IS NULL AND ",
    made_for_the_account!(),
    " ORDER BY d.inquire_at LIMIT w.inquiries) AS i
     ) AS f
     UNION ALL
     (SELECT merchant, order_key, 0::smallint, 'lost', false FROM due
      WHERE token IS NOT NULL AND lease_ends_at <= (SELECT now FROM clock) AND stranded_at IS NULL
      ORDER BY lease_ends_at LIMIT $6)"
);

#[derive(FromRow)]
struct ListRow {
    merchant: String,
    order_key: i64,
    rank: i16,
    what: String,
    asks_first: bool,
}

impl ListRow {
    fn read(self) -> Result<DueOrder, StoreError> {
        let what = match self.what.as_str() {
            "lost" => DueWhat::Lost,
            "send" => DueWhat::Send { rank: send_rank(self.rank)?, asks_first: self.asks_first },
            "inquiry" => DueWhat::Inquiry(inquiry_rank(self.rank)?),
            _ => return Err(unknown_value("kind of what is due")),
        };
        Ok(DueOrder { order_key: self.order_key, merchant: merchant(&self.merchant)?, what })
    }
}

/// Orders that are due now.
pub(super) async fn list(pool: &PgPool, filter: &DueFilter) -> Result<Vec<DueOrder>, StoreError> {
    let all = &filter.merchants;
    let rows: Vec<ListRow> = answered!(pool, |c| sqlx::query_as(LIST)
        .bind(names(all))
        .bind(all.iter().map(|of| of.account.client_id.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|of| of.account.base_url.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|of| i64::from(of.sends)).collect::<Vec<_>>())
        .bind(all.iter().map(|of| i64::from(of.inquiries)).collect::<Vec<_>>())
        .bind(i64::from(filter.lost))
        .fetch_all(c))?;
    rows.into_iter().map(ListRow::read).collect()
}

fn names(all: &[DueOf]) -> Vec<&str> {
    all.iter().map(|of| of.account.merchant.as_str()).collect()
}

/// The first of each list that is still to come. Payments that were not sent yet are due at once: none of them is
/// to come.
const NEXT: &str = "
    WITH clock AS MATERIALIZED (SELECT jenius_now() AS now)
    SELECT min(n.at), (SELECT now FROM clock)
    FROM (
        (SELECT lease_ends_at AS at FROM due
         WHERE token IS NOT NULL AND lease_ends_at > (SELECT now FROM clock) ORDER BY lease_ends_at LIMIT 1)
        UNION ALL
        SELECT s.at FROM unnest($1::text[]) AS m (merchant), unnest('{1, 2}'::smallint[]) AS r (rank)
        CROSS JOIN LATERAL (
            SELECT send_at AS at FROM due
            WHERE merchant = m.merchant AND send_rank = r.rank AND send_rank > 0 AND token IS NULL
              AND stranded_at IS NULL AND send_at > (SELECT now FROM clock)
            ORDER BY send_at LIMIT 1) AS s
        UNION ALL
        SELECT i.at FROM unnest($1::text[]) AS m (merchant), unnest('{0, 1, 2, 3, 4}'::smallint[]) AS r (rank)
        CROSS JOIN LATERAL (
            SELECT inquire_at AS at FROM due
            WHERE merchant = m.merchant AND inquire_rank = r.rank AND token IS NULL
              AND stranded_at IS NULL AND inquire_at > (SELECT now FROM clock)
            ORDER BY inquire_at LIMIT 1) AS i) AS n";

/// How long until another order becomes due; those that are due already are not counted.
pub(super) async fn next_in(pool: &PgPool, filter: &DueFilter) -> Result<Option<Duration>, StoreError> {
    let (next, now): (Option<Time>, Time) =
        answered!(pool, |c| sqlx::query_as(NEXT).bind(names(&filter.merchants)).fetch_one(c))?;
    Ok(next.map(|at| (at - now).to_std().unwrap_or_default()))
}
