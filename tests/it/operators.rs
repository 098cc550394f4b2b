//! Operators ask DOKU about an order, and decide for those in review.

use crate::harness::{World, child::run, commands, eventually, payment, reports::Report, world::CLIENT_ID};
use doku_sandbox::{Faults, TransactionStatus};
use jenius_pay::app::Role;
use serde_json::{Value, json};
use std::{process::Output, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);
/// Past `retry.payment_max_elapsed_ms`.
const PAST_THE_BUDGET: Duration = Duration::from_secs(16 * 60);

/// Follow-up asks so late that whatever is learned, an operator asked for.
async fn late_check() -> World {
    World::with().set("CHECK__FIRST_AFTER_MS", 3_000_000).build().await
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn check_faults(word: &str) -> Faults {
    Faults { check: Some(word.to_owned()), ..Faults::default() }
}

/// `orders check`: what it says, after the exit code that is expected.
async fn check(world: &World, invoice: &str, code: i32) -> String {
    let output = run(world, &["orders", "check", invoice], "").await;
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    text(&output)
}

async fn resolve(world: &World, invoice: &str, state: &str, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["orders", "resolve", invoice, "--state", state, "--yes"], more].concat();
    let output = run(world, &arguments, "").await;
    (output.status.code(), text(&output))
}

/// An order that DOKU took and nobody has paid yet.
async fn waiting(world: &World) -> String {
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "never_pays")).await;
    world.event(&invoice, "payment.accepted").await;
    invoice
}

