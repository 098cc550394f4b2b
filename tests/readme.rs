//! README, its reference and the page for contributors say what the code says. Their lists are drawn from the code
//! here and compared; to write them anew after a change: `JENIUS_WRITE_README=1 cargo test --test readme`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by panicking")]

use jenius_pay::{
    config,
    domain::{
        event::EventType,
        order::OrderState,
        reconcile::{Evidence, Step, reconcile},
    },
    metric,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const CONTRIBUTING: &str = ".github/CONTRIBUTING.md";

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ").replace("| |", "|  |"));
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    format!("{}{}{rows}", line(&head), line(&rule))
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn events() -> String {
    let rows = EventType::ALL.map(|event| {
        vec![code(event.routing_key()), event.meaning().to_owned(), for_a_checkout(event).to_owned()]
    });
    table(&["event", "what it means", "what a checkout does"], rows)
}

/// What the service that asked for the payment does when it receives the event.
fn for_a_checkout(event: EventType) -> &'static str {
    match event {
        EventType::PaymentAccepted => "it waits: send the customer to Jenius, hand out nothing",
        EventType::PaymentDeclined | EventType::PaymentAbandoned => {
            "it ends: offer another way to pay, or the same with a new invoice number"
        }
        EventType::PaymentUnresolved | EventType::OrderReview => {
            "it waits for a person: hand out nothing, ask for no second payment"
        }
        EventType::RefundAccepted => "it waits for `order.refunded`",
        EventType::RefundDeclined | EventType::RefundAbandoned => {
            "the money stays: ask again with a new `id`, or pay back in another way"
        }
        EventType::RefundUnresolved => "it waits for a person: pay nothing back in another way",
        EventType::OrderPaid => "it ends well: hand out the goods, once",
        EventType::OrderFailed | EventType::OrderExpired => {
            "it ends: offer another payment with a new invoice number"
        }
        EventType::OrderRefunded => "it ends: book the refund",
        EventType::OrderResolved => "it does what `data.state` says: `paid`, `failed` or `refunded`",
        EventType::SettlementMatched => "nothing: it is for finance",
        EventType::CommandRejected => "it ends: mend what `data.errors` names, and use a new `id`",
    }
}

/// Every move of the table, and the two claims, which are not announced.
fn states() -> String {
    let mut moves: BTreeMap<(usize, usize), BTreeSet<String>> = BTreeMap::new();
    let names: Vec<&str> = OrderState::ALL.iter().map(|s| s.name()).collect();
    let place = |state: OrderState| names.iter().position(|name| *name == state.name()).unwrap();
    for state in OrderState::ALL {
        for evidence in Evidence::ALL {
            if let Step::Move(to, events) = reconcile(state, evidence) {
                let told: Vec<&str> = events.iter().map(|e| e.routing_key()).collect();
                moves.entry((place(state), place(to))).or_default().insert(told.join(", "));
            }
        }
    }
    let mut text = "```mermaid\nstateDiagram-v2\n    [*] --> submitting: a payment is claimed\n".to_owned();
    for ((from, to), told) in moves {
        let told: Vec<String> = told.into_iter().collect();
        text.push_str(&format!("    {} --> {}: {}\n", names[from], names[to], told.join(" / ")));
    }
    text.push_str("    paid --> refunding: a refund is claimed\n```\n");
    text
}

