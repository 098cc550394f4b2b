//! What the pages show: empty, filled by hostile people, and as small as they promise.

use super::{
    fake::{HOSTILE, World},
    hostile::hostile_order,
    *,
};

const ACTION: &str = "0192d1c0-0000-7000-8000-000000000001";

/// Every page that shows something.
fn pages() -> Vec<String> {
    let order = words::order_link("default", &hostile_order().order.invoice_number);
    let decide = order.replace("/order?", "/order/decide?");
    let named = [
        "/",
        "/review",
        "/review?first=dearest",
        "/sends",
        "/settlement",
        "/settlement?cause=missing_here&batch=B-1",
        "/settlement/batch?name=B-1",
        "/settlement/file?number=2",
        "/orders",
        "/orders?state=review&since=7d&min=1",
        "/dead",
        "/dead/group?look=1767225600000&group=0",
        "/dead/letter?id=letter-0001",
        "/events",
        "/events?type=order.paid&since=7d",
        "/events?invoice=INV-1",
        "/work?id=00000000-0000-0000-0000-000000000001",
        "/work?id=00000000-0000-0000-0000-000000000002",
        "/live",
        "/doctor",
        "/about",
        "/audit",
        "/audit?by=budi&since=7d",
        "/no-such-page",
    ];
    named.map(str::to_owned).into_iter().chain([order, decide]).collect()
}

/// What a page and its two files may weigh together, as they are sent.
const TRANSFER_BYTES_MAX: usize = 60 * 1024;

#[tokio::test]
async fn every_page_keeps_hostile_texts_as_texts_and_itself_to_itself() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &ConsoleRole::ALL);
    for path in pages() {
        let answered = browser.get(&path).await;
        let body = &answered.body;
        assert!(!body.contains(HOSTILE) && !body.contains("<img"), "{path}: {body}");
        assert!(
            path.starts_with("/no-such") || body.contains("&lt;img/src=x/onerror=alert(1)&gt;"),
            "{path}"
        );
        // Nothing inline: the policy would refuse it, and the page would be broken.
        for inline in [" style=", "<style", " onclick", " onload", " onerror=\"", "javascript:", "<script>"] {
            assert!(!body.contains(inline), "{path}: {inline}");
        }
        assert_eq!(body.matches("<h1>").count(), 1, "{path}");
        let header = |name: &str| answered.headers[name].to_str().unwrap();
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
        assert_eq!((header("x-content-type-options"), header("referrer-policy")), ("nosniff", "same-origin"));
        assert_eq!(header("cache-control"), "no-store", "{path}");
        let whole = body.len() + include_str!("../console.css").len() + include_str!("../console.js").len();
        assert!(whole <= TRANSFER_BYTES_MAX, "{path}: {whole}");
    }
}

#[tokio::test]
async fn every_page_says_so_where_there_is_nothing() {
    let browser = Browser::with(FakeOperations::new(World::Empty), &ConsoleRole::ALL);
    for (path, words) in [
        ("/", "No order waits for a decision"),
        ("/", "No event was reported in the last hour"),
        ("/orders", "No orders here"),
        ("/orders", "4 commands wait in their queues"),
        ("/orders?text=INV-1", "No order has that"),
        ("/audit", "No action is kept here"),
        ("/review", "Nothing to decide"),
        ("/sends", "going"),
        ("/dead", "No look is kept"),
        ("/events", "No events here"),
        ("/live", "What happens now?"),
        ("/doctor", "Nothing was examined yet"),
        ("/about", "No process has reported yet"),
        ("/settlement", "Everything fits"),
        ("/settlement", "No file came in yet"),
    ] {
        let answered = browser.get(path).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}");
        assert!(answered.body.contains(words), "{path}: {}", answered.body);
        assert!(!answered.body.contains("class=\"alarm\""), "{path}");
    }
    assert_eq!(browser.get("/order?merchant=default&invoice=INV-1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &ConsoleRole::ALL);
    for path in [
        "/events?type=lost",
        "/events?before=x",
        "/events?invoice=..",
        "/orders?state=lost",
        "/orders?min=one",
        "/orders?merchant=SHOP",
        "/orders?before=x",
        "/audit?before=7",
    ] {
        let answered = browser.get(path).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}: {}", answered.body);
    }
    assert_eq!(browser.get("/order?invoice=INV-1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_customer_is_masked_until_somebody_says_why() {
    let operations = FakeOperations::new(World::Hostile);
    let browser = Browser::with(operations.clone(), &[ConsoleRole::Support]);
    let masked = browser.get("/order?merchant=default&invoice=INV-1").await.body;
    for personal in ["Ratna", "81234567", "ratna@"] {
        assert!(!masked.contains(personal), "{masked}");
    }
    assert!(masked.contains("R•••") && masked.contains("•••90") && masked.contains("r•••@shop.test"));
    let form = |reason: &str| format!("merchant=default&invoice=INV-1&reason={reason}&action={ACTION}");
    let silent = browser.post("/order/customer", &form("+")).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    assert!(operations.done.lock().unwrap().is_empty());
    let shown = browser.post("/order/customer", &form("ticket+7")).await;
    assert!(shown.body.contains("6281234567890") && shown.body.contains("ratna@shop.test"), "{}", shown.body);
    let kept = ["show_customer INV-1 by local:budi (unverified) from 127.0.0.1: ticket 7"];
    assert_eq!(*operations.done.lock().unwrap(), kept);
    // The same form again is no second look without a row of its own.
    let again = browser.post("/order/customer", &form("ticket+7")).await;
    assert!(
        again.body.contains("its look is over") && !again.body.contains("6281234567890"),
        "{}",
        again.body
    );
    assert_eq!(*operations.done.lock().unwrap(), kept);
}

#[tokio::test]
async fn what_one_may_not_press_is_there_with_the_reason() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &[ConsoleRole::Viewer]);
    let body = browser.get("/order?merchant=default&invoice=INV-1").await.body;
    assert!(body.contains("<button disabled>Show the customer</button>"), "{body}");
    assert!(body.contains("This needs the role support."), "{body}");
}

