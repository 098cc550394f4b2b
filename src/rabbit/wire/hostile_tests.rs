//! Whatever comes from a queue is refused, or read as something that keeps its own rules.

use super::{notification, read_command};
use crate::domain::{
    command::CommandKind,
    ids::InvoiceNumber,
    money::Rupiah,
    mutation_tests::mutated,
    signed::{HEADERS, HeaderOccurrence, SNAP_HEADERS, SignedHeaders},
    validate::{self, Rules, VIOLATIONS_MAX},
};
use crate::flow::ports::ReceivedNotification;
use bytes::Bytes;
use proptest::prelude::*;

fn commands() -> Vec<Vec<u8>> {
    let payment = include_str!("../../../tests/vectors/payment.json");
    let refund = include_str!("../../../tests/vectors/refund.json");
    [(CommandKind::Payment, payment), (CommandKind::Refund, refund)]
        .map(|(kind, data)| {
            format!(
                r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"{}","expirytime":"2026-01-31T17:00:00Z","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{data}}}"#,
                kind.event_type()
            )
            .into_bytes()
        })
        .to_vec()
}

fn notifications() -> Vec<Vec<u8>> {
    let headers = [
        SignedHeaders::read(|_| HeaderOccurrence::Once("HMACSHA256=x")).unwrap(),
        SignedHeaders::read(|_| HeaderOccurrence::Once("x")).unwrap(),
    ];
    let received = |headers: &SignedHeaders, body: &'static [u8]| ReceivedNotification {
        request_target: "/payments/notifications".to_owned(),
        headers: headers.clone(),
        body: Bytes::from_static(body),
    };
    let bodies = [b"{ \"order\": {} }".as_slice(), b"\xff\0"];
    let all = headers.iter().flat_map(|headers| bodies.map(|body| received(headers, body)));
    all.map(|received| notification::write(&received, "id-1").unwrap().to_vec()).collect()
}

/// The signed headers by their names, and how long each may be.
fn signed(headers: &SignedHeaders) -> Vec<(&'static str, &str, usize)> {
    match headers {
        SignedHeaders::Jenius(own) => HEADERS
            .into_iter()
            .zip([&own.client_id, &own.request_id, &own.timestamp, &own.signature])
            .map(|(name, value)| (name, value.as_str(), 256))
            .collect(),
        SignedHeaders::Snap(snap) => SNAP_HEADERS
            .into_iter()
            .zip([(&snap.partner_id, 256), (&snap.timestamp, 256), (&snap.signature, 2048)])
            .map(|(name, (value, most))| (name, value.as_str(), most))
            .chain(snap.authorization.as_deref().map(|value| ("Authorization", value, 4096)))
            .collect(),
    }
}

proptest! {
    #[test]
    fn a_command_that_is_read_keeps_the_rules_of_its_parts(
        body in mutated(commands()),
        kind in prop::sample::select(CommandKind::ALL.to_vec()),
    ) {
        let incoming = match read_command(kind, None, &body) {
            Ok(incoming) => incoming,
            Err(malformed) => {
                prop_assert!(malformed.detail.len() < 400 && !malformed.detail.contains(char::is_control));
                return Ok(());
            }
        };
        let repeated = incoming.command.invoice_number.as_deref().unwrap_or("x");
        prop_assert!((1..=128).contains(&repeated.chars().count()) && !repeated.contains(char::is_control));
        prop_assert_eq!(read_command(kind, None, &body).unwrap().command.digest, incoming.command.digest);
        let rules = Rules { notification_path: "/payments/notifications".to_owned(), production: true };
        let judged = match kind {
            CommandKind::Payment => validate::payment(&incoming.data, &rules),
            CommandKind::Refund => validate::refund(&incoming.data),
        };
        match judged {
            Ok(valid) => {
                prop_assert!(InvoiceNumber::parse(valid.invoice_number.as_str()).is_ok());
                prop_assert_eq!(valid.invoice_number.as_str(), repeated);
                prop_assert!((1..=Rupiah::MAX).contains(&valid.amount.get()));
                let sent: serde_json::Value = serde_json::from_slice(&incoming.body).unwrap();
                prop_assert_eq!(&sent["order"]["invoice_number"], repeated);
                prop_assert_eq!(&sent["order"]["amount"], &valid.amount.to_string());
            }
            Err(violations) => {
                prop_assert!((1..=VIOLATIONS_MAX).contains(&violations.len()));
                for violation in violations {
                    prop_assert!(violation.field.chars().count() <= 256);
                    prop_assert!(!violation.field.contains(char::is_control));
                }
            }
        }
    }

    #[test]
    fn a_notification_that_is_read_has_usable_headers_and_survives_the_way(body in mutated(notifications())) {
        let Ok(read) = notification::read(None, &body) else { return Ok(()) };
        for (name, value, most) in signed(&read.headers) {
            prop_assert!((1..=most).contains(&value.len()) && !value.contains(char::is_control), "{}", name);
        }
        let again = notification::write(&read, "id-2").unwrap();
        prop_assert_eq!(notification::read(None, &again), Ok(read));
    }
}
