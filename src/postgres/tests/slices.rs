//! What is looked at in slices is looked at to its end, and once.

use super::*;
use futures_util::future::join_all;

/// More than one slice has, and no multiple of it.
const MANY: i64 = 300;

#[tokio::test]
async fn more_open_orders_than_one_slice_has_are_counted_and_stranded_to_the_last() {
    on_a_database(|db| async move {
        let deferred = (0..MANY).map(|number| {
            let new = NewCommand { lease: None, ..payment(&number.to_string(), &format!("INV-{number}")) };
            let rupiah = i64::try_from(new.order.amount.get()).unwrap();
            let store = db.store.clone();
            async move {
                assert!(matches!(store.claim(new).await, Ok(Claimed::Deferred)));
                rupiah
            }
        });
        let rupiah: i64 = join_all(deferred).await.into_iter().sum();
        for pace in [CountingPace::AtOnce, CountingPace::Gentle] {
            let gauges = db.store.gauges(pace).await.unwrap();
            let [open] = gauges.open_orders.as_slice() else { panic!("{gauges:?}") };
            let [sends] = gauges.due_sends.as_slice() else { panic!("{gauges:?}") };
            assert_eq!((open.count, open.rupiah, sends.count), (MANY, rupiah, MANY));
        }
        for (accounts, stranded) in [(vec![], MANY), (vec![account()], 0)] {
            db.store.look_for_stranded(&accounts).await.unwrap();
            assert_eq!(db.store.gauges(CountingPace::AtOnce).await.unwrap().stranded_orders, stranded);
        }
    })
    .await;
}
