//! A file that finance sends by the console: kept, looked at, and matched by a second press.

use super::{late, open_breaks, pay, said, settled};
use crate::harness::{
    World, eventually,
    visitor::{Visitor, led},
};
use doku_sandbox::SettlementRequest;
use jenius_pay::app::Role;
use uuid::Uuid;

/// Sends a file. Where the answer leads, or what it says.
async fn sends(visitor: &Visitor, file: &str) -> Result<String, String> {
    let part = |name: &str, value: &str| {
        format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields = part("action", &Uuid::new_v4().to_string())
        + &part("merchant", "default")
        + &part("profile", "doku")
        + &part("reason", "the pay-out of Monday")
        + &part("file\"; filename=\"sent.csv", file)
        + "--edge--\r\n";
    led(visitor.post("/settlement/bring", "multipart/form-data; boundary=edge", fields).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finance_sends_a_file_and_nothing_of_it_counts_before_a_second_press() {
    let setting = World::with().set("SETTLEMENT__FEES", "2020-01-01;fixed=1500");
    let mut world = setting.set("CONSOLE__LISTEN", "127.0.0.1:0").without_service().build().await;
    world.start(&Role::ALL).await;
    let paid = pay(&world, 3).await;
    let request = SettlementRequest {
        client_id: Some(crate::harness::world::CLIENT_ID.to_owned()),
        paid_out_on: Some(late()),
        faults: "wrong_fee".to_owned(),
        ..SettlementRequest::default()
    };
    let file = world.sandbox.settlement(&request).unwrap();
    let named = file.csv.replacen("PELANGGAN", "Astari", 1);
    let visitor = Visitor::enter(&world, &["finance"]).await;
    let page = sends(&visitor, &named).await.unwrap();
    let read = eventually("the file to be read", async || {
        let text = visitor.get(&page).await;
        text.contains("Have it matched").then_some(text)
    });
    let text = read.await;
    assert!(text.contains("Rp150.000") && !text.contains("Astari"), "{text}");
    assert_eq!(open_breaks(&world).await, []);
    assert_eq!(world.database.count("SELECT count(*) FROM settlement_waiting").await, 0);

    let number = page.rsplit_once('=').unwrap().1;
    let (_, sha256) = text.split_once("name=\"sha256\" value=\"").unwrap();
    let form = format!(
        "number={number}&sha256={}&reason=the+sums+are+right&action={}",
        &sha256[..64],
        Uuid::new_v4()
    );
    // Made while the file was read: its sums were not seen.
    let early = visitor.send("/settlement/match", form.clone() + "&state=reading").await;
    assert!(early.unwrap_err().contains("read whole since you looked"));
    assert_eq!(open_breaks(&world).await, []);
    let form = form + "&state=held";
    for _ in 0..2 {
        // The same form twice acts once.
        let led = visitor.send("/settlement/match", form.clone()).await;
        assert_eq!(led.as_deref(), Ok(page.as_str()));
    }
    let matched = eventually("the file to be matched", async || {
        let text = visitor.get(&page).await;
        text.contains("<strong>matched</strong>").then_some(())
    });
    matched.await;
    let planted: Vec<_> =
        file.planted.iter().map(|p| (p.cause.to_owned(), p.invoice_number.clone())).collect();
    assert_eq!(open_breaks(&world).await, planted);
    let fitting = paid.iter().find(|invoice| Some(*invoice) != planted[0].1.as_ref()).unwrap();
    settled(&world, fitting, "purchase").await;
    // The same bytes again lead to the same file, and what is none says why.
    assert_eq!(sends(&visitor, &named).await, Ok(page.clone()));
    let refused = sends(&visitor, "%PDF-1.7").await.unwrap_err();
    assert!(refused.contains("a PDF holds no table"), "{refused}");
    let batch = visitor.get("/settlement").await;
    assert!(batch.contains("sent.csv") && batch.contains("fee mismatch"), "{batch}");
    let audit = said(&world, &["audit", "--by", "sari", "--csv"], 0).await;
    assert!(audit.contains("the pay-out of Monday") && audit.contains("the sums are right"), "{audit}");
    world.end().await;
}
