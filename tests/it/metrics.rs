//! Metrics: what happens in the world moves the figure that an alert would look at. The process of the tests
//! has one recorder for all worlds: what is asserted carries this world's own queue or merchant, or only grows.

use crate::harness::{
    World,
    child::Service,
    commands, eventually, get, payment, refund,
    reports::Report,
    vitals::{self, metric},
    world::PATH,
};
use doku_sandbox::{Faults, Merchant};
use jenius_pay::app::Role;
use std::time::Duration;

impl World {
    async fn figure(&self, words: &[&str]) -> f64 {
        metric(&self.app().admin_address().to_string(), words).await
    }

    async fn figure_becomes(&self, words: &[&str], wanted: f64) {
        eventually(&format!("{words:?} to be {wanted}"), async || {
            (self.figure(words).await == wanted).then_some(())
        })
        .await;
    }

    fn queue_label(&self, queue: &str) -> String {
        format!("queue=\"{}.{queue}\"", self.broker.prefix)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ready_in_every_queue_is_told() {
    let mut world = World::new().await;
    world.stop().await;
    world.publish(&payment(&world.invoice())).await;
    world.publish(&refund(&world.invoice())).await;
    world.publish(&refund(&world.invoice())).await;
    world.queue(&Report::success(&world.invoice()).event()).await;
    for _ in 0..3 {
        world.broker.publish_bytes("payment.requests", "application/json", b"{}").await;
    }
    world.broker.publish_to("dead", "x", "application/json", b"{}").await;
    world.start(&[Role::Relay]).await;
    for (queue, ready) in
        [("payments", 1), ("refunds", 2), ("notifications", 1), ("unrouted", 3), ("dead", 1)]
    {
        let label = world.queue_label(queue);
        world.figure_becomes(&["jenius_queue_messages{", &label], f64::from(ready)).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_counted_by_its_reason() {
    let world = World::new().await;
    let counted = async |queue: &str, reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        world.figure(&["jenius_deliveries_dead_lettered_total{", &world.queue_label(queue), &reason]).await
    };
    world.broker.publish_bytes("payment.request", "application/json", b"{}").await;
    world.queue(&Report { key: "SK-forged".to_owned(), ..Report::success("INV-1") }.event()).await;
    for _ in 0..2 {
        world.broker.dead().await;
    }
    for (queue, reason, count) in [
        ("payments", "malformed", 1.0),
        ("payments", "crashed", 0.0),
        ("refunds", "malformed", 0.0),
        ("notifications", "malformed", 0.0),
        ("notifications", "not_authentic", 1.0),
    ] {
        assert_eq!(counted(queue, reason).await, count, "{queue} {reason}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_notification_is_counted_by_its_reason() {
    let world = World::with().notified().build().await;
    let count = async |role: &str, reason: &str| {
        let labels = [format!("role=\"{role}\""), format!("reason=\"{reason}\"")];
        world.figure(&["jenius_notifications_refused_total{", &labels[0], &labels[1]]).await
    };
    let good = Report::success("INV-1");
    let strange = Report { client_id: "MCH-strange".to_owned(), ..good.clone() };
    let forged = Report { key: "SK-forged".to_owned(), ..good.clone() };
    for (reason, path, report, status) in [
        ("another_path", "/elsewhere", &good, 404),
        ("too_large", PATH, &Report::with_body(vec![b' '; 256 * 1024 + 1]), 413),
        ("malformed", PATH, &Report::with_body(""), 400),
        ("header_missing", PATH, &Report { request_id: String::new(), ..good.clone() }, 400),
        ("client_id_unknown", PATH, &strange, 401),
        ("signature_wrong", PATH, &forged, 401),
    ] {
        let before = count("ingress", reason).await;
        assert_eq!(world.post(path, report).await, status, "{reason}");
        assert!(count("ingress", reason).await > before, "{reason}");
    }
    let mut unsigned = good.event();
    unsigned["data"]["headers"]["Signature"] = "".into();
    let mut unreadable = good.event();
    unreadable["data"]["body"] = 7.into();
    for (reason, event) in [
        ("malformed", unreadable),
        ("header_missing", unsigned),
        ("client_id_unknown", strange.event()),
        ("signature_wrong", forged.event()),
    ] {
        let before = count("reconciler", reason).await;
        world.queue(&event).await;
        world.broker.dead().await;
        assert!(count("reconciler", reason).await > before, "{reason}");
    }
    world.end().await;
}

/// Each process has a breaker of its own: one that sends nothing learns from another's report what stops the sends, and one
/// that never sends says nothing of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_due_sends_is_told_by_every_process_that_sends() {
    let setting = World::with().set("BREAKER__FAILURES", 2).set("BREAKER__OPEN_MS", 600_000);
    let world = setting.set("RETRY__INITIAL_MS", 100).build().await;
    world.sandbox.set_faults(Faults { payment: Some("drop".to_owned()), ..Faults::default() }).unwrap();
    for _ in 0..3 {
        world.publish(&payment(&world.invoice())).await;
    }
    let reported = "SELECT count(*) FROM send_stops WHERE stopped_by = 'breaker'";
    eventually("the breaker to open", async || (world.database.count(reported).await > 0).then_some(()))
        .await;
    let relay = Service::start_role(&world, &["--role", "relay"]).await;
    let worker = Service::start_role(&world, &["--role", "worker"]).await;
    let due = async |service: &Service, blocked: &str| {
        let blocked = format!("blocked=\"{blocked}\"");
        metric(&service.admin, &["jenius_due_sends{", "merchant=\"default\"", &blocked]).await
    };
    eventually("the worker to tell", async || (due(&worker, "breaker").await > 0.0).then_some(())).await;
    assert_eq!(due(&worker, "none").await, 0.0);
    let counted = ["jenius_figures_counted_at_seconds{", "figures=\"open\""];
    eventually("the relay to count", async || {
        let page = get(format!("http://{}/metrics", relay.admin)).await.ok()?.1;
        assert!(!page.contains("jenius_due_sends{"), "it knows of no breaker");
        (metric(&relay.admin, &["jenius_open_orders{"]).await > 0.0
            && metric(&relay.admin, &counted).await > 0.0)
            .then_some(())
    })
    .await;
    drop((relay, worker));
    world.end().await;
}

/// DOKU's answer is lost, and so is every later one: it is in doubt until an inquiry settles it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_doubt_are_counted_and_their_age_is_told() {
    let mut world = World::with()
        .set("MERCHANTS__DOUBTFUL__CLIENT_ID", "MCH-doubtful")
        .set("MERCHANTS__DOUBTFUL__SECRET_KEY", "SK-canary-doubtful")
        .sandbox(|config| config.merchants.push(Merchant::new("MCH-doubtful", "SK-canary-doubtful")))
        .set("RETRY__INITIAL_MS", 60_000)
        .set("RETRY__MAX_INTERVAL_MS", 60_000)
        .set("CHECK__FIRST_AFTER_MS", 60_000)
        .build()
        .await;
    let doubtful = commands::payment_with(&world.invoice(), "act_then_drop").with("merchant", "doubtful");
    world.publish(&doubtful).await;
    let recorded = "SELECT count(*) FROM attempts WHERE result = 'in_doubt'";
    eventually("an attempt in doubt", async || (world.database.count(recorded).await == 1).then_some(()))
        .await;
    world.stop().await;
    world.start(&Role::UNNAMED).await;
    let of = ["merchant=\"doubtful\"", "kind=\"payment\""];
    world.figure_becomes(&["jenius_in_doubt_commands{", of[0], of[1]], 1.0).await;
    assert!(world.figure(&["jenius_in_doubt_oldest_seconds{", of[0], of[1]]).await > 0.0);
    assert_eq!(world.figure(&["jenius_in_doubt_commands{", of[0], "kind=\"refund\""]).await, 0.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_since_a_commands_publication_is_told() {
    let world = World::new().await;
    let seconds = async || world.figure(&["jenius_publication_outcome_seconds_sum{kind=\"payment\"}"]).await;
    let before = seconds().await;
    let invoice = world.invoice();
    #[expect(clippy::disallowed_methods, reason = "an upstream dates its commands by its own clock")]
    let ago = chrono::Utc::now() - chrono::TimeDelta::seconds(600);
    world.publish(&payment(&invoice).with("time", ago.to_rfc3339())).await;
    world.event(&invoice, "payment.accepted").await;
    assert!(seconds().await >= before + 590.0);
    world.end().await;
}

/// What is added up is a rate's numerator: one command must not be all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_a_wrong_clock_dates_spoils_no_sum() {
    let world = World::new().await;
    let seconds = async || world.figure(&["jenius_command_age_seconds_sum{kind=\"refund\"}"]).await;
    let (before, invoice) = (seconds().await, world.invoice());
    world.publish(&refund(&invoice).with("time", "1970-01-01T00:00:00Z")).await;
    world.event(&invoice, "command.rejected").await;
    let week = 604_800.0;
    assert!((week..2.0 * week).contains(&(seconds().await - before)));
    world.end().await;
}

/// Nothing is due for it: whoever counts what is due would not see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_waits_for_a_person_is_counted_with_its_money() {
    let (client_id, key) = ("MCH-reviewed", "SK-canary-reviewed");
    let mut world = World::with()
        .set("MERCHANTS__REVIEWED__CLIENT_ID", client_id)
        .set("MERCHANTS__REVIEWED__SECRET_KEY", key)
        .sandbox(|config| config.merchants.push(Merchant::new(client_id, key)))
        .build()
        .await;
    let invoice = world.invoice();
    world.publish(&commands::payment_with(&invoice, "never_pays").with("merchant", "reviewed")).await;
    world.event(&invoice, "payment.accepted").await;
    let other_amount = Report::of(&invoice, "SUCCESS", "\"60000\"");
    world.notify(&Report { client_id: client_id.to_owned(), key: key.to_owned(), ..other_amount }).await;
    world.event(&invoice, "order.review").await;
    world.stop().await;
    world.start(&Role::UNNAMED).await;
    let of = ["merchant=\"reviewed\"", "state=\"review\""];
    world.figure_becomes(&["jenius_open_orders{", of[0], of[1]], 1.0).await;
    assert_eq!(world.figure(&["jenius_open_orders_rupiah{", of[0], of[1]]).await, 50_000.0);
    world.end().await;
}

/// The slower the count, the seldomer it is made: on a busy machine more seldom than stories are patient.
async fn in_time(what: &str, fact: impl AsyncFn() -> Option<()>) {
    for patience in 1..=PATIENCE_OF_GAUGES.as_secs() {
        if fact().await.is_some() {
            return;
        }
        assert!(patience < PATIENCE_OF_GAUGES.as_secs(), "waited {PATIENCE_OF_GAUGES:?} in vain for {what}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

const PATIENCE_OF_GAUGES: Duration = Duration::from_secs(240);

/// A gauge keeps what it last said; that it is old is told beside it, and makes no process unready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_that_cannot_be_counted_are_told() {
    let world = World::with().without_service().build().await;
    let service = Service::start(&world).await;
    let counted_at = async |figures: &str| {
        let figures = format!("figures=\"{figures}\"");
        metric(&service.admin, &["jenius_figures_counted_at_seconds{", &figures]).await
    };
    let told = async || {
        let (status, ready) = vitals::readyz(&service.admin).await?;
        Some((status, ready["dependencies"]["postgres"]["detail"].as_str()?.to_owned()))
    };
    let rename = async |sql: &'static str| sqlx::query(sql).execute(&world.database.pool).await.unwrap();
    rename("ALTER TABLE reported_requests RENAME COLUMN others TO out_of_sight").await;
    in_time("/readyz to say what is old", async || {
        let (status, detail) = told().await?;
        (status == 200 && detail.contains("reports: ")).then_some(())
    })
    .await;
    in_time("the others to be counted all the same", async || {
        (counted_at("open").await > counted_at("reports").await + 1.0).then_some(())
    })
    .await;
    rename("ALTER TABLE reported_requests RENAME COLUMN out_of_sight TO others").await;
    in_time("all to be counted again", async || {
        (told().await? == (200, "up and migrated".to_owned())).then_some(())
    })
    .await;
    assert!(service.log().contains("cannot be counted") && service.log().contains("are counted again"));
    drop(service);
    world.end().await;
}
