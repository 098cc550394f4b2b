//! Rights: each role works with what `migrate --grant` grants it and can do no more; and a right that is missing
//! holds deliveries instead of losing them.

use super::{detail, log_in_as, sql};
use crate::harness::{
    World,
    child::{Service, run},
    commands::refund,
    eventually, payment,
    world::a_while,
};

/// The same for psql.
const GRANTS: &str = include_str!("../../../deploy/postgres/grants.sql");
const ROLES: [(&str, &str); 4] = [
    ("worker", "jenius_worker"),
    ("follow-up", "jenius_follow_up"),
    ("reconciler", "jenius_reconciler"),
    ("relay", "jenius_relay"),
];

async fn migrate(world: &mut World) {
    let own = world.settings.insert("DATABASE_URL".to_owned(), world.database.url.to_string()).unwrap();
    let output = run(world, &["migrate", "--grant"], "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.settings.insert("DATABASE_URL".to_owned(), own);
}

/// Users of this world's own, each a member of one role.
async fn grant(world: &mut World) {
    migrate(world).await;
    for (_, role) in ROLES.into_iter().chain([("operator", "jenius_operator")]) {
        sql(world, &format!("CREATE ROLE u{}_{role} LOGIN IN ROLE {role}", world.unique())).await;
    }
}

async fn revoke_all(world: &World) {
    for (_, role) in ROLES.into_iter().chain([("operator", "jenius_operator")]) {
        sql(world, &format!("DROP ROLE u{}_{role}", world.unique())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_works_with_what_it_is_granted_and_can_do_no_more() {
    let mut world = World::with().without_service().build().await;
    grant(&mut world).await;
    sql(&world, GRANTS).await;
    let owner = world.settings["DATABASE_URL"].clone();
    let mut services = Vec::new();
    for (name, role) in ROLES {
        let user = format!("u{}_{role}", world.unique());
        log_in_as(&mut world, &user);
        services.push(Service::start_role(&world, &["--role", name]).await);
    }
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    world.publish(&refund(&invoice)).await;
    world.event(&invoice, "order.refunded").await;
    let operator = format!("u{}_jenius_operator", world.unique());
    log_in_as(&mut world, &operator);
    for command in [
        ["orders", "show", &invoice, "--json"].as_slice(),
        &["orders", "list"],
        &["pause", "--reason", "a test"],
        &["resume", "--reason", "a test"],
        &["events", "replay", "--invoice", &invoice],
        &["audit"],
        &["orders", "check", &invoice],
        &["prune", "--older-than", "90", "--reason", "a test"],
        &["restored", "--reason", "a test"],
    ] {
        let output = run(&world, command, "").await;
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for service in &services {
        assert!(!service.log().contains("42501"), "{}", service.log());
    }
    for (role, forbidden) in [
        ("jenius_relay", "UPDATE orders SET state = 'paid'"),
        ("jenius_relay", "INSERT INTO outbox (event_id) SELECT event_id FROM events"),
        ("jenius_worker", "DELETE FROM orders"),
        ("jenius_worker", "INSERT INTO operator_actions (action, subject) VALUES ('pause', 'x')"),
        ("jenius_operator", "UPDATE operator_actions SET done_by = 'nobody'"),
        ("jenius_operator", "DELETE FROM operator_actions"),
        ("jenius_operator", "ALTER TABLE operator_actions DISABLE TRIGGER ALL"),
        ("jenius_reconciler", "DROP TABLE due"),
    ] {
        let mut url = world.database.url.clone();
        url.set_username(&format!("u{}_{role}", world.unique())).unwrap();
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url.as_str()).await.unwrap();
        let refused = sqlx::raw_sql(forbidden).execute(&mut connection).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{role}: {forbidden}: {refused}");
    }
    drop(services);
    world.settings.insert("DATABASE_URL".to_owned(), owner);
    revoke_all(&world).await;
    world.end().await;
}

/// Ten redeliveries in a second and then the dead queue, that is what a refusal for good was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_for_good_is_held_and_told_until_a_person_mends_it() {
    let mut world = World::with().without_service().build().await;
    grant(&mut world).await;
    let user = format!("u{}_jenius_worker", world.unique());
    for role in ["jenius_follow_up", "jenius_reconciler", "jenius_relay"] {
        sql(&world, &format!("GRANT {role} TO {user}")).await;
    }
    log_in_as(&mut world, &user);
    let service = Service::start(&world).await;
    // Rights that are asked for before anything is taken, to draw a key too.
    sql(
        &world,
        "REVOKE INSERT ON commands FROM jenius_worker;
         REVOKE USAGE ON SEQUENCE commands_key_seq FROM jenius_worker",
    )
    .await;
    let told = async |words: &str| {
        eventually(&format!("/readyz to say {words}"), async || {
            detail(&service).await.filter(|d| d.contains(words))
        })
        .await
    };
    let detail = told("USAGE on commands_key_seq").await;
    let mut invoices = vec![world.invoice()];
    world.publish(&payment(&invoices[0])).await;
    let doctor = String::from_utf8(run(&world, &["doctor", "--json"], "").await.stdout).unwrap();
    for right in ["INSERT on commands", "USAGE on commands_key_seq"] {
        assert!(detail.contains(right) && doctor.contains(right), "{right}: {detail}\n{doctor}");
    }
    a_while().await;
    a_while().await;
    assert_eq!(world.broker.depth("dead").await, 0);
    migrate(&mut world).await;
    world.event(&invoices[0], "order.paid").await;
    // A refusal that only the statement itself meets.
    sql(
        &world,
        "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'not here' USING ERRCODE = '42703'; END $$;
         CREATE TRIGGER refuses BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuses()",
    )
    .await;
    let late: Vec<String> = (0..3).map(|_| world.invoice()).collect();
    for invoice in &late {
        world.publish(&payment(invoice)).await;
    }
    told("42703: not here").await;
    a_while().await;
    a_while().await;
    assert_eq!(world.broker.depth("dead").await, 0);
    assert!(service.log().contains("42703"), "{}", service.log());
    sql(&world, "DROP TRIGGER refuses ON orders").await;
    invoices.extend(late);
    for invoice in &invoices {
        world.event(invoice, "order.paid").await;
    }
    assert_eq!(world.broker.depth("dead").await, 0);
    drop(service);
    world.settings.insert("DATABASE_URL".to_owned(), world.database.url.to_string());
    revoke_all(&world).await;
    world.end().await;
}
