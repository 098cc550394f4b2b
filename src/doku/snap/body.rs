//! What a notification in the SNAP form says, in the words of DOKU's own form: its codes become that form's status
//! words, and a body of another channel names a request that can be none of ours.

use super::super::{
    body::{NO_WORD, bounded_request, bounded_text, object, text},
    notification::{INVOICE_CHARS_MAX, Incomplete, NO_NUMBER, kept_amount},
};
use crate::domain::{notification::Notification, signed::Form};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Jenius Pay's channels have it in their names.
const OUR_CHANNEL: &str = "JENIUS";
/// The currency of every order.
const CURRENCY: &str = "IDR";
/// A currency's code is not longer, a channel's name neither.
const CURRENCY_BYTES_MAX: usize = 8;
const CHANNEL_CHARS_MAX: usize = 40;
/// In place of what a body of a virtual account does not name.
const VIRTUAL_ACCOUNT: &str = "VIRTUAL_ACCOUNT";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    original_partner_reference_no: Option<&'a RawValue>,
    #[serde(borrow)]
    original_reference_no: Option<&'a RawValue>,
    #[serde(borrow)]
    latest_transaction_status: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    additional_info: Option<&'a RawValue>,
    #[serde(borrow)]
    trx_id: Option<&'a RawValue>,
    #[serde(borrow)]
    paid_amount: Option<&'a RawValue>,
    #[serde(borrow)]
    virtual_account_no: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_request_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Amount<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Additional<'a> {
    #[serde(borrow)]
    channel_id: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
}

/// Whether a body is shaped like a virtual account's.
pub fn is_of_virtual_account(body: &[u8]) -> bool {
    parse(body).is_some_and(|body| body.is_of_virtual_account())
}

/// Reads a verified body. Unknown members are ignored, and a member of another type counts as missing.
pub fn read(request_id: &str, body: &[u8]) -> Result<Notification, Incomplete> {
    let body = parse(body).ok_or(Incomplete)?;
    let is_of_virtual_account = body.is_of_virtual_account();
    let (invoice, amount) = if is_of_virtual_account {
        (body.trx_id.or(body.original_partner_reference_no), body.paid_amount.or(body.amount))
    } else {
        (body.original_partner_reference_no, body.amount)
    };
    let invoice_number = invoice.and_then(text_of).ok_or(Incomplete)?;
    if invoice_number.chars().count() > INVOICE_CHARS_MAX {
        return Err(Incomplete);
    }
    let status = match body.latest_transaction_status.and_then(text_of) {
        Some(code) => Some(status_word(&code)),
        // A virtual account's body says nothing but that it was paid.
        None => is_of_virtual_account.then(|| "SUCCESS".to_owned()),
    };
    Ok(Notification {
        form: Form::Snap,
        request_id: request_id.to_owned(),
        invoice_number: bounded_text(&invoice_number),
        status,
        amount: amount.and_then(reported_amount),
        request: body.request(is_of_virtual_account),
    })
}

fn parse(body: &[u8]) -> Option<Body<'_>> {
    object(std::str::from_utf8(body).ok()?)
}

/// A text that is not empty, or a number as it was written.
fn text_of(raw: &RawValue) -> Option<String> {
    text(raw).filter(|text| !text.is_empty())
}

impl Body<'_> {
    fn is_of_virtual_account(&self) -> bool {
        self.trx_id.is_some() || self.paid_amount.is_some() || self.virtual_account_no.is_some()
    }

    /// The request that it is about. Another channel's has a colon and a space in it, which no Request-Id of ours has.
    fn request(&self, is_of_virtual_account: bool) -> Option<String> {
        let reference =
            if is_of_virtual_account { self.payment_request_id } else { self.original_reference_no };
        let reference = reference.and_then(text_of);
        let channel =
            self.other_channel().or_else(|| is_of_virtual_account.then(|| VIRTUAL_ACCOUNT.to_owned()));
        match (channel, reference) {
            (None, reference) => reference.map(|reference| bounded_request(&reference)),
            (Some(channel), reference) => {
                Some(bounded_request(&format!("{channel}: {}", reference.unwrap_or_default())))
            }
        }
    }

    /// The name of a channel that is not Jenius Pay's, if it names one.
    fn other_channel(&self) -> Option<String> {
        let additional: Additional<'_> = self.additional_info.and_then(|raw| object(raw.get()))?;
        [additional.channel_id, additional.channel]
            .into_iter()
            .flatten()
            .filter_map(text_of)
            .find(|channel| !channel.to_ascii_uppercase().contains(OUR_CHANNEL))
            .map(|channel| bounded_text(&channel).chars().take(CHANNEL_CHARS_MAX).collect())
    }
}

