//! Secrets that change under a running service: a key is rotated, passwords are repaired, and what cannot be
//! read changes nothing. No secret is ever in the log: the harness looks when a service ends.

use crate::harness::{
    World,
    child::Service,
    eventually, free_port,
    mounted::Mounted,
    payment,
    reports::Report,
    visitor::Visitor,
    vitals,
    world::{CLIENT_ID, PATH, SECRET_KEY, a_while},
};

const OLD: &str = "SK-canary-old-key";
const NEW: &str = SECRET_KEY;
const KEY: &str = "DOKU_SECRET_KEY";
const PREVIOUS: &str = "JENIUS_PAY__DOKU__PREVIOUS_SECRET_KEYS";

impl Service {
    /// Reads its secrets again, and says what it said about it.
    async fn reread(&self) -> String {
        let count = |log: &str| log.matches("secrets were read again").count();
        let before = count(&self.log());
        self.signal("-HUP");
        eventually("the secrets to be read again", async || (count(&self.log()) > before).then_some(()))
            .await;
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("secrets were read again")).collect();
        // The change of the file may have been seen just before the signal.
        lines[lines.len().saturating_sub(2)..].join("\n")
    }

    async fn verified(&self, key: &str) -> f64 {
        let key = format!("key=\"{key}\"");
        vitals::metric(&self.admin, &["jenius_keys_verified_total", "merchant=\"default\"", &key]).await
    }
}

/// A world whose service, once started, takes notifications of the sandbox.
async fn world_with_ingress() -> (World, String) {
    let port = free_port();
    let ingress = format!("127.0.0.1:{port}");
    let setting = World::with().without_service().set("INGRESS__LISTEN", &ingress);
    let world = setting.set("CHECK__FIRST_AFTER_MS", 3_600_000).build().await;
    let url = format!("http://{ingress}{PATH}");
    world.sandbox.set_notify_url(Some(&url)).unwrap();
    (world, url)
}

/// The whole way of a key, as RUNBOOK tells it: the old key alone; the new one in place and the old one still
/// believed; the old one gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_signs_at_once_and_the_previous_one_verifies_until_it_is_removed() {
    let (mut world, ingress) = world_with_ingress().await;
    let mounted = Mounted::of(&mut world, &[(KEY, OLD), (PREVIOUS, "")]);
    world.sandbox.set_keys(CLIENT_ID, OLD, OLD);
    let service = Service::start(&world).await;
    world.paid(&world.invoice()).await;
    assert!(service.verified("current").await >= 3.0, "an answer, and a notification twice");

    mounted.renew(&[(KEY, NEW), (PREVIOUS, OLD)]);
    let said = service.reread().await;
    assert!(said.contains("doku.previous_secret_keys, doku.secret_key"), "{said}");
    // DOKU takes the new key only; what it sends is still signed with the old one.
    world.sandbox.set_keys(CLIENT_ID, NEW, OLD);
    assert_eq!(service.verified("previous").await, 0.0);
    world.paid(&world.invoice()).await;
    assert!(service.verified("previous").await >= 3.0);
    world.sandbox.set_keys(CLIENT_ID, NEW, NEW);
    let current = service.verified("current").await;
    world.paid(&world.invoice()).await;
    assert!(service.verified("current").await >= current + 3.0);
    assert_eq!(world.sandbox.ledger().refused.get("invalid_signature"), None, "signed with another key");

    mounted.renew(&[(KEY, NEW), (PREVIOUS, "")]);
    let said = service.reread().await;
    assert!(said.contains("doku.previous_secret_keys") && !said.contains("secret_key,"), "{said}");
    let forged = Report { key: OLD.to_owned(), ..Report::success(&world.invoice()) };
    assert_eq!(forged.post(&ingress).await.unwrap(), 401);
    world.queue(&forged.event()).await;
    let dead = eventually("a dead letter", async || world.broker.get("dead").await).await;
    assert_eq!(dead.reason.as_deref(), Some("not_authentic"));
    world.sandbox.set_keys(CLIENT_ID, NEW, OLD);
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    eventually("an answer that is not believed", async || {
        let order = world.find_order(&invoice).await?;
        (order["attempts"][0]["result"] == "in_doubt").then_some(())
    })
    .await;
    assert_eq!(world.told(&invoice), [""; 0]);
    world.sandbox.set_keys(CLIENT_ID, NEW, NEW);
    world.event(&invoice, "payment.accepted").await;
    drop(service);
    world.end().await;
}

