//! Work that goes on after its form was answered: a page shows how far it came. It lives in this process; the audit has each
//! of its changes.

use crate::flow::ports::{WorkEnd, WorkLine, WorkStart, WorkView};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::Arc,
};
use uuid::Uuid;

/// Ended work that can still be looked at.
const KEPT_MAX: usize = 50;

/// All work of this process, the latest last.
#[derive(Clone, Default)]
pub struct Works(Arc<Mutex<VecDeque<(Uuid, WorkView)>>>);

/// By which work says how far it came.
#[derive(Clone)]
pub struct WorkProgress {
    works: Works,
    id: Uuid,
}

impl Works {
    /// Begins it in a task of its own, once for an id; one work at a time.
    pub fn begin<W>(
        &self,
        id: Uuid,
        title: String,
        by: String,
        work: impl FnOnce(WorkProgress) -> W,
    ) -> WorkStart
    where
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        {
            let mut works = self.0.lock();
            if works.iter().any(|(known, _)| *known == id) {
                return WorkStart::Repeated;
            }
            if let Some((_, busy)) = works.iter().find(|(_, work)| work.end.is_none()) {
                let (title, by) = (&busy.title, &busy.by);
                return WorkStart::Refused(format!(
                    "Other work goes on: {title}, by {by}. Wait for its end."
                ));
            }
            works.push_back((id, WorkView { title, by, ..WorkView::default() }));
            while works.len() > KEPT_MAX {
                works.pop_front();
            }
        }
        let progress = WorkProgress { works: self.clone(), id };
        let working = tokio::spawn(work(progress.clone()));
        tokio::spawn(async move {
            let end = match working.await {
                Ok(Ok(())) => WorkEnd::Finished,
                Ok(Err(error)) => WorkEnd::Stopped(format!("{error:#}")),
                Err(_) => WorkEnd::Stopped("its task has ended; see the log".to_owned()),
            };
            progress.update(|work| work.end = Some(end));
        });
        WorkStart::Begun
    }

    pub fn find(&self, id: Uuid) -> Option<WorkView> {
        self.0.lock().iter().find(|(known, _)| *known == id).map(|(_, work)| work.clone())
    }
}

impl WorkProgress {
    pub fn expect(&self, total: u64) {
        self.update(|work| work.total = total);
    }

    /// So much is done, of what has no line for each.
    pub fn reached(&self, done: u64) {
        self.update(|work| work.done = done);
    }

    pub fn line(&self, subject: String, end: &'static str, detail: String) {
        self.update(|work| {
            work.done += 1;
            work.lines.push(WorkLine { subject, end, detail });
        });
    }

    /// Those with such an end.
    pub fn subjects(&self, is_such: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let lines = self.works.find(self.id).map(|work| work.lines).unwrap_or_default();
        lines.into_iter().filter(|line| is_such(line.end)).map(|line| line.subject).collect()
    }

    fn update(&self, change: impl FnOnce(&mut WorkView)) {
        if let Some((_, work)) = self.works.0.lock().iter_mut().find(|(id, _)| *id == self.id) {
            change(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    async fn wait_for_end(works: &Works, id: Uuid) -> WorkView {
        loop {
            match works.find(id).filter(|work| work.end.is_some()) {
                Some(work) => return work,
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn work_begins_once_alone_and_says_how_it_ended() {
        let works = Works::default();
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (go, gone) = oneshot::channel::<()>();
        let begin = |id, work: oneshot::Receiver<()>| {
            works.begin(id, "a replay".to_owned(), "budi".to_owned(), |progress| async move {
                progress.expect(2);
                progress.line("a".to_owned(), "replayed", String::new());
                work.await?;
                Ok(())
            })
        };
        assert_eq!(begin(first, gone), WorkStart::Begun);
        assert_eq!(begin(first, oneshot::channel().1), WorkStart::Repeated);
        let WorkStart::Refused(why) = begin(second, oneshot::channel().1) else { panic!("two at once") };
        assert!(why.contains("a replay, by budi"), "{why}");
        go.send(()).unwrap();
        let work = wait_for_end(&works, first).await;
        assert_eq!((work.done, work.total, work.end), (1, 2, Some(WorkEnd::Finished)));
        assert_eq!(begin(second, oneshot::channel().1), WorkStart::Begun);
        assert!(matches!(wait_for_end(&works, second).await.end, Some(WorkEnd::Stopped(_))));
        assert!(works.find(Uuid::nil()).is_none());
    }
}