/// What fails, what follows, and the story among the tests that proves it.
const FAILURES: [(&str, &str, &str); 23] = [
    (
        "DOKU acts, and its answer is lost",
        "sent again under the same Request-Id; DOKU's replay settles it; one charge",
        "whatever_leaves_a_payment_in_doubt_is_sent_again_and_charged_once",
    ),
    (
        "DOKU says no",
        "`payment.declined` with DOKU's code and message",
        "an_error_of_dokus_own_declines_with_its_code_and_message",
    ),
    ("DOKU is too busy (429)", "sent again, not before `Retry-After`", "retry_after_is_obeyed"),
    (
        "DOKU refuses the key or the clock",
        "nothing is declined; that merchant's sends stop, its commands are kept, and one probe at a time finds out",
        "while_doku_refuses_every_signature_the_merchants_breaker_is_open_and_afterwards_all_are_paid",
    ),
    (
        "DOKU is down until the budget ends",
        "it is asked before anything is concluded: `payment.abandoned`, or what it says",
        "a_budget_that_ended_while_nobody_worked_is_concluded_by_asking",
    ),
    (
        "a firewall refuses one order by its content",
        "that order is tried again, later than usual; the others never hear of it",
        "what_refuses_one_order_stops_none_of_the_others",
    ),
    (
        "one merchant has a backlog",
        "the others do not wait: due sends, inquiries, places and tokens are kept by merchant",
        "a_merchants_backlog_delays_neither_anothers_resend_nor_its_own_inquiries",
    ),
    (
        "Check Status hangs",
        "it holds half of the places at most, and is left alone for a while; sends go on",
        "a_check_status_that_hangs_delays_no_send",
    ),
    (
        "sends are stopped (pause, breaker, rate)",
        "commands are taken, judged and claimed; `orders show` says what blocks their send; budgets run",
        "while_everybodys_sends_are_paused_commands_wait_and_everything_else_goes_on",
    ),
    (
        "a payment command is older than its budget",
        "`command.rejected`, code `command_expired`: its `time` decides",
        "a_payment_is_not_sent_later_than_its_budget_after_its_own_time",
    ),
    (
        "DOKU acted, and it cannot be found out",
        "`payment.unresolved`, and `review`; never `failed`",
        "doku_acted_and_nobody_can_find_out_for_two_days_is_review_and_never_failed",
    ),
    (
        "DOKU names another amount",
        "`order.review`: a person decides",
        "an_answer_that_persists_in_another_amount_is_for_review",
    ),
    (
        "DOKU reports another request for the same invoice",
        "it decides nothing; where money moved by it, `order.review`",
        "while_the_customer_may_still_pay_only_money_elsewhere_asks_for_a_person",
    ),
    (
        "a notification is forged",
        "401 at the ingress; straight on the queue it is dead-lettered `not_authentic` and changes nothing",
        "an_unverified_message_on_the_queue_changes_nothing_and_is_dead_lettered",
    ),
    (
        "notifications never come",
        "Check Status finds every payment",
        "where_doku_never_notifies_a_thousand_payments_are_paid_by_check_status_alone",
    ),
    (
        "Check Status fails",
        "notifications report every payment",
        "a_thousand_payments_are_paid_by_notifications_alone_while_check_status_fails",
    ),
    (
        "this process is killed",
        "leases run out, another process goes on; no order is charged twice",
        "killed_again_and_again_it_charges_everybody_once",
    ),
    (
        "a worker freezes, and wakes up late",
        "it changes no schedule; its signed answer still counts",
        "a_worker_that_slept_through_its_lease_changes_no_schedule_and_its_answer_still_counts",
    ),
    (
        "PostgreSQL is away",
        "nothing is taken from the broker and nothing is sent; it goes on by itself",
        "every_outage_is_named_survived_and_made_good",
    ),
    (
        "RabbitMQ is away",
        "due attempts go on; events wait in the outbox, in order",
        "events_outlast_a_broker_that_is_away_for_a_day_and_say_what_was_true_at_their_version",
    ),
    (
        "a subscriber's queue refuses events",
        "they wait, in order; nothing is dropped",
        "refused_events_wait_in_order_and_are_all_published",
    ),
    (
        "a message cannot be read",
        "dead-lettered to `jenius.dead` byte for byte, with `x-jenius-reason` and `x-jenius-detail`",
        "what_cannot_be_read_is_dead_lettered_byte_for_byte_with_its_reason",
    ),
    (
        "an account or the host is configured away",
        "its orders are stranded: not sent elsewhere, counted in `/readyz`, going on when it is back",
        "an_order_made_for_another_account_or_host_is_stranded_and_not_sent",
    ),
];

