//! Whose sends are paused, as every process reads it.

use super::*;
use crate::{
    domain::pause::{PauseLift, Paused, Scope},
    postgres::{PauseChange, pauses},
};
use std::time::Instant;

fn change(scope: Scope, reason: &str) -> PauseChange {
    PauseChange { scope, reason: Some(reason.to_owned()), done_by: Some("ratna".to_owned()), mark: None }
}

#[tokio::test]
async fn pauses_of_everybody_and_of_a_merchant_stand_beside_each_other() {
    on_a_database(|db| async move {
        assert_eq!(db.store.paused().await.unwrap(), Paused::default());
        let shop = Scope::Merchant(merchant());
        assert!(db.store.pause(change(shop.clone(), "its key")).await.unwrap());
        assert!(db.store.pause(change(Scope::AllMerchants, "a restore")).await.unwrap());
        assert!(!db.store.pause(change(Scope::AllMerchants, "again")).await.unwrap());
        let both = db.store.paused().await.unwrap();
        assert!(both.all.is_some() && both.merchants.contains_key(&merchant()));
        assert_eq!(both.since(&merchant()), both.merchants.get(&merchant()).copied(), "the longer one");
        let kept: Vec<_> =
            pauses(&db.pool).await.unwrap().into_iter().map(|p| (p.scope, p.reason.unwrap())).collect();
        let expected =
            [("*", "a restore"), ("default", "its key")].map(|(s, r)| (s.to_owned(), r.to_owned()));
        assert_eq!(kept, expected, "the first reason stays");
        for expected in [PauseLift::Lifted, PauseLift::NotPaused] {
            assert_eq!(db.store.resume(change(Scope::AllMerchants, "done"), None).await.unwrap(), expected);
        }
        let left = db.store.paused().await.unwrap();
        assert_eq!(left, Paused { all: None, ..both });
        let actions =
            "SELECT string_agg(action || ' ' || subject || coalesce(' ' || detail, ''), ', ' ORDER BY key)
                       FROM operator_actions";
        let expected =
            "pause default, pause *, pause * it was so already, resume *, resume * it was so already";
        assert_eq!(db.text(actions).await, expected);
    })
    .await;
}

/// A page is old: others lifted the pause that it shows, and paused again.
#[tokio::test]
async fn a_pause_that_a_person_did_not_see_is_not_lifted_by_that_person() {
    on_a_database(|db| async move {
        let all = || Scope::AllMerchants;
        let since = async || db.store.paused().await.unwrap().all;
        let lift = async |seen| db.store.resume(change(all(), "a form"), seen).await.unwrap();
        assert!(db.store.pause(change(all(), "a release")).await.unwrap());
        let seen = since().await;
        assert_eq!(lift(None).await, PauseLift::Lifted);
        db.jump(60).await;
        assert!(db.store.pause(change(all(), "DOKU charges twice")).await.unwrap());
        let stands = since().await;
        assert_eq!(lift(seen).await, PauseLift::Another);
        assert_eq!(since().await, stands);
        assert_eq!(db.number("SELECT count(*) FROM operator_actions").await, 3, "nothing was done");
        assert_eq!((lift(stands).await, lift(stands).await), (PauseLift::Lifted, PauseLift::NotPaused));
    })
    .await;
}

#[tokio::test]
async fn what_a_pause_makes_wait_is_counted() {
    on_a_database(|db| async move {
        let waiting = db.store.waiting_sends(&Scope::AllMerchants).await.unwrap();
        assert_eq!((waiting.count, waiting.first_end), (0, None));
        for n in 0..3 {
            let deferred = NewCommand { lease: None, ..payment(&n.to_string(), &format!("INV-{n}")) };
            assert!(matches!(db.store.claim(deferred).await, Ok(Claimed::Deferred)));
        }
        let waiting = db.store.waiting_sends(&Scope::AllMerchants).await.unwrap();
        assert_eq!((waiting.count, waiting.first_end.is_some()), (3, true));
        let nobodys = Scope::Merchant(MerchantName::parse("nobody").unwrap());
        assert_eq!(db.store.waiting_sends(&nobodys).await.unwrap().count, 0);
        db.jump(1000).await;
        assert_eq!(
            db.store.waiting_sends(&Scope::AllMerchants).await.unwrap().count,
            0,
            "too late to be sent"
        );
    })
    .await;
}

#[tokio::test]
async fn a_pause_wakes_other_processes_at_once() {
    on_a_database(|db| async move {
        let schedule = db.store.context.schedule.clone();
        let elsewhere = PostgresStore::with_jitter(pool(db.options.clone(), 2), schedule, Arc::new(|| 0.5));
        let listening = tokio::spawn(elsewhere.listen_for_others(false));
        let changed = elsewhere.pauses_changed();
        let (mut woken, end) = (false, Instant::now() + Duration::from_secs(20));
        // The first may come before it listens.
        while !woken && Instant::now() < end {
            db.store.pause(change(Scope::AllMerchants, "x")).await.unwrap();
            woken = tokio::time::timeout(Duration::from_millis(300), changed.notified()).await.is_ok();
        }
        listening.abort();
        assert!(woken);
    })
    .await;
}
