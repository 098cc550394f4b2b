//! The bearer tokens that DOKU fetches from the ingress.

use super::with_dokus_key;
use crate::harness::{
    World,
    commands::payment_with,
    eventually,
    snap::{SnapReport, key_files, now},
    world::CLIENT_ID,
};
use jenius_pay::config::{Config, RequiredSections, Source};

/// Now, moved by so many seconds, as DOKU writes it in Jakarta.
fn stamp(seconds: i64) -> String {
    let wib = chrono::FixedOffset::east_opt(7 * 3600).unwrap();
    (now() + chrono::TimeDelta::seconds(seconds)).with_timezone(&wib).to_rfc3339()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doku_fetches_a_token_and_where_it_must_be_ours_no_other_is_taken() {
    let world = with_dokus_key().set("DOKU__SNAP__TOKEN", "issued").build().await;
    let (status, answer) = world.ask_token(CLIENT_ID, &stamp(0)).await;
    assert_eq!((status, answer["responseCode"].as_str()), (200, Some("2007300")), "{answer}");
    assert_eq!((answer["tokenType"].as_str(), answer["expiresIn"].as_u64()), (Some("Bearer"), Some(900)));
    assert_eq!(
        (answer["responseMessage"].as_str(), answer["additionalInfo"].as_str()),
        (Some("Successful"), Some(""))
    );
    let token = answer["accessToken"].as_str().unwrap();

    for (what, client_id, at, expected) in [
        ("too old", CLIENT_ID, stamp(-400), 401),
        ("too far ahead", CLIENT_ID, stamp(400), 401),
        ("nobody's", "MCH-9", stamp(0), 401),
        ("no time", CLIENT_ID, "now".to_owned(), 401),
        ("four minutes ahead", CLIENT_ID, stamp(240), 200),
    ] {
        let (status, answer) = world.ask_token(client_id, &at).await;
        let code = if expected == 200 { "2007300" } else { "4017300" };
        assert_eq!((status, answer["responseCode"].as_str()), (expected, Some(code)), "{what}: {answer}");
    }
    let (status, answer) = world.ask_token_signed(CLIENT_ID, &stamp(0), "AAAA").await;
    assert_eq!((status, answer["responseCode"].as_str()), (401, Some("4017300")));

    let invoice = world.waiting().await;
    let report = SnapReport::success(&invoice);
    let (status, answer) = world.post_snap(&report).await;
    assert_eq!((status, answer["responseCode"].as_str()), (401, Some("4015600")), "a token of nobody's");
    world.notify_snap(&report.with_token(token)).await;
    world.event(&invoice, "order.paid").await;

    // So does the sandbox, and with a token that ended it is refused.
    let paid = world.invoice();
    world.publish(&payment_with(&paid, "notify_snap")).await;
    world.event(&paid, "order.paid").await;
    let stale = world.invoice();
    world.publish(&payment_with(&stale, "notify_snap_stale_token")).await;
    let answered =
        async || world.sandbox.ledger().notifications_of(&stale).next().map(|sent| sent.http_status);
    assert_eq!(eventually("the stale one", answered).await, Some(401));
    assert_eq!(world.order(&stale).await["state"], "awaiting_payment");
    world.end().await;
}

/// Replicas and a rotation share nothing but the configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_at_every_replica_and_after_a_rotation() {
    let mut world = with_dokus_key().set("DOKU__SNAP__TOKEN", "issued").build().await;
    let (_, answer) = world.ask_token(CLIENT_ID, &stamp(0)).await;
    let token = answer["accessToken"].as_str().unwrap().to_owned();
    world.stop().await;
    let old = world.settings.insert("DOKU_SECRET_KEY".to_owned(), "SK-canary-new".to_owned()).unwrap();
    world.settings.insert("JENIUS_PAY__DOKU__PREVIOUS_SECRET_KEYS".to_owned(), old);
    world.start(&jenius_pay::app::Role::UNNAMED).await;
    let report = SnapReport::success(&world.invoice()).with_token(&token);
    assert_eq!(world.post_snap(&report).await.0, 200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_dokus_public_key_no_token_is_given_and_nothing_by_rsa_is_believed() {
    let world = World::with().notified().build().await;
    let url = format!("{}/authorization/v1/access-token/b2b", world.ingress());
    let answer = crate::harness::http().post(&url).body("{}").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    let report = SnapReport::success(&world.invoice()).by_doku();
    assert_eq!(world.post_snap(&report).await.0, 401);
    world.end().await;
}

#[test]
fn what_is_no_rsa_key_and_issued_without_one_are_faults_of_the_configuration() {
    let faults = |settings: &[(&str, &str)]| {
        let read = |path: &std::path::Path| std::fs::read_to_string(path);
        let named = settings.iter().map(|(key, value)| (format!("JENIUS_PAY__DOKU__SNAP__{key}"), *value));
        Config::load(&Source::new(None, named, read), RequiredSections::NOTHING)
            .err()
            .map(|faults| faults.to_string())
    };
    let (private, public) = key_files();
    assert_eq!(faults(&[("PUBLIC_KEY_FILES", public.to_str().unwrap()), ("TOKEN", "issued")]), None);
    for (settings, expected) in [
        (&[("TOKEN", "issued")][..], "no token can be issued without DOKU's public key"),
        (&[("TOKEN", "none")], "allowed: any, issued"),
        (&[("PUBLIC_KEY_FILES", "/nowhere.pem")], "cannot be read"),
        (&[("PUBLIC_KEY_FILES", private.to_str().unwrap())], "no PUBLIC KEY block"),
    ] {
        let found = faults(settings).unwrap_or_default();
        assert!(found.contains(expected), "{settings:?}: {found}");
    }
}