fn failures() -> String {
    table(
        &["what fails", "what follows"],
        FAILURES.map(|(what, follows, _)| vec![what.to_owned(), follows.to_owned()]),
    )
}

fn configuration() -> String {
    let rows = config::keys().iter().map(|key| {
        let short = key.short.map(|short| format!(" (`{short}`)")).unwrap_or_default();
        vec![format!("`{}`{short}", key.name), code(key.default.unwrap_or("")), key.doc.to_owned()]
    });
    table(&["key", "default", ""], rows)
}

fn metrics() -> String {
    let rows = metric::all_metrics().iter().map(|metric| {
        let labels = metric.labels.join(", ");
        vec![code(metric.name), metric.kind.name().to_owned(), labels, metric.help.to_owned()]
    });
    table(&["metric", "type", "labels", ""], rows)
}

/// Folders and files of `src`, and the files of the story, each with the first sentence it says of itself.
fn files() -> String {
    let src = project().join("src");
    let mut rows: Vec<Vec<String>> = entries(&src)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "lib.rs"))
        .flat_map(|path| {
            let is_told = path.ends_with("flow") || path.ends_with("app");
            let parts = if is_told { entries(&path) } else { Vec::new() };
            let parts = parts
                .into_iter()
                .filter(|p| !["mod.rs", "tests.rs"].iter().any(|end| p.to_string_lossy().ends_with(end)));
            [path].into_iter().chain(parts).map(|p| file_row(&p)).collect::<Vec<_>>()
        })
        .collect();
    for (name, holds) in [
        ("migrations/", "The tables, with the constraints that keep illegal rows out."),
        ("tests/it/", "Stories through the front door: real servers, the sandbox as the oracle."),
        ("tests/deploy/", "What lies under deploy/, held against the code; the alerts, by promtool."),
        ("tests/architecture.rs", "The layers, held by reading the sources."),
        ("tests/readme.rs", "README, REFERENCE and this page, held against the code."),
        ("deploy/local/", "The commands above, the private servers they start, and what checks `deploy/`."),
        ("deploy/local/build/", "What only those who change this project use, and what the tests install."),
        ("deploy/grafana/", "A dashboard: is money stuck, is DOKU well, are we keeping up."),
        ("deploy/Dockerfile", "The image: the program, its libraries, and no shell."),
        ("deploy/compose.yaml", "Everything on one machine, with Prometheus, Grafana and the sandbox."),
        ("deploy/kubernetes/", "A Deployment for each role; `example/` is a cluster's own."),
        ("deploy/helm/", "The same as a chart for Helm."),
        ("deploy/release", "Builds a release's images and programs for two processors, and signs them."),
        ("deploy/config.example.toml", "Every key of the configuration, with its default."),
        ("deploy/sbom", "Prints what the program is made of."),
        ("deploy/systemd/", "Hardened units: all roles in one, one for each role, and one that migrates."),
        ("deploy/prometheus/", "Alerts, each with a test and an entry in the runbook."),
        ("deploy/rabbitmq/", "The exchanges, queues and bindings, for where no role may declare them."),
        (
            "deploy/RUNBOOK.md",
            "What an alert, a dead letter, an exit code or a review means, and what to do.",
        ),
        ("deploy/REFERENCE.md", "The states of an order, what follows a failure, every key and metric."),
        ("deploy/CHANGELOG.md", "What an upgrade asks of operators."),
    ] {
        assert!(project().join(name).exists(), "{name} is not there");
        rows.push(vec![code(name), holds.to_owned()]);
    }
    table(&["where", "what it is for"], rows)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let is_source =
        |p: &PathBuf| p.is_dir() && p.join("mod.rs").exists() || p.extension().is_some_and(|e| e == "rs");
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(is_source).collect();
    found.sort();
    found
}