fn at_doku(world: &World, invoice: &str, status: TransactionStatus) {
    assert!(world.sandbox.set_status(CLIENT_ID, invoice, status));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_check_asks_now_and_says_what_changed() {
    let world = late_check().await;
    let invoice = waiting(&world).await;
    let due = world.order(&invoice).await["due"].clone();
    let said = check(&world, &invoice, 0).await;
    assert!(said.contains("PENDING") && said.contains("awaiting_payment, as before"), "{said}");
    assert_eq!(world.order(&invoice).await["due"], due, "asking moves no schedule");
    at_doku(&world, &invoice, TransactionStatus::Success);
    let said = check(&world, &invoice, 0).await;
    for word in ["SUCCESS", "awaiting_payment -> paid", "order.paid"] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
    let paid = world.event(&invoice, "order.paid").await;
    assert_eq!((paid.data("evidence"), paid.data("late")), (&json!("check"), &json!(false)));
    let results: Vec<_> = world.order(&invoice).await["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["result"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(results, ["accepted", "pending", "success"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_check_fails_where_nothing_can_be_learned() {
    let world = late_check().await;
    assert!(check(&world, "NO-SUCH", 1).await.contains("no order NO-SUCH"));
    let invoice = waiting(&world).await;
    world.sandbox.set_faults(check_faults("500")).unwrap();
    let said = check(&world, &invoice, 1).await;
    assert!(said.contains("no answer") && said.contains("as before"), "{said}");
    world.sandbox.set_faults(check_faults("wrong_signature")).unwrap();
    at_doku(&world, &invoice, TransactionStatus::Success);
    check(&world, &invoice, 1).await;
    assert_eq!(world.told(&invoice), ["payment.accepted"]);
    let asked = world.sandbox.ledger().inquiries_of(&invoice).count();
    let mut moved = world;
    moved.settings.insert("DOKU_CLIENT_ID".to_owned(), "MCH-0009-9".to_owned());
    let said = check(&moved, &invoice, 1).await;
    assert!(said.contains("not asked about elsewhere"), "{said}");
    assert_eq!(moved.sandbox.ledger().inquiries_of(&invoice).count(), asked);
    moved.settings.remove("DOKU_CLIENT_ID");
    moved.settings.remove("DOKU_SECRET_KEY");
    moved.settings.retain(|key, _| !key.contains("MERCHANTS"));
    check(&moved, &invoice, 2).await;
    moved.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_from_the_back_office_is_found_though_nothing_was_due() {
    let world = late_check().await;
    let invoice = waiting(&world).await;
    at_doku(&world, &invoice, TransactionStatus::Success);
    check(&world, &invoice, 0).await;
    assert_eq!(world.order(&invoice).await["due"], Value::Null);
    at_doku(&world, &invoice, TransactionStatus::Refunded);
    check(&world, &invoice, 0).await;
    let refunded = world.event(&invoice, "order.refunded").await;
    assert_eq!(
        (refunded.data("command_id"), refunded.data("previous_state")),
        (&Value::Null, &json!("paid"))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_not_paid_and_then_is_is_paid_late() {
    let world = late_check().await;
    for (status, event) in
        [(TransactionStatus::Failed, "order.failed"), (TransactionStatus::Expired, "order.expired")]
    {
        let invoice = waiting(&world).await;
        at_doku(&world, &invoice, status);
        check(&world, &invoice, 0).await;
        let told = world.event(&invoice, event).await;
        assert_eq!(told.data("late"), &json!(false));
        at_doku(&world, &invoice, TransactionStatus::Success);
        check(&world, &invoice, 0).await;
        let paid = world.event(&invoice, "order.paid").await;
        assert_eq!(paid.data("late"), &json!(true));
        at_doku(&world, &invoice, status);
        check(&world, &invoice, 0).await;
        assert_eq!(
            world.told(&invoice),
            ["payment.accepted", event, "order.paid"],
            "paid is left by no report"
        );
    }
    // A review lies between: the goods are gone all the same.
    let invoice = waiting(&world).await;
    at_doku(&world, &invoice, TransactionStatus::Expired);
    check(&world, &invoice, 0).await;
    world.notify(&Report::of(&invoice, "SUCCESS", "\"60000\"")).await;
    world.event(&invoice, "order.review").await;
    resolve(&world, &invoice, "paid", &["--reason", "bank statement"]).await;
    assert_eq!(world.event(&invoice, "order.paid").await.data("late"), &json!(true));
    world.end().await;
}

/// The order's sends have ended in doubt, and no follow-up runs: the operator's question is the one that
/// concludes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_found_within_the_grace_changes_nothing_and_after_it_abandons() {
    let mut world = World::with().set("CHECK__FIRST_AFTER_MS", 60_000).without_service().build().await;
    world.start(&[Role::Worker, Role::Relay]).await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "drop*")).await;
    eventually("the send", async || {
        let order = world.find_order(&invoice).await?;
        (order["attempts"][0]["result"] == "in_doubt").then_some(())
    })
    .await;
    let said = check(&world, &invoice, 0).await;
    assert!(said.contains("does not know the order") && said.contains("submitting, as before"), "{said}");
    world.database.jump(PAST_THE_BUDGET).await;
    check(&world, &invoice, 0).await;
    assert_eq!(world.order(&invoice).await["state"], "submitting");
    world.database.jump(2 * HOUR).await;
    let said = check(&world, &invoice, 0).await;
    assert!(said.contains("submitting -> abandoned"), "{said}");
    world.event(&invoice, "payment.abandoned").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_amount_is_for_review_which_is_listed_with_its_cause() {
    let world = late_check().await;
    let invoice = waiting(&world).await;
    world.sandbox.set_faults(check_faults("other_amount")).unwrap();
    let said = check(&world, &invoice, 0).await;
    assert!(said.contains("awaiting_payment -> review: amount_mismatch"), "{said}");
    let review = world.event(&invoice, "order.review").await;
    assert_eq!(review.data("error")["code"], "amount_mismatch");
    world.sandbox.set_faults(Faults::default()).unwrap();
    at_doku(&world, &invoice, TransactionStatus::Success);
    check(&world, &invoice, 0).await;
    assert_eq!(world.order(&invoice).await["state"], "review", "only a person decides about money");
    let listed = text(&run(&world, &["orders", "list", "--state", "review"], "").await);
    assert!(listed.contains(&invoice) && listed.contains("amount_mismatch"), "{listed}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_order_in_review_is_resolved_and_only_with_a_reason() {
    let world = late_check().await;
    let invoice = waiting(&world).await;
    let (code, said) = resolve(&world, &invoice, "paid", &["--reason", "x"]).await;
    assert!(code == Some(1) && said.contains("awaiting_payment"), "{code:?} {said}");
    for more in [&[][..], &["--reason", " "]] {
        assert_eq!(resolve(&world, &invoice, "paid", more).await.0, Some(2), "{more:?}");
    }
    assert_eq!(resolve(&world, "NO-SUCH", "paid", &["--reason", "x"]).await.0, Some(1));
    let elsewhere = resolve(&world, &invoice, "paid", &["--reason", "x", "--merchant", "other"]).await;
    assert_eq!(elsewhere.0, Some(1), "another merchant's");
    assert_eq!(world.told(&invoice), ["payment.accepted"]);
    world.end().await;
}

/// How orders come into review, each with what had been told before.
async fn in_review(world: &World, cause: &str) -> String {
    let invoice = waiting(world).await;
    let before = match cause {
        "of a waiting order" => TransactionStatus::Pending,
        "of a paid order" => TransactionStatus::Success,
        "of a failed order" => TransactionStatus::Failed,
        "of a refunded order" => TransactionStatus::Refunded,
        other => panic!("{other}"),
    };
    at_doku(world, &invoice, before);
    check(world, &invoice, 0).await;
    world.sandbox.set_faults(check_faults("other_amount")).unwrap();
    check(world, &invoice, 0).await;
    world.sandbox.set_faults(Faults::default()).unwrap();
    world.event(&invoice, "order.review").await;
    invoice
}

/// Another amount, seen in every state that an operator may decide for: a state that was announced before
/// is told as resolved, one that never was as what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_about_an_amount_is_told_by_what_had_been_announced() {
    let world = late_check().await;
    for (cause, verdict, told) in [
        ("of a waiting order", "paid", "order.paid"),
        ("of a waiting order", "failed", "order.failed"),
        ("of a waiting order", "refunded", "order.refunded"),
        ("of a paid order", "paid", "order.resolved"),
        ("of a paid order", "failed", "order.failed"),
        ("of a failed order", "failed", "order.resolved"),
        ("of a failed order", "paid", "order.paid"),
        ("of a refunded order", "refunded", "order.resolved"),
    ] {
        let invoice = in_review(&world, cause).await;
        let (code, said) = resolve(&world, &invoice, verdict, &["--reason", "bank statement"]).await;
        assert!(code == Some(0) && said.contains(told), "{cause}: {code:?} {said}");
        let event = world.event(&invoice, told).await;
        let facts = ["state", "previous_state", "evidence"].map(|member| event.data(member).clone());
        assert_eq!(facts, [json!(verdict), json!("review"), json!("operator")], "{cause}");
        assert_eq!(world.order(&invoice).await["state"], verdict);
        assert_eq!(resolve(&world, &invoice, verdict, &["--reason", "again"]).await.0, Some(1), "only once");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_given_up_and_an_unresolved_payment_are_told_as_what_they_became() {
    let world = late_check().await;
    let mut given_up = Vec::new();
    for _ in 0..3 {
        given_up.push(waiting(&world).await);
    }
    world.database.jump(73 * HOUR).await;
    resolve_each(&world, &given_up, "order.review").await;

    let (payment_word, check_word) = ("act_then_drop".to_owned(), "500".to_owned());
    let faults = Faults { payment: Some(payment_word), check: Some(check_word), ..Faults::default() };
    world.sandbox.set_faults(faults).unwrap();
    let unresolved: Vec<_> = (0..3).map(|_| world.invoice()).collect();
    for invoice in &unresolved {
        world.publish(&payment(invoice)).await;
        eventually("a send in doubt", async || {
            let order = world.find_order(invoice).await?;
            (order["attempts"][0]["result"] == "in_doubt").then_some(())
        })
        .await;
    }
    // Three inquiries must fail after the end, each a while after the one before.
    for hours in 0..4 {
        world.database.jump(73 * HOUR + PAST_THE_BUDGET + hours * HOUR).await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    }
    resolve_each(&world, &unresolved, "payment.unresolved").await;
    world.end().await;
}

/// Three orders in review that had not been told as anything final: one becomes each.
async fn resolve_each(world: &World, invoices: &[String], entered: &str) {
    for (invoice, verdict) in invoices.iter().zip(["paid", "failed", "refunded"]) {
        world.event(invoice, entered).await;
        let (code, said) = resolve(world, invoice, verdict, &["--reason", "bank statement"]).await;
        assert_eq!(code, Some(0), "{said}");
        let event = world.event(invoice, &format!("order.{verdict}")).await;
        assert_eq!(event.data("evidence"), "operator");
        assert_eq!(world.order(invoice).await["due"], Value::Null, "a decision is not asked about again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_shown_with_its_reason_and_who_made_it() {
    let mut world = late_check().await;
    let invoice = in_review(&world, "of a paid order").await;
    world.settings.insert("JENIUS_OPERATOR".to_owned(), "ratna".to_owned());
    resolve(&world, &invoice, "paid", &["--reason", "bank statement of May"]).await;
    let shown = text(&run(&world, &["orders", "show", &invoice, "--wide"], "").await);
    for words in ["decision on amount_mismatch", "): bank statement of May", "paid by ratna ("] {
        assert!(shown.contains(words), "{words} is not in:\n{shown}");
    }
    let program = text(&run(&world, &["orders", "show", &invoice, "--json"], "").await);
    assert!(!program.contains("bank statement"), "every member of the object is documented");
    world.end().await;
}

/// Three refunds of which nobody knows: as `paid` an order takes another refund, so somebody has to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresolved_refund_is_resolved_as_paid_only_by_who_checked_doku() {
    let world = World::new().await;
    let invoices: Vec<_> = (0..3).map(|_| world.invoice()).collect();
    for invoice in &invoices {
        world.paid(invoice).await;
        world.publish(&commands::refund_with(invoice, "drop*")).await;
    }
    for invoice in &invoices {
        eventually("a send in doubt", async || {
            let order = world.order(invoice).await;
            (order["refund"]["attempts"][0]["result"] == "in_doubt").then_some(())
        })
        .await;
    }
    world.database.jump(25 * HOUR).await;
    for invoice in &invoices {
        world.event(invoice, "refund.unresolved").await;
    }
    let [paid, refunded, failed] = invoices.as_slice() else { panic!("three") };
    let (code, said) = resolve(&world, paid, "paid", &["--reason", "x"]).await;
    assert!(
        code == Some(2) && said.contains("refunded twice") && said.contains("--i-checked-doku"),
        "{said}"
    );
    assert_eq!(world.order(paid).await["state"], "review");
    let (code, said) = resolve(&world, paid, "paid", &["--reason", "x", "--i-checked-doku"]).await;
    assert_eq!(code, Some(0), "{said}");
    let event = world.event(paid, "order.resolved").await;
    assert_eq!((event.data("state"), event.data("evidence")), (&json!("paid"), &json!("operator")));
    world.publish(&commands::refund(paid)).await;
    world.event(paid, "order.refunded").await;
    assert_eq!(world.sandbox.ledger().refunds_of(paid).count(), 1);

    assert_eq!(resolve(&world, refunded, "refunded", &["--reason", "x"]).await.0, Some(0));
    let event = world.event(refunded, "order.refunded").await;
    assert_eq!(event.data("evidence"), "operator");
    let again = commands::refund(refunded);
    world.publish(&again).await;
    assert_eq!(world.errors(again.id()).await[0].0, "already_refunded");
    // It was paid: called failed, an upstream service would charge the customer again.
    let (code, said) = resolve(&world, failed, "failed", &["--reason", "x"]).await;
    assert!(code == Some(1) && said.contains("allowed: refunded, paid"), "{code:?} {said}");
    assert_eq!(world.order(failed).await["state"], "review");
    world.end().await;
}

/// What a person sees before anything is done, and that a program has to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_resolve_says_first_what_it_will_do_and_does_nothing_unless_it_is_told_to() {
    let world = World::with().notified().build().await;
    let invoice = waiting(&world).await;
    world.notify(&Report::of(&invoice, "SUCCESS", "50001")).await;
    world.event(&invoice, "order.review").await;
    let arguments = ["orders", "resolve", &invoice, "--state", "paid", "--reason", "seen"];
    let foretold = [
        "state    review: amount_mismatch since ",
        "becomes  paid",
        "events   order.paid, evidence operator",
    ];
    for (more, code, end) in
        [(&["--dry-run"][..], 0, "nothing was done"), (&[], 2, "pass --yes to do it, or --dry-run")]
    {
        let output = run(&world, &[&arguments[..], more].concat(), "").await;
        let told = text(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(foretold.iter().all(|part| told.contains(part)) && told.contains(end), "{told}");
    }
    assert_eq!(world.order(&invoice).await["state"], "review");
    assert_eq!(world.database.count("SELECT count(*) FROM decisions").await, 0);
    let (code, told) = resolve(&world, &invoice, "paid", &["--reason", "seen"]).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(foretold.iter().all(|part| told.contains(part)), "{told}");
    assert!(told.ends_with(&format!("{invoice} of default is paid now: order.paid\n")), "{told}");
    let shown = text(&run(&world, &["orders", "show", &invoice, "--wide"], "").await);
    assert!(shown.contains("SUCCESS Rp50.001, not applied: amount mismatch"), "{shown}");
    world.end().await;
}
