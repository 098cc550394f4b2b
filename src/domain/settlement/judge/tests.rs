//! The table: every state of an order against every sort of row, with what is said of it; then amounts, days and forms.

use super::{
    super::{
        super::{Time, order::ReviewCause},
        calendar::Calendar,
        case::{AccountFacts, Fit, Rules},
        fees::FeeRule,
    },
    *,
};

pub(in super::super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(in super::super) fn at(text: &str) -> Time {
    text.parse().unwrap()
}

pub(in super::super) fn purchase(batch: &str) -> SettlementRow {
    SettlementRow {
        batch: batch.to_owned(),
        invoice_number: "INV-1".to_owned(),
        kind: RowKind::Purchase,
        type_word: String::new(),
        sub_account: String::new(),
        gross: 50_000,
        fee: 1_500,
        discount: 0,
        net: 48_500,
        transaction_on: day("2026-01-05"),
        paid_out_on: day("2026-01-08"),
    }
}

fn refund(batch: &str) -> SettlementRow {
    SettlementRow { kind: RowKind::Refund, fee: 0, net: -50_000, ..purchase(batch) }
}

fn known(row: SettlementRow) -> KnownRow {
    KnownRow { row, number: 1, files: [1].into(), seen_at: at("2026-01-08T06:00:00Z") }
}

fn order(state: OrderState) -> OrderFacts {
    OrderFacts {
        amount: 50_000,
        state,
        state_since: day("2026-01-05"),
        paid_on: day("2026-01-05"),
        has_shares: false,
        is_imported: false,
    }
}

pub(in super::super) fn rules() -> Rules {
    Rules {
        calendar: Calendar { holidays: BTreeSet::new(), due_days: 3 },
        fees: vec![FeeRule::parse("2026-01-01;fixed=1500").unwrap()],
        split: false,
    }
}

/// A batch was paid out after everything was due.
fn account() -> AccountFacts {
    AccountFacts {
        first_transaction_on: Some(day("2026-01-01")),
        latest_paid_out_on: Some(day("2026-01-09")),
        ..AccountFacts::default()
    }
}

struct Scene {
    order: Option<OrderFacts>,
    rows: Vec<KnownRow>,
    account: AccountFacts,
    rules: Rules,
    now: Time,
}

impl Scene {
    fn new(state: OrderState, rows: Vec<SettlementRow>) -> Self {
        let rows = rows.into_iter().map(known).collect();
        Self {
            order: Some(order(state)),
            rows,
            account: account(),
            rules: rules(),
            now: at("2026-01-08T06:00:01Z"),
        }
    }

    fn judge(&self) -> Judgement {
        let Self { order, rows, account, rules, now } = self;
        judge(&Case { invoice_number: "INV-1", order: *order, rows, account, rules, now: *now })
    }

    /// The causes, `?` where DOKU is asked, `+` where a row fits.
    fn said(&self) -> String {
        let said = self.judge();
        let mut words: Vec<&str> = said.breaks.iter().map(|found| found.cause.name()).collect();
        words.extend(said.asks.then_some("?"));
        words.extend(said.fits.iter().map(|_| "+"));
        words.join(" ")
    }

    fn at_stake(&self) -> i64 {
        self.judge().breaks.iter().map(|found| found.at_stake).sum()
    }
}

#[test]
fn every_state_of_an_order_against_every_sort_of_row() {
    const DOUBT: &str = "?";
    const LATER: &str = "status_mismatch ?";
    const BOTH: &str = "status_mismatch refund_unexpected ?";
    let open =
        ["", DOUBT, LATER, "amount_mismatch ?", "refund_unexpected ?", "refund_unexpected ?", "unknown_type"];
    let over =
        ["", LATER, LATER, "amount_mismatch status_mismatch ?", "refund_unexpected ?", BOTH, "unknown_type"];
    let paid = [
        "missing_at_doku",
        "+",
        "+",
        "amount_mismatch",
        "missing_at_doku refund_unexpected ?",
        "refund_unexpected ?",
        "unknown_type",
    ];
    let refunding =
        ["missing_at_doku", "+", "+", "amount_mismatch", "missing_at_doku ?", "? +", "unknown_type"];
    let refunded = [
        "",
        "refund_missing",
        "refund_missing",
        "amount_mismatch refund_missing",
        "missing_at_doku",
        "+ +",
        "unknown_type",
    ];
    let table: Vec<(OrderState, [&str; 7])> = OrderState::ALL
        .into_iter()
        .map(|state| match state {
            OrderState::Submitting | OrderState::AwaitingPayment | OrderState::Review(_) => (state, open),
            OrderState::Failed | OrderState::Expired | OrderState::Abandoned => (state, over),
            OrderState::Paid => (state, paid),
            OrderState::Refunding => (state, refunding),
            OrderState::Refunded => (state, refunded),
        })
        .collect();
    let other = || SettlementRow { gross: 60_000, net: 58_500, ..purchase("B") };
    let unknown =
        || SettlementRow { kind: RowKind::Unknown, type_word: "Chargeback".to_owned(), ..purchase("B") };
    for (state, [none, exact, a_day_later, other_amount, refund_alone, both, unknown_type]) in table {
        for (rows, hours, expected) in [
            (vec![], 0, none),
            (vec![purchase("B")], 0, exact),
            (vec![purchase("B")], 24, a_day_later),
            (vec![other()], 0, other_amount),
            (vec![refund("C")], 0, refund_alone),
            (vec![purchase("B"), refund("C")], 0, both),
            (vec![unknown()], 0, unknown_type),
        ] {
            let mut scene = Scene::new(state, rows.clone());
            scene.now += Duration::from_secs(hours * 3600);
            assert_eq!(scene.said(), expected, "{state:?} {rows:?} after {hours} h");
        }
    }
    assert_eq!(Scene::new(OrderState::Review(ReviewCause::CheckGaveUp), vec![purchase("B")]).at_stake(), 0);
}

#[test]
fn an_open_refund_is_waited_for_and_then_odd() {
    let mut scene = Scene::new(OrderState::Refunding, vec![purchase("B"), refund("C")]);
    scene.now += DOUBT;
    assert_eq!(scene.said(), "refund_unexpected ?");
}

#[test]
fn a_row_of_no_order_is_at_stake_with_its_amount() {
    let mut scene = Scene::new(OrderState::Paid, vec![purchase("B")]);
    scene.order = None;
    assert_eq!((scene.said().as_str(), scene.at_stake()), ("missing_here", 50_000));
    scene.rows.clear();
    assert_eq!(scene.said(), "");
}

#[test]
fn an_order_is_missing_only_when_a_later_batch_came_without_it() {
    // Paid on Monday, due on Thursday.
    for (latest, first, unknown_channel, expected) in [
        (Some("2026-01-09"), Some("2026-01-01"), false, "missing_at_doku"),
        (Some("2026-01-08"), Some("2026-01-01"), false, ""),
        (None, Some("2026-01-01"), false, ""),
        (Some("2026-01-09"), Some("2026-01-06"), false, ""),
        (Some("2026-01-09"), None, false, ""),
        (Some("2026-01-09"), Some("2026-01-01"), true, ""),
    ] {
        let mut scene = Scene::new(OrderState::Paid, vec![]);
        scene.account = AccountFacts {
            latest_paid_out_on: latest.map(day),
            first_transaction_on: first.map(day),
            has_unknown_channel: unknown_channel,
            ..AccountFacts::default()
        };
        assert_eq!(scene.said(), expected, "{latest:?} {first:?} {unknown_channel}");
        let looks = scene.judge().look_again_at.is_some();
        assert_eq!(looks, !expected.is_empty());
    }
}

#[test]
fn an_order_from_before_this_service_is_never_missing_and_its_row_is_compared_all_the_same() {
    let imported = OrderFacts { is_imported: true, ..order(OrderState::Paid) };
    for (rows, expected) in [
        (vec![], ""),
        (vec![purchase("B")], "+"),
        (vec![SettlementRow { gross: 49_999, net: 48_499, ..purchase("B") }], "amount_mismatch"),
    ] {
        let mut scene = Scene::new(OrderState::Paid, rows);
        assert_ne!(scene.said(), "", "any other order");
        scene.order = Some(imported);
        assert_eq!(scene.said(), expected);
    }
}

#[test]
fn amounts_fees_and_sums_are_compared_to_the_rupiah() {
    for (change, expected, at_stake) in [
        (SettlementRow { fee: 1_501, net: 48_499, ..purchase("B") }, "+", 0),
        (SettlementRow { fee: 1_502, net: 48_498, ..purchase("B") }, "fee_mismatch", 2),
        (SettlementRow { net: 48_499, ..purchase("B") }, "net_arithmetic", 1),
        (SettlementRow { discount: 100, net: 48_400, ..purchase("B") }, "+", 0),
        (SettlementRow { gross: 49_999, net: 48_499, ..purchase("B") }, "amount_mismatch", 1),
        // No rule was valid then.
        (SettlementRow { fee: 9, net: 49_991, transaction_on: day("2025-12-31"), ..purchase("B") }, "+", 0),
    ] {
        let scene = Scene::new(OrderState::Paid, vec![change.clone()]);
        assert_eq!((scene.said().as_str(), scene.at_stake()), (expected, at_stake), "{change:?}");
    }
}

#[test]
fn the_same_twice_is_said_within_a_batch_and_over_two() {
    let mut twice = Scene::new(OrderState::Paid, vec![purchase("B"), purchase("B")]);
    twice.rows[1].number = 2;
    assert_eq!((twice.said().as_str(), twice.at_stake()), ("duplicate_row", 48_500));
    let other_batch = Scene::new(OrderState::Paid, vec![purchase("B"), purchase("C")]);
    assert_eq!((other_batch.said().as_str(), other_batch.at_stake()), ("duplicate_in_other_batch", 48_500));
}

#[test]
fn shares_are_counted_until_a_profile_sums_them_up() {
    let share = |account: &str, gross| SettlementRow {
        sub_account: account.to_owned(),
        gross,
        fee: 0,
        net: gross,
        ..purchase("B")
    };
    for (rows, split, expected) in [
        (vec![share("a", 20_000), share("b", 30_000)], false, "+ +"),
        (vec![share("a", 20_000), share("b", 30_000)], true, "+ +"),
        (vec![share("a", 20_000), share("b", 29_000)], false, "+ +"),
        (vec![share("a", 20_000), share("b", 29_000)], true, "amount_mismatch"),
        (vec![share("a", 20_000), share("a", 30_000)], true, "duplicate_row"),
        (vec![share("", 20_000), share("", 30_000)], false, "+ +"),
    ] {
        let mut scene = Scene::new(OrderState::Paid, rows.clone());
        scene.order = Some(OrderFacts { has_shares: true, ..order(OrderState::Paid) });
        scene.rules.split = split;
        assert_eq!(scene.said(), expected, "{rows:?} {split}");
    }
}

#[test]
fn a_refund_of_shares_is_summed_up_as_its_payment_is() {
    let share = |row: SettlementRow, account: &str, gross: i64| {
        let net = if row.kind == RowKind::Refund { -gross } else { gross };
        SettlementRow { sub_account: account.to_owned(), gross, fee: 0, net, ..row }
    };
    for (second, split, expected) in [
        (30_000, false, "+ + + +"),
        (30_000, true, "+ + + +"),
        (29_000, false, "+ + + +"),
        (29_000, true, "amount_mismatch"),
    ] {
        let rows = vec![
            share(purchase("B"), "a", 20_000),
            share(purchase("B"), "b", 30_000),
            share(refund("C"), "a", 20_000),
            share(refund("C"), "b", second),
        ];
        let mut scene = Scene::new(OrderState::Refunded, rows);
        scene.order = Some(OrderFacts { has_shares: true, ..order(OrderState::Refunded) });
        scene.rules.split = split;
        assert_eq!(scene.said(), expected, "{second} {split}");
    }
}

/// Its payment's row is in no file here, and its refund's must be.
#[test]
fn a_refund_of_an_earlier_or_imported_order_is_missed_too() {
    let earlier = OrderFacts { paid_on: day("2025-12-28"), ..order(OrderState::Refunded) };
    let imported = OrderFacts { is_imported: true, ..order(OrderState::Refunded) };
    for (facts, expected) in [
        (earlier, "refund_missing"),
        (imported, "refund_missing"),
        // It was refunded before the pay-out, or before the first file.
        (order(OrderState::Refunded), ""),
        (OrderFacts { state_since: day("2025-12-30"), ..earlier }, ""),
        (OrderFacts { state_since: day("2025-12-30"), ..imported }, ""),
        // It is not late yet.
        (OrderFacts { state_since: day("2026-01-07"), ..earlier }, ""),
    ] {
        let mut scene = Scene::new(OrderState::Refunded, vec![]);
        scene.order = Some(facts);
        assert_eq!(scene.said(), expected, "{facts:?}");
    }
}

/// Each file of a day has a part of it, and neither names a batch.
#[test]
fn a_row_of_a_day_that_another_file_of_the_day_has_not_is_no_change() {
    let first = purchase("PAYOUT-2026-01-08");
    let changed = SettlementRow { fee: 1_600, net: 48_400, ..first.clone() };
    let forms = [(first.batch.clone(), [1, 2].into())];
    let mut scene = Scene::new(OrderState::Paid, vec![first.clone()]);
    scene.account.forms = forms.clone().into();
    assert_eq!(scene.said(), "+");
    let mut scene = Scene::new(OrderState::Paid, vec![first, changed]);
    scene.rows[1].files = [2].into();
    scene.account.forms = forms.into();
    assert_eq!(scene.said(), "batch_changed +");
}

#[test]
fn a_batch_in_two_forms_is_one_break_whichever_came_first_and_the_latest_form_fits() {
    let first = purchase("B");
    let changed = SettlementRow { fee: 1_600, net: 48_400, ..purchase("B") };
    let mut said = Vec::new();
    for (old, new) in [(&first, &changed), (&changed, &first)] {
        let mut scene = Scene::new(OrderState::Paid, vec![old.clone(), new.clone()]);
        scene.rows[1].files = [2].into();
        scene.account.forms = [("B".to_owned(), [1, 2].into())].into();
        assert_eq!((scene.said().as_str(), scene.at_stake()), ("batch_changed +", 100));
        assert_eq!(scene.judge().fits, [Fit { at: 1, replaces: vec![0] }]);
        said.push(scene.judge().breaks);
    }
    assert_eq!(said[0], said[1]);

    let mut equal = Scene::new(OrderState::Paid, vec![purchase("B")]);
    equal.rows[0].files = [1, 2].into();
    equal.account.forms = [("B".to_owned(), [1, 2].into())].into();
    assert_eq!(equal.said(), "+");

    // The second form is without the row: nothing of it fits any more.
    let mut withdrawn = Scene::new(OrderState::Paid, vec![purchase("B")]);
    withdrawn.account.forms = [("B".to_owned(), [1, 2].into())].into();
    assert_eq!((withdrawn.said().as_str(), withdrawn.at_stake()), ("batch_changed", 48_500));
}

/// The first file begins on 1 January; the order was paid before, and has another state since.
#[test]
fn what_is_expected_and_late_is_reckoned_from_the_payment_and_not_from_what_came_after() {
    for state in [OrderState::Paid, OrderState::Refunding] {
        for (paid_on, since, expected) in [
            ("2025-12-28", "2026-01-10", ""),
            ("2026-01-05", "2026-01-10", "missing_at_doku"),
            ("2026-01-07", "2026-01-07", ""),
        ] {
            let mut scene = Scene::new(state, vec![]);
            let (paid_on, state_since) = (day(paid_on), day(since));
            scene.order = Some(OrderFacts { paid_on, state_since, ..order(state) });
            assert_eq!(scene.said(), expected, "{state:?} {paid_on} {since}");
        }
    }
    let mut refunded = Scene::new(OrderState::Refunded, vec![refund("C")]);
    let facts = OrderFacts { paid_on: day("2025-12-28"), ..order(OrderState::Refunded) };
    refunded.order = Some(facts);
    assert_eq!(refunded.said(), "+");
}
