//! What the ingress answers to the SNAP form: the same judgements in the same order, in SNAP's words.

use super::with_dokus_key;
use crate::harness::{
    http,
    snap::{Signer, SnapReport},
    world::{PATH, World},
};
use serde_json::Value;

/// One request with exactly these headers.
async fn ask(world: &World, headers: &[(&str, String)], body: &[u8]) -> (u16, Value) {
    let url = format!("{}{PATH}", world.ingress());
    let request =
        headers.iter().fold(http().post(url), |request, (name, value)| request.header(*name, value));
    let answer = request.body(body.to_vec()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_fault_of_a_request_decides_its_answer_in_snaps_words() {
    let world = with_dokus_key().build().await;
    let invoice = world.waiting().await;
    let good = SnapReport::success(&invoice);
    let forged = SnapReport { signer: Signer::Key("SK-forged".to_owned()), ..good.clone() };
    let nobody = SnapReport { partner_id: "MCH-9".to_owned(), ..good.clone() };
    let by_doku = good.clone().by_doku();
    let account = SnapReport::of_virtual_account(&world.invoice());
    let huge = SnapReport::with_body(vec![b' '; 256 * 1024 + 1]);
    let largest = SnapReport::with_body({
        let mut body = SnapReport::success(&world.invoice()).body;
        body.resize(256 * 1024, b' ');
        body
    });
    let signed = good.headers();
    let and = |more: (&'static str, &str)| [signed.as_slice(), &[(more.0, more.1.to_owned())]].concat();
    let without = |report: &SnapReport, name: &str| -> Vec<(&'static str, String)> {
        report.headers().into_iter().filter(|(n, _)| *n != name).collect()
    };
    let long_token = SnapReport::success(&invoice).with_token(&"x".repeat(4096));
    let longest_token = SnapReport::success(&invoice).with_token(&"x".repeat(4096 - "Bearer ".len()));
    for (what, headers, body, status, code) in [
        ("too large", huge.headers(), &huge.body, 413, "4135600"),
        ("no partner", without(&good, "X-PARTNER-ID"), &good.body, 400, "4005600"),
        ("no timestamp", without(&good, "X-TIMESTAMP"), &good.body, 400, "4005600"),
        ("no token", without(&good, "Authorization"), &good.body, 400, "4005600"),
        ("a long token", long_token.headers(), &long_token.body, 400, "4005600"),
        ("no body", signed.clone(), &Vec::new(), 400, "4005600"),
        ("two signatures", and(("X-SIGNATURE", "x")), &good.body, 400, "4005600"),
        ("two partners", and(("X-PARTNER-ID", "x")), &good.body, 400, "4005600"),
        ("two timestamps", and(("X-TIMESTAMP", "x")), &good.body, 400, "4005600"),
        ("two tokens", and(("Authorization", "x")), &good.body, 400, "4005600"),
        ("forged", forged.headers(), &forged.body, 401, "4015600"),
        ("nobody's", nobody.headers(), &nobody.body, 401, "4015600"),
        ("another body", signed.clone(), &b"{}".to_vec(), 401, "4015600"),
        ("good", signed.clone(), &good.body, 200, "2005600"),
        ("good, and an odd Signature", and(("Signature", "x")), &good.body, 200, "2005600"),
        ("the longest token", longest_token.headers(), &longest_token.body, 200, "2005600"),
        ("the largest", largest.headers(), &largest.body, 200, "2005600"),
        ("a virtual account's", account.headers(), &account.body, 200, "2002500"),
        ("by DOKU's own key", by_doku.headers(), &by_doku.body, 200, "2005600"),
    ] {
        let (got, answer) = ask(&world, &headers, body).await;
        assert_eq!((got, answer["responseCode"].as_str()), (status, Some(code)), "{what}: {answer}");
        assert!(answer["responseMessage"].is_string(), "{what}: {answer}");
    }
    // DOKU's own signature decides, whatever else is there; and without any it is no SNAP.
    let (status, answer) = ask(&world, &and(("Signature", "HMACSHA256=AAAA")), &good.body).await;
    assert_eq!((status, answer.get("responseCode")), (400, None), "{answer}");
    let (status, answer) = ask(&world, &without(&good, "X-SIGNATURE"), &good.body).await;
    assert_eq!((status, answer.get("responseCode")), (400, None), "{answer}");
    world.event(&invoice, "order.paid").await;
    let (_, metrics) = world.admin("/metrics").await;
    for role in ["ingress", "reconciler"] {
        let label = format!("jenius_notifications_verified_total{{role=\"{role}\",form=\"snap\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&label)).unwrap();
        assert_ne!(count, "0", "{role}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_paths_in_rotation_still_verify_in_the_snap_form() {
    let setting = with_dokus_key().set("DOKU__PREVIOUS_SECRET_KEYS", "SK-canary-older,SK-canary-old");
    let world = setting.set("DOKU__PREVIOUS_NOTIFICATION_PATHS", "/older").build().await;
    for key in ["SK-canary-old", "SK-canary-older"] {
        let invoice = world.waiting().await;
        let signer = Signer::Key(key.to_owned());
        world.notify_snap(&SnapReport { signer, ..SnapReport::success(&invoice) }).await;
        world.event(&invoice, "order.paid").await;
    }
    let invoice = world.waiting().await;
    let older = SnapReport { signed_path: "/older".to_owned(), ..SnapReport::success(&invoice) };
    world.notify_snap(&older).await;
    world.event(&invoice, "order.paid").await;
    let elsewhere = SnapReport { signed_path: "/elsewhere".to_owned(), ..SnapReport::success(&invoice) };
    assert_eq!(world.post_snap(&elsewhere).await.0, 401);
    world.end().await;
}