/// Bank Indonesia's codes. Some of them mean the same here; an unknown one is not final.
fn status_word(code: &str) -> String {
    let word = match code {
        "00" => "SUCCESS",
        "01" => "INITIATED",
        "02" => "PAYING",
        "03" => "PENDING",
        "04" => "REFUNDED",
        "05" | "06" | "09" => "FAILED",
        "07" => "NOT_FOUND",
        "08" => "EXPIRED",
        other if other.len() == 2 && other.bytes().all(|b| b.is_ascii_digit()) => {
            return format!("SNAP_{other}");
        }
        _ => NO_WORD,
    };
    word.to_owned()
}

/// `{"value":"50000.00","currency":"IDR"}`, or the value alone. In another currency it is no amount that an order has.
fn reported_amount(raw: &RawValue) -> Option<String> {
    let Some(amount) = object::<Amount<'_>>(raw.get()) else {
        return text_of(raw).map(|value| kept_amount(&value));
    };
    let value = kept_amount(&amount.value.and_then(text_of)?);
    match amount.currency.and_then(text_of) {
        None => Some(value),
        Some(currency) if currency.eq_ignore_ascii_case(CURRENCY) => Some(value),
        Some(currency) => {
            let is_code =
                currency.len() <= CURRENCY_BYTES_MAX && currency.bytes().all(|b| b.is_ascii_alphabetic());
            let currency = if is_code { currency.as_str() } else { NO_NUMBER };
            Some(format!("{currency} {value}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        finding::ReportedStatus,
        money::{ReportedAmount, Rupiah},
    };
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "originalPartnerReferenceNo": "INV-1", "originalReferenceNo": "INV-1", "latestTransactionStatus": "00",
            "amount": {"value": "50000.00", "currency": "IDR"},
            "additionalInfo": {"channelId": "EMONEY_JENIUS_SNAP", "origin": {"x": [1]}}
        })
    }

    fn virtual_account() -> Value {
        json!({
            "trxId": "INV-1", "paymentRequestId": "4180", "virtualAccountNo": "  19008",
            "paidAmount": {"value": "50000.00", "currency": "IDR"},
            "additionalInfo": {"channel": "VIRTUAL_ACCOUNT_BANK_CIMB"}
        })
    }

    fn with(pointer: &str, value: Value) -> Notification {
        let mut body = good();
        *body.pointer_mut(pointer).unwrap() = value;
        read("1", body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_code_has_its_meaning_and_an_unknown_one_is_not_final() {
        use ReportedStatus::{Expired, Failed, NotFinal, Refunded, Success};
        for (code, word, meaning) in [
            (json!("00"), "SUCCESS", Success),
            (json!("01"), "INITIATED", NotFinal),
            (json!("02"), "PAYING", NotFinal),
            (json!("03"), "PENDING", NotFinal),
            (json!("04"), "REFUNDED", Refunded),
            (json!("05"), "FAILED", Failed),
            (json!("06"), "FAILED", Failed),
            (json!("07"), "NOT_FOUND", NotFinal),
            (json!("08"), "EXPIRED", Expired),
            (json!("09"), "FAILED", Failed),
            (json!("10"), "SNAP_10", NotFinal),
            (json!("SUCCESS"), NO_WORD, NotFinal),
            (json!("success"), NO_WORD, NotFinal),
            (json!(0), NO_WORD, NotFinal),
            (json!("0"), NO_WORD, NotFinal),
            (json!("081288910205"), NO_WORD, NotFinal),
        ] {
            let read = with("/latestTransactionStatus", code.clone());
            assert_eq!(read.status.as_deref(), Some(word), "{code}");
            assert_eq!(read.report().unwrap().status, meaning, "{code}");
        }
        for none in [json!(null), json!(""), json!([]), json!({"x": 1})] {
            assert!(with("/latestTransactionStatus", none.clone()).report().is_none(), "{none}");
        }
    }

    #[test]
    fn an_amount_counts_by_its_value_and_only_in_rupiah() {
        let fifty = ReportedAmount::Whole(Rupiah::new(50_000).unwrap());
        for (amount, expected) in [
            (json!({"value": "50000.00", "currency": "IDR"}), Some(fifty)),
            (json!({"value": "50000", "currency": "idr"}), Some(fifty)),
            (json!({"value": 50000}), Some(fifty)),
            (json!({"value": "5E+4", "currency": null}), Some(fifty)),
            (json!("50000"), Some(fifty)),
            (json!(50000), Some(fifty)),
            (json!({"value": "50000.00", "currency": "USD"}), Some(ReportedAmount::Other)),
            (json!({"value": "50000.00", "currency": "Astari 0812"}), Some(ReportedAmount::Other)),
            (json!({"value": "50000.50", "currency": "IDR"}), Some(ReportedAmount::Other)),
            (json!({"value": null, "currency": "IDR"}), None),
            (json!({"currency": "IDR"}), None),
            (json!(["50000"]), None),
            (json!(null), None),
        ] {
            let read = with("/amount", amount.clone());
            assert_eq!(read.amount.as_deref().map(ReportedAmount::read), expected, "{amount}");
            assert!(!read.amount.unwrap_or_default().contains("Astari"));
        }
    }

    #[test]
    fn another_channel_names_a_request_that_is_none_of_ours() {
        let request = |body: Value| read("1", body.to_string().as_bytes()).unwrap().request;
        assert_eq!(request(good()).as_deref(), Some("INV-1"));
        assert_eq!(with("/additionalInfo/channelId", json!("jenius")).request.as_deref(), Some("INV-1"));
        assert_eq!(with("/additionalInfo", json!("x")).request.as_deref(), Some("INV-1"));
        assert_eq!(with("/originalReferenceNo", json!(null)).request, None);
        let dana = with("/additionalInfo/channelId", json!("EMONEY_DANA_SNAP"));
        assert_eq!(dana.request.as_deref(), Some("EMONEY_DANA_SNAP: INV-1"));
        let both = json!({"channelId": "EMONEY_JENIUS_SNAP", "channel": "EMONEY_DANA_SNAP"});
        assert_eq!(with("/additionalInfo", both).request.as_deref(), Some("EMONEY_DANA_SNAP: INV-1"));
        let unnamed = with("/additionalInfo", json!({"channel": "OVO"}));
        assert_eq!(unnamed.request.as_deref(), Some("OVO: INV-1"));
        assert_eq!(request(virtual_account()).as_deref(), Some("VIRTUAL_ACCOUNT_BANK_CIMB: 4180"));
        let mut bare = virtual_account();
        bare.as_object_mut().unwrap().remove("additionalInfo");
        assert_eq!(request(bare).as_deref(), Some("VIRTUAL_ACCOUNT: 4180"));
        let mut mixed = good();
        mixed["virtualAccountNo"] = json!("19008");
        assert_eq!(request(mixed).as_deref(), Some("VIRTUAL_ACCOUNT: "));
    }

    #[test]
    fn a_virtual_accounts_body_is_a_success() {
        let body = virtual_account().to_string();
        let read = read("1", body.as_bytes()).unwrap();
        assert_eq!((read.invoice_number.as_str(), read.status.as_deref()), ("INV-1", Some("SUCCESS")));
        assert_eq!(read.amount.as_deref(), Some("50000"));
        assert!(is_of_virtual_account(body.as_bytes()));
        assert!(!is_of_virtual_account(good().to_string().as_bytes()) && !is_of_virtual_account(b"x"));
    }

    #[test]
    fn a_body_without_an_invoice_is_incomplete() {
        let long = json!({"originalPartnerReferenceNo": "x".repeat(INVOICE_CHARS_MAX + 1)}).to_string();
        for body in [
            "",
            "[]",
            "{}",
            r#"{"originalPartnerReferenceNo":null}"#,
            r#"{"originalPartnerReferenceNo":""}"#,
            r#"{"originalPartnerReferenceNo":["INV-1"]}"#,
            r#"{"originalPartnerReferenceNo":"A","originalPartnerReferenceNo":"B"}"#,
            r#"{"order":{"invoice_number":"INV-1","amount":"50000"},"transaction":{"status":"SUCCESS"}}"#,
            long.as_str(),
        ] {
            assert_eq!(read("1", body.as_bytes()), Err(Incomplete), "{body}");
        }
        assert_eq!(read("1", b"{\"originalPartnerReferenceNo\":\"\xff\"}"), Err(Incomplete));
    }

    #[test]
    fn both_forms_of_one_report_say_the_same() {
        let own = br#"{"order":{"invoice_number":"INV-1","amount":50000},
                       "transaction":{"status":"SUCCESS","original_request_id":"INV-1"}}"#;
        let own = super::super::super::notification::read("R-1", own).unwrap();
        let snap = read("70", good().to_string().as_bytes()).unwrap();
        assert_eq!(snap.report_key(), own.report_key());
        assert_eq!(
            (snap.invoice_number, snap.status, snap.amount),
            (own.invoice_number, own.status, own.amount)
        );
    }
}