/// In Kubernetes nobody sends a signal: a mounted secret changes under the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_secret_that_changes_is_taken_without_a_signal_and_its_fingerprint_is_shown() {
    let (mut world, ingress) = world_with_ingress().await;
    let mounted = Mounted::of(&mut world, &[(KEY, OLD), (PREVIOUS, "")]);
    let service = Service::start(&world).await;
    let shown = async || {
        let page = service.page("metrics").await;
        let line = page.lines().find(|line| line.starts_with("jenius_keys_info{") && line.ends_with(" 1"));
        line.unwrap().to_owned()
    };
    let before = shown().await;
    let report = Report { key: NEW.to_owned(), ..Report::success(&world.invoice()) };
    assert_eq!(report.post(&ingress).await.unwrap(), 401);
    mounted.renew(&[(KEY, NEW), (PREVIOUS, OLD)]);
    let taken = async || (report.post(&ingress).await.unwrap() == 200).then_some(());
    eventually("the new key to verify", taken).await;
    assert_ne!(shown().await, before);
    drop(service);
    world.end().await;
}

/// What the console says of a letter, and what its doctor examines, is by the keys of now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_judges_by_the_keys_that_were_read_last() {
    let (mut world, _) = world_with_ingress().await;
    let console = format!("127.0.0.1:{}", free_port());
    world.settings.insert("JENIUS_PAY__CONSOLE__LISTEN".to_owned(), console.clone());
    let mounted = Mounted::of(&mut world, &[(KEY, OLD), (PREVIOUS, "")]);
    world.sandbox.set_keys(CLIENT_ID, OLD, OLD);
    let service = Service::start_role(&world, &["--role", "reconciler", "--role", "console"]).await;
    world.queue(&Report::success(&world.invoice()).event()).await;
    eventually("a dead letter", async || (world.broker.depth("dead").await == 1).then_some(())).await;
    mounted.renew(&[(KEY, NEW), (PREVIOUS, OLD)]);
    service.reread().await;
    world.sandbox.set_keys(CLIENT_ID, NEW, NEW);

    let visitor = Visitor::enter_at(&world, console, &["operator"]).await;
    visitor.send("/dead/look", String::new()).await.unwrap();
    let group = visitor.get("/dead").await;
    let group = group.split("href=\"").find(|link| link.starts_with("/dead/group")).unwrap();
    let group = visitor.get(&group[..group.find('"').unwrap()].replace("&amp;", "&")).await;
    let (_, id) = group.split_once("name=\"id\" value=\"").unwrap();
    let letter = visitor.get(&format!("/dead/letter?id={}", &id[..12])).await;
    assert!(letter.contains("would be reconciled: a notification"), "{letter}");
    visitor.send("/doctor/look", String::new()).await.unwrap();
    let examined = eventually("the checks", async || {
        let page = visitor.get("/doctor").await;
        page.contains("are well").then_some(page)
    });
    let examined = examined.await;
    assert!(!examined.contains("compare client_id and secret_key"), "{examined}");
    drop(service);
    world.end().await;
}

