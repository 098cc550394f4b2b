//! The sums of a pay-out. A large one takes longer to count than a page may: it is counted beside the pages, a slice at a
//! time, and what was counted is shown for a while.

use crate::{
    app::now_here,
    flow::{
        ports::{BatchSums, StoreError},
        view::settlement::BatchView,
    },
    postgres::SettlementStore,
};
use std::{collections::HashMap, time::Duration};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// A page waits no longer; the count goes on, and the page asks to be loaded again.
const PAGE_WAITS: Duration = Duration::from_millis(300);
/// What took a while to count is shown this many times as long: a small pay-out is always counted anew.
const SHOWN_TIMES: u32 = 30;

pub(super) struct PayOutSums {
    settlement: SettlementStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counted: HashMap<String, (Instant, BatchSums)>,
    counting: Option<Counting>,
}

/// One at a time.
struct Counting {
    name: String,
    began: Instant,
    task: JoinHandle<Result<Vec<BatchView>, StoreError>>,
}

impl PayOutSums {
    pub(super) fn new(settlement: SettlementStore) -> Self {
        Self { settlement, state: Mutex::default() }
    }

    pub(super) async fn of_batch(&self, name: &str) -> Result<BatchSums, StoreError> {
        let mut state = self.state.lock().await;
        loop {
            let now = Instant::now();
            state.counted.retain(|_, (until, _)| *until > now);
            if let Some((_, sums)) = state.counted.get(name) {
                return Ok(sums.clone());
            }
            let mut counting = state.counting.take().unwrap_or_else(|| self.begin(name));
            let Ok(ended) = timeout(PAGE_WAITS, &mut counting.task).await else {
                state.counting = Some(counting);
                return Ok(BatchSums::Counting);
            };
            let batches = match ended {
                Ok(Ok(batches)) => batches,
                Ok(Err(error)) if counting.name == name => return Err(error),
                // Who asked for it asks again.
                Ok(Err(_)) | Err(_) => continue,
            };
            let (sums, is_asked) = (BatchSums::Counted(now_here(), batches), counting.name == name);
            let until = Instant::now() + counting.began.elapsed() * SHOWN_TIMES;
            state.counted.insert(counting.name, (until, sums.clone()));
            if is_asked {
                return Ok(sums);
            }
        }
    }

    fn begin(&self, name: &str) -> Counting {
        let (settlement, asked) = (self.settlement.clone(), name.to_owned());
        let task = tokio::spawn(async move { settlement.batches(&asked).await });
        Counting { name: name.to_owned(), began: Instant::now(), task }
    }
}