#[tokio::test]
async fn a_list_goes_on_by_its_address_and_is_a_file_too() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &[ConsoleRole::Viewer]);
    let body = browser.get("/orders?state=review&state=paid&since=7d").await.body;
    let next = "/orders?since=7d&amp;state=review&amp;state=paid&amp;before=1";
    assert!(body.contains(next), "{body}");
    assert!(body.contains("Rp2.500.000"), "the sum of 50 orders: {body}");
    let file = browser.get("/orders.csv?state=review").await;
    assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(file.headers["content-disposition"], "attachment; filename=\"orders-incomplete.csv\"");
    assert!(file.body.starts_with("\"merchant\",\"invoice_number\","), "{}", file.body);
    // One row alone, and the walk stopped behind it; and all that there is.
    let stopped = browser.get("/orders.csv?declined=C1").await;
    assert_eq!(stopped.headers["content-disposition"], "attachment; filename=\"orders-incomplete.csv\"");
    let whole =
        Browser::with(FakeOperations::new(World::Empty), &[ConsoleRole::Viewer]).get("/orders.csv").await;
    assert_eq!(whole.headers["content-disposition"], "attachment; filename=\"orders.csv\"");
}

#[tokio::test]
async fn a_search_that_not_all_were_looked_at_for_says_so_and_its_file_is_not_called_whole() {
    for world in [World::Empty, World::Hostile] {
        let browser = Browser::with(FakeOperations::new(world), &[ConsoleRole::Viewer]);
        let page = browser.get("/orders?text=I").await.body;
        assert!(
            page.contains("More than 5000 orders begin so") && page.contains("type more of it"),
            "{page}"
        );
        assert!(!page.contains("No order has that"), "{page}");
        let file = browser.get("/orders.csv?text=I").await;
        let kept = "attachment; filename=\"orders-incomplete.csv\"";
        assert_eq!(file.headers["content-disposition"], kept);
    }
}

#[tokio::test]
async fn more_orders_in_review_than_a_page_sorts_are_counted_as_the_overview_does_and_the_rest_is_a_link_away()
 {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &[ConsoleRole::Viewer]);
    let page = browser.get("/review?first=dearest&from=50").await.body;
    for words in [
        "3 wait, Rp150.000 together",
        "/review?first=dearest&amp;from=100\"",
        "Here are the 500 that were claimed first.",
        "/review?first=dearest&amp;before=1\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let rest = browser.get("/review?before=1").await.body;
    assert!(rest.contains("claimed first of the rest."), "{rest}");
    assert!(rest.contains("/review?before=1&amp;from=50\""), "{rest}");
    assert_eq!(browser.get("/review?before=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_audit_goes_on_behind_its_first_page_and_a_file_that_is_cut_says_so() {
    let browser = Browser::with(FakeOperations::new(World::Hostile), &[ConsoleRole::Viewer]);
    let first = browser.get("/audit?by=budi").await.body;
    let next = "/audit?by=budi&before=7.3";
    assert!(first.contains(&next.replace('&', "&amp;")), "{first}");
    let last = browser.get(next).await.body;
    assert!(!last.contains("Older actions"), "{last}");
    for (path, name) in [("/audit.csv", "audit-incomplete.csv"), ("/audit.csv?before=7.3", "audit.csv")] {
        let file = browser.get(path).await;
        let kept = format!("attachment; filename=\"{name}\"");
        assert_eq!(file.headers["content-disposition"].to_str().unwrap(), kept);
    }
}

#[tokio::test]
async fn the_style_sheet_and_the_script_are_named_by_what_is_in_them() {
    let browser = Browser::with(FakeOperations::new(World::Empty), &[ConsoleRole::Viewer]);
    let page = browser.get("/").await.body;
    let stranger = browser.header("cookie", "");
    for asset in [&*assets::STYLE, &*assets::SCRIPT, &*assets::ICON] {
        assert!(page.contains(&asset.path), "{page}");
        let answered = stranger.get(&asset.path).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert!(answered.headers["cache-control"].to_str().unwrap().contains("immutable"));
    }
    assert_eq!(stranger.get("/assets/console-0000000000000000.css").await.status, StatusCode::UNAUTHORIZED);
}
