//! Items that come together are done together, and whatever one of them does, the others get their answers.

use super::*;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

/// Answers ten times the item, counts, and remembers its flushes.
#[derive(Default)]
struct Tens {
    flushes: Mutex<Vec<Vec<u64>>>,
    alone: Mutex<Vec<u64>>,
    /// A flush waits for a permit, if there is one to wait for.
    gate: Option<Semaphore>,
}

const AWAY: u64 = 1000;
const REFUSED: u64 = 1001;
const PANICS: u64 = 1002;
const BETTER_ALONE: u64 = 1003;

impl Group for Tens {
    type Item = u64;
    /// 1 and 101 are of one key.
    type Key = u64;
    type Reply = u64;

    fn key(item: &u64) -> u64 {
        if *item < AWAY { item % 100 } else { *item }
    }

    async fn together(self: Arc<Self>, items: Vec<Arc<u64>>) -> TxResult<Vec<Option<u64>>> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let items: Vec<u64> = items.iter().map(|item| **item).collect();
        self.flushes.lock().push(items.clone());
        assert!(!items.contains(&PANICS), "as asked");
        if items.contains(&AWAY) {
            return Err(StoreError::Away("gone".to_owned()).into());
        }
        if items.contains(&REFUSED) {
            return Err(StoreError::Refused("a row that breaks a rule".to_owned()).into());
        }
        Ok(items.iter().map(|item| (*item != BETTER_ALONE).then_some(item * 10)).collect())
    }

    async fn alone(self: Arc<Self>, item: Arc<u64>) -> Result<u64, StoreError> {
        self.alone.lock().push(*item);
        if *item == REFUSED { Err(StoreError::Refused("it still does".to_owned())) } else { Ok(*item * 10) }
    }
}

fn gated() -> Batch<Tens> {
    Batch::new(Tens { gate: Some(Semaphore::new(0)), ..Tens::default() })
}

/// Adds them in this order, while the first flush waits at the gate with the first of them.
async fn add_all(
    batch: &Batch<Tens>,
    items: &[u64],
) -> Vec<tokio::task::JoinHandle<Result<u64, StoreError>>> {
    let mut added = Vec::new();
    for item in items {
        let (this, item) = (batch.clone(), *item);
        added.push(tokio::spawn(async move { this.add(item).await }));
        tokio::task::yield_now().await;
    }
    added
}

fn let_through(batch: &Batch<Tens>) {
    batch.group.gate.as_ref().unwrap().add_permits(100);
}

#[tokio::test]
async fn whoever_comes_alone_is_flushed_alone() {
    let batch = Batch::new(Tens::default());
    assert_eq!(batch.add(7).await.unwrap(), 70);
    assert_eq!(batch.add(8).await.unwrap(), 80);
    assert_eq!(*batch.group.flushes.lock(), [[7], [8]]);
}

#[tokio::test]
async fn what_comes_while_a_flush_runs_shares_the_next_one_and_no_key_is_in_it_twice() {
    let batch = gated();
    let added = add_all(&batch, &[1, 2, 3, 102, 4, 202]).await;
    let_through(&batch);
    for (added, answer) in added.into_iter().zip([10, 20, 30, 1020, 40, 2020]) {
        assert_eq!(added.await.unwrap().unwrap(), answer);
    }
    assert_eq!(*batch.group.flushes.lock(), [vec![1], vec![2, 3, 4], vec![102], vec![202]]);
    assert!(batch.group.alone.lock().is_empty());
}

#[tokio::test]
async fn a_flush_is_bounded_and_drops_nobody() {
    let batch = gated();
    let many: Vec<u64> = (2000..2000 + 2 * FLUSH_MAX as u64 + 5).collect();
    let added = add_all(&batch, &many).await;
    let_through(&batch);
    for (added, item) in added.into_iter().zip(&many) {
        assert_eq!(added.await.unwrap().unwrap(), item * 10);
    }
    let sizes: Vec<usize> = batch.group.flushes.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, FLUSH_MAX, FLUSH_MAX, 4]);
}