/// Started with what lets it in nowhere, it waits; with the right secrets it goes on, without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_and_keys_are_repaired_without_a_restart() {
    let mut world = World::with().without_service().build().await;
    let (database, broker) = (world.settings["DATABASE_URL"].clone(), world.settings["AMQP_URL"].clone());
    let wrong = |right: &str| {
        let mut url: url::Url = right.parse().unwrap();
        url.set_username("nobody").unwrap();
        url.set_password(Some("SK-canary-password")).unwrap();
        url.to_string()
    };
    let right = [("DATABASE_URL", database.as_str()), ("AMQP_URL", broker.as_str()), (KEY, NEW)];
    let mounted = Mounted::of(
        &mut world,
        &[("DATABASE_URL", &wrong(&database)), ("AMQP_URL", &wrong(&broker)), (KEY, "SK-canary-wrong")],
    );
    let service = Service::start_unready(&world, &[]);
    eventually("/readyz to name both", async || {
        let (_, ready) = vitals::readyz(&service.admin).await?;
        let bad = |name: &str| ready["dependencies"][name]["ok"] == false;
        (bad("postgres") && bad("broker")).then_some(())
    })
    .await;
    let invoice = world.invoice();

    mounted.renew(&right);
    let said = service.reread().await;
    assert!(said.contains("amqp.url, database.url, doku.secret_key"), "{said}");
    eventually("the service to be ready", async || {
        vitals::readyz(&service.admin).await.filter(|(status, _)| *status == 200).map(drop)
    })
    .await;
    world.paid(&invoice).await;
    assert!(service.reread().await.contains("none has changed"));
    drop(service);
    world.end().await;
}

/// What a second reading is called here, the secrets it finds, the account, and the words it is refused with.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

/// A second reading is taken whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_leaves_every_secret_as_it_was() {
    let mut world = World::with().without_service().build().await;
    let config = std::env::temp_dir().join(format!("jenius-pay-{}.toml", world.unique()));
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    write(&format!("doku.client_id = \"{CLIENT_ID}\"\n"));
    world.settings.remove("DOKU_CLIENT_ID");
    world.settings.insert("JENIUS_PAY_CONFIG".to_owned(), config.to_str().unwrap().to_owned());
    let database = world.settings["DATABASE_URL"].clone();
    let right = [(KEY, NEW), (PREVIOUS, OLD), ("DATABASE_URL", database.as_str())];
    let mounted = Mounted::of(&mut world, &right);
    let mut service = Service::start(&world).await;
    let elsewhere = "postgres://postgres:SK-canary-password@127.0.0.1:9/elsewhere";
    let other = "SK-canary-of-nobody";
    let rows: [Row<'_>; 5] = [
        (
            "gone",
            &[(KEY, other), right[1]],
            CLIENT_ID,
            &["database.url", "DATABASE_URL_FILE", "cannot be read"],
        ),
        (
            "empty",
            &[(KEY, ""), (PREVIOUS, other), right[2]],
            CLIENT_ID,
            &["doku.secret_key", "DOKU_SECRET_KEY_FILE"],
        ),
        (
            "another place",
            &[(KEY, other), right[1], ("DATABASE_URL", elsewhere)],
            CLIENT_ID,
            &["database.url", "another place"],
        ),
        ("another account", &[(KEY, other), right[1], right[2]], "MCH-OTHER", &["doku.client_id", "restart"]),
        ("no list", &[(KEY, other), (PREVIOUS, "a,,b"), right[2]], CLIENT_ID, &["doku.previous_secret_keys"]),
    ];
    for (name, secrets, client_id, words) in rows {
        // In this order: the change of a secret alone makes the process read both.
        write(&format!("doku.client_id = \"{client_id}\"\n"));
        mounted.renew(secrets);
        let said = service.reread().await;
        assert!(said.contains("the old ones stay") && said.contains("ERROR"), "{name}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert_eq!(vitals::readyz(&service.admin).await.unwrap().0, 200, "{name}");
    }
    a_while().await;
    assert!(service.is_running());
    world.paid(&world.invoice()).await;
    assert_eq!(world.sandbox.ledger().refused.get("invalid_signature"), None);

    write(&format!("doku.client_id = \"{CLIENT_ID}\"\namqp.prefetch = 100\n"));
    mounted.renew(&right);
    service.reread().await;
    let log = service.log();
    assert!(log.contains("they change with a restart") && log.contains("amqp.prefetch"), "{log}");
    drop(service);
    std::fs::remove_file(&config).unwrap();
    world.end().await;
}
