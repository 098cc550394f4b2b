//! Which orders asked for a split settlement: the request says it, and once that is pruned, what was kept of it.

use crate::{
    domain::ids::MerchantName,
    flow::ports::StoreError,
    postgres::{error::TxResult, pool::PgPool, tx::answered},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;

#[derive(Deserialize)]
struct SharesBody<'a> {
    #[serde(borrow)]
    additional_info: Option<Info<'a>>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    settlement: Option<&'a RawValue>,
}

/// The shares of a stored request, as they were written.
fn shares_of(body: &[u8]) -> Option<String> {
    let body: SharesBody<'_> = serde_json::from_slice(body).ok()?;
    Some(body.additional_info?.settlement?.get().to_owned())
}

/// Those of the orders that asked for one.
pub(super) async fn with_shares(
    c: &mut PgConnection,
    merchant: &MerchantName,
    invoices: &[String],
) -> TxResult<Vec<String>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, bool, Option<Vec<u8>>)> = sqlx::query_as(
        r#"SELECT o.invoice_number,
                  EXISTS (SELECT FROM settlement_shares s WHERE s.merchant = $1 AND s.invoice_number = o.invoice_number),
                  CASE WHEN position('"settlement"'::bytea IN k.request_body) > 0 THEN k.request_body END
           FROM orders o JOIN commands k ON k.key = o.payment
           WHERE o.merchant = $1 AND o.invoice_number = ANY ($2)"#,
    )
    .bind(merchant.as_str())
    .bind(invoices)
    .fetch_all(c)
    .await?;
    let has = |(_, is_kept, body): &(String, bool, Option<Vec<u8>>)| {
        *is_kept || body.as_deref().and_then(shares_of).is_some()
    };
    Ok(rows.into_iter().filter(has).map(|(invoice, _, _)| invoice).collect())
}

/// Keeps the shares of payments with these keys, before `prune` empties the requests that they stand in.
///
/// # Errors
/// The database is away, or refuses.
pub(in crate::postgres) async fn keep_shares(pool: &PgPool, from: i64, to: i64) -> Result<(), StoreError> {
    let rows: Vec<(String, String, Vec<u8>)> = answered!(pool, |c| sqlx::query_as(
        r#"SELECT merchant, invoice_number, request_body FROM commands
           WHERE key >= $1 AND key < $2 AND kind = 'payment' AND outcome <> 'rejected'
             AND position('"settlement"'::bytea IN request_body) > 0"#
    )
    .bind(from)
    .bind(to)
    .fetch_all(c))?;
    for (merchant, invoice, body) in rows {
        let Some(shares) = shares_of(&body) else { continue };
        answered!(pool, |c| {
            sqlx::query(
            "INSERT INTO settlement_shares (merchant, invoice_number, shares) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        )
        .bind(&merchant)
        .bind(&invoice)
        .bind(&shares)
        .execute(c)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_found_where_they_stand_and_nowhere_else() {
        let shares = r#"[{"bank_account_settlement_id":"a","value":10,"type":"PERCENTAGE"}]"#;
        for (body, expected) in [
            (
                format!(r#"{{"order":{{}},"additional_info":{{"settlement":{shares}}}}}"#),
                Some(shares.to_owned()),
            ),
            (r#"{"order":{"name":"\"settlement\""},"additional_info":{"note":"\u0000"}}"#.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(shares_of(body.as_bytes()), expected, "{body}");
        }
    }
}