#[tokio::test]
async fn one_that_cannot_be_done_does_not_keep_the_others_from_being_done() {
    for bad in [REFUSED, PANICS] {
        let batch = gated();
        let added = add_all(&batch, &[1, 2, bad, 3]).await;
        let_through(&batch);
        for (added, item) in added.into_iter().zip([1, 2, bad, 3]) {
            assert_eq!(added.await.unwrap().is_err(), item == REFUSED, "{item}");
        }
        assert_eq!(*batch.group.flushes.lock(), [vec![1], vec![2, bad, 3]]);
        let mut alone = batch.group.alone.lock().clone();
        alone.sort_unstable();
        assert_eq!(alone, [2, 3, bad]);
    }
}

#[tokio::test]
async fn one_that_is_better_judged_alone_is() {
    let batch = gated();
    let added = add_all(&batch, &[1, 2, BETTER_ALONE]).await;
    let_through(&batch);
    for added in added {
        added.await.unwrap().unwrap();
    }
    assert_eq!(*batch.group.alone.lock(), [BETTER_ALONE]);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_to_all_and_asked_once() {
    let batch = gated();
    let added = add_all(&batch, &[1, 2, AWAY, 3]).await;
    let_through(&batch);
    let told: Vec<bool> = futures_util::future::join_all(added)
        .await
        .into_iter()
        .map(|answer| matches!(answer.unwrap(), Err(StoreError::Away(_))))
        .collect();
    assert_eq!(told, [false, true, true, true]);
    assert!(batch.group.alone.lock().is_empty());
}

#[tokio::test]
async fn a_caller_that_is_gone_changes_nothing_for_the_others() {
    let batch = gated();
    let mut added = add_all(&batch, &[1, 2, 3]).await;
    added.remove(1).abort();
    added.remove(0).abort();
    tokio::task::yield_now().await;
    let_through(&batch);
    assert_eq!(added.pop().unwrap().await.unwrap().unwrap(), 30);
    assert_eq!(*batch.group.flushes.lock(), [vec![1], vec![2, 3]]);
}

/// Remembers its flushes, and gathers that long.
#[derive(Default)]
struct Gathering<const MS: u64>(Mutex<Vec<Vec<u64>>>);

impl<const MS: u64> Group for Gathering<MS> {
    type Item = u64;
    type Key = u64;
    type Reply = u64;

    const GATHER: Duration = Duration::from_millis(MS);

    fn key(item: &u64) -> u64 {
        *item
    }

    async fn together(self: Arc<Self>, items: Vec<Arc<u64>>) -> TxResult<Vec<Option<u64>>> {
        let items: Vec<u64> = items.iter().map(|item| **item).collect();
        self.0.lock().push(items.clone());
        Ok(items.into_iter().map(Some).collect())
    }

    async fn alone(self: Arc<Self>, item: Arc<u64>) -> Result<u64, StoreError> {
        Ok(*item)
    }
}

#[tokio::test]
async fn what_comes_while_a_group_gathers_is_flushed_with_the_first() {
    let batch = Batch::new(Gathering::<500>::default());
    let first = tokio::spawn({
        let batch = batch.clone();
        async move { batch.add(1).await }
    });
    // Without gathering it would be flushed by now.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((batch.add(2).await.unwrap(), first.await.unwrap().unwrap()), (2, 1));
    assert_eq!(*batch.group.0.lock(), [[1, 2]]);
}

#[tokio::test]
async fn a_group_that_has_gathered_enough_waits_no_longer() {
    let batch = Batch::new(Gathering::<600_000>::default());
    let all: Vec<u64> = (0..32).collect();
    assert_eq!(all.len(), GATHERED);
    let added = join_all(all.iter().map(|item| batch.add(*item)));
    timeout(Duration::from_secs(60), added).await.unwrap();
    assert_eq!(*batch.group.0.lock(), [all]);
}