fn file_row(path: &Path) -> Vec<String> {
    let (source, slash) = if path.is_dir() { (path.join("mod.rs"), "/") } else { (path.to_owned(), "") };
    let text = fs::read_to_string(&source).unwrap();
    let header: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
    let header = header.join(" ");
    let sentence = header.split_once(". ").map_or(header.as_str(), |(first, _)| first).trim_end_matches('.');
    assert!(!sentence.is_empty(), "{} does not say what it is for", source.display());
    let name = path.strip_prefix(project()).unwrap().to_string_lossy().replace('\\', "/");
    vec![code(&format!("{name}{slash}")), format!("{sentence}.")]
}

/// The pages, each with its lists in their order.
fn pages() -> [(&'static str, Vec<(&'static str, String)>); 3] {
    let reference = vec![
        ("states", states()),
        ("failures", failures()),
        ("configuration", configuration()),
        ("metrics", metrics()),
    ];
    [
        ("README.md", vec![("events", events())]),
        ("deploy/REFERENCE.md", reference),
        (CONTRIBUTING, vec![("files", files())]),
    ]
}

#[test]
fn every_list_of_the_pages_is_what_the_code_says() {
    for (page, drawn) in pages() {
        let path = project().join(page);
        let text = fs::read_to_string(&path).unwrap();
        let mut rest = text.as_str();
        let mut written = String::new();
        for (name, list) in drawn {
            let mark = format!("<!-- generated: {name} -->\n");
            let (before, after) = rest.split_once(&mark).unwrap_or_else(|| panic!("no `{}`", mark.trim()));
            let (_, after) = after.split_once("<!-- end -->").unwrap();
            written.push_str(&format!("{before}{mark}{list}<!-- end -->"));
            rest = after;
        }
        written.push_str(rest);
        if std::env::var_os("JENIUS_WRITE_README").is_some() {
            fs::write(&path, &written).unwrap();
        } else {
            assert!(written == text, "{page} is out of date: JENIUS_WRITE_README=1 cargo test --test readme");
        }
    }
}

#[test]
fn every_failure_of_the_reference_has_its_story_among_the_tests() {
    let stories = read_all(&project().join("tests/it"));
    for (what, _, story) in FAILURES {
        assert!(stories.contains(&format!("async fn {story}(")), "{what}: no test `{story}`");
    }
}

#[test]
fn every_word_of_the_glossary_is_in_use() {
    let page = fs::read_to_string(project().join(CONTRIBUTING)).unwrap();
    let (_, glossary) = page.split_once("| word | meaning |\n|---|---|\n").unwrap();
    let sources = read_all(&project().join("src")).to_lowercase();
    for row in glossary.lines().take_while(|line| line.starts_with('|')) {
        for word in row.split('|').nth(1).unwrap().split(',') {
            assert!(sources.contains(word.trim()), "nobody says `{}`", word.trim());
        }
    }
}

#[test]
fn every_path_of_the_pages_is_there() {
    for (page, least) in [("README.md", 5), (CONTRIBUTING, 60)] {
        let text = fs::read_to_string(project().join(page)).unwrap();
        let folders = ["src/", "tests/", "deploy/", "./deploy/", "migrations/"];
        let named: Vec<&str> = text
            .split('`')
            .filter(|t| folders.iter().any(|folder| t.starts_with(folder)))
            .filter_map(|t| t.split_whitespace().next())
            .collect();
        assert!(named.len() > least, "only {named:?}");
        for path in named {
            assert!(project().join(path).exists(), "{page}: {path} is not there");
        }
    }
}

fn read_all(folder: &Path) -> String {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| if path.is_dir() { read_all(&path) } else { fs::read_to_string(path).unwrap() })
        .collect()
}

/// What `run` is said to print: events and states that there are.
#[test]
fn the_timeline_in_the_readme_names_events_and_states_that_exist() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let told: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("20") && line.contains(" event "))
        .map(|line| line.split_whitespace().skip_while(|word| *word != "event").collect())
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for line in told {
        assert!(EventType::ALL.iter().any(|event| event.routing_key() == line[2]), "{line:?}");
        assert!(OrderState::ALL.iter().any(|state| state.name() == line[3]), "{line:?}");
    }
}
