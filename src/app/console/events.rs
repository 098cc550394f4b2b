//! Events for the console: the latest, those that go again, and those that pass now.

use super::{Desk, figures::count};
use crate::{
    app::replay::EventReplay,
    domain::action::{Action, ActionKind},
    flow::ports::{
        Act, EventFilter, EventOperations, EventPage, EventRange, LiveEvents, LiveRefusal, StoreError,
        WorkStart,
    },
    postgres::{self, Replayed},
    shown::rfc3339,
};

/// A person waits for the count.
const COUNTED_MAX: i64 = 100_000;

fn replay_of(range: EventRange) -> EventReplay {
    let of = Replayed::Time { since: range.since, until: range.until };
    EventReplay { of, event_type: range.event_type }
}

impl EventOperations for Desk {
    async fn events(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        self.reach()?;
        postgres::latest_events(&self.pool, filter).await
    }

    async fn count_events(&self, range: EventRange) -> Result<(u64, bool), StoreError> {
        self.reach()?;
        let counted = replay_of(range).count(&self.store, COUNTED_MAX).await;
        let (number, is_cut) = counted.map_err(|error| StoreError::Away(format!("{error:#}")))?;
        Ok((count(number), is_cut))
    }

    async fn publish_range(&self, range: EventRange, act: Act) -> WorkStart {
        let subject = format!("{} to {}", rfc3339(range.since), rfc3339(range.until));
        let types = range.event_type.map(|t| format!(" of type {}", t.routing_key())).unwrap_or_default();
        let (store, pool) = (self.store.clone(), self.pool.clone());
        let title = format!("publish the events{types} of {subject} again");
        let (id, by) = (act.mark.action_id, act.by.clone());
        self.works.begin(id, title, by, move |progress| async move {
            let replay = replay_of(range);
            let (all, is_cut) = replay.count(&store, COUNTED_MAX).await?;
            let detail = format!("{all}{} published events{types}", if is_cut { " or more" } else { "" });
            let action = Action {
                kind: ActionKind::ReplayEvents,
                subject,
                merchant: None,
                reason: Some(act.reason),
                done_by: Some(act.by),
                detail: Some(detail),
            };
            anyhow::ensure!(
                postgres::record_form(&pool, &action, &act.mark).await?,
                "this form was sent before, and does not act twice"
            );
            progress.expect(count(all));
            replay.put_back(&store, |done| progress.reached(count(done))).await?;
            Ok(())
        })
    }

    async fn live(&self, viewer: &str) -> Result<LiveEvents, LiveRefusal> {
        self.live.join(viewer).await
    }
}
