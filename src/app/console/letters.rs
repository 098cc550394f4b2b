//! Dead letters for the console: the last look, and the work on the letters that it saw.

use super::{Desk, now_here, work::WorkProgress};
use crate::{
    app::{
        forecast::{Forecaster, ReplayForecast},
        letters::{
            Audit, BODIES_BYTES_MAX, ReplayEnd, Twins, judge, plan,
            redact::{self, Shown},
            words::{sentence, twin},
        },
    },
    domain::{Time, action::ActionKind},
    flow::{
        ports::{
            Act, LetterForecast, LetterOperations, LetterPage, LetterWork, LettersView, StoreError,
            WorkStart, WorkView,
        },
        view::letters::LetterView,
    },
    rabbit::{
        Broker, Part, Publisher,
        dead::{DeadLetter, DeadLetterBrowser, DeadQueue, Destination, FetchedLetter, SearchMax},
    },
    shown::rfc3339,
};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Letters that one look takes out of their queues.
const LOOK_MAX: usize = 1000;
/// A look that is cut may put what it saw behind the rest: its letters are searched much further.
const SEARCH_MAX: SearchMax = SearchMax { letters: 20_000, bytes: BODIES_BYTES_MAX };
/// How a letter ends that lies further back, and what to do then.
const NOT_REACHED: (&str, &str) = (
    "not reached",
    "The search ended before it was found: look again, or use `jenius-pay dead` with a larger --limit.",
);
/// Bodies that are kept with them: a letter page and a forecast read them, and no look is spent on that.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// They hold customers: after this time they are forgotten.
const LOOK_LASTS: Duration = Duration::from_secs(900);
const LOOK_TIME_MAX: Duration = Duration::from_secs(12);
/// As the command line's default.
const REPLAYS_EACH_SECOND: u32 = 10;
/// A letter that came back so often is pointed out: RabbitMQ 4 drops it at 20, without a policy.
const RETURNS_NOTED: u64 = 10;

/// What a look saw.
pub struct KeptLook {
    taken: Instant,
    at: Time,
    by: String,
    letters: Vec<KeptLetter>,
    notes: Vec<String>,
}

struct KeptLetter {
    letter: DeadLetter,
    body: Bytes,
}

/// Why a letter stays where it is.
fn stays(end: ReplayEnd) -> Option<&'static str> {
    match end {
        ReplayEnd::Hopeless => Some("It would only die again."),
        ReplayEnd::DiedAgain => Some("It was replayed and died again: it stays unless you say so below."),
        ReplayEnd::Planned | ReplayEnd::Replayed | ReplayEnd::Failed | ReplayEnd::Repeated => None,
    }
}

fn forecast_of(fate: &ReplayForecast, replays: u64, again: bool, is_twin: bool) -> LetterForecast {
    LetterForecast { sentence: sentence(fate) + twin(is_twin), stays: stays(judge(fate, replays, again)) }
}

impl LetterOperations for Desk {
    async fn look_at_letters(&self, by: &str) -> Result<(), String> {
        let Ok(_alone) = self.letter_lock.try_lock() else {
            return Err("Another look or other work has the letters now. Try again in a moment.".to_owned());
        };
        // In a task of its own: a person who waits no longer leaves no letter outside of its queue.
        let looking = tokio::spawn(look(self.broker.for_operators(), by.to_owned()));
        match timeout(LOOK_TIME_MAX, looking).await {
            Ok(Ok(Ok(look))) => {
                *self.look.lock().await = Some(look);
                Ok(())
            }
            Ok(Ok(Err(error))) => Err(format!("The broker did not show its letters: {error:#}.")),
            Ok(Err(_)) | Err(_) => Err("The broker took too long. Try again in a moment.".to_owned()),
        }
    }

    async fn letters(&self) -> Option<LettersView> {
        let mut kept = self.look.lock().await;
        if kept.as_ref().is_some_and(|look| look.taken.elapsed() >= LOOK_LASTS) {
            *kept = None;
        }
        kept.as_ref().map(|look| LettersView {
            at: look.at,
            by: look.by.clone(),
            letters: look.letters.iter().map(|kept| kept.letter.view()).collect(),
            notes: look.notes.clone(),
        })
    }

    async fn letter(&self, id: &str) -> Result<Option<LetterPage>, StoreError> {
        let Some((letter, body)) = self.kept_letter(id).await else { return Ok(None) };
        let fate = self.fate(&letter, &body).await?;
        Ok(Some(LetterPage {
            deaths: letter.deaths.iter().map(death).collect(),
            belongs_to: letter.destination.map(Destination::name),
            headers: letter.headers.clone(),
            body: match redact::body(&body) {
                Shown::Json(value) => redact::cut(&format!("{value:#}")),
                Shown::Excerpt(text) => text,
            },
            forecast: forecast_of(&fate, letter.replays, false, false),
            letter: letter.view(),
        }))
    }

    async fn foresee_letters(
        &self,
        work: LetterWork,
        ids: &[String],
    ) -> Result<Vec<(LetterView, LetterForecast)>, StoreError> {
        let (mut twins, mut all) = (Twins::default(), Vec::new());
        for id in ids {
            let Some((letter, body)) = self.kept_letter(id).await else { continue };
            let forecast = match work {
                LetterWork::Drop => LetterForecast { sentence: letter.summary(), stays: None },
                LetterWork::Replay { again } => {
                    let fate = self.fate(&letter, &body).await?;
                    let is_twin =
                        judge(&fate, letter.replays, again) == ReplayEnd::Planned && twins.has(&fate);
                    forecast_of(&fate, letter.replays, again, is_twin)
                }
            };
            all.push((letter.view(), forecast));
        }
        Ok(all)
    }

    async fn work_on_letters(&self, work: LetterWork, ids: Vec<String>, act: Act) -> WorkStart {
        let (kind, verb) = match work {
            LetterWork::Replay { .. } => (ActionKind::ReplayDeadLetter, "replay"),
            LetterWork::Drop => (ActionKind::DropDeadLetter, "drop"),
        };
        let title =
            format!("{verb} {} dead {}", ids.len(), if ids.len() == 1 { "letter" } else { "letters" });
        let (id, by) = (act.mark.action_id, act.by.clone());
        let audit = Audit {
            pool: self.pool.clone(),
            kind,
            reason: Some(act.reason),
            done_by: Some(act.by),
            mark: Some(act.mark),
        };
        let forecaster = match Forecaster::new(&self.secrets.config(), self.pool.clone()) {
            Ok(forecaster) => forecaster,
            Err(error) => return WorkStart::Refused(format!("{error:#}")),
        };
        let (broker, lock, look) =
            (self.broker.for_operators(), self.letter_lock.clone(), Arc::clone(&self.look));
        self.works.begin(id, title, by, move |progress| async move {
            let _alone = lock.lock_owned().await;
            let mut browser = DeadLetterBrowser::start(&broker).await?;
            let done = Box::pin(carry_out(&mut browser, &broker, work, ids, &forecaster, &audit, &progress));
            let done = done.await;
            let ended = browser.end().await;
            forget(&look, &progress.subjects(|end| GONE.contains(&end))).await;
            done?;
            Ok(ended?)
        })
    }

    async fn work(&self, action_id: Uuid) -> Option<WorkView> {
        self.works.find(action_id)
    }
}

/// How a letter ends that is in its queue no more.
const GONE: [&str; 3] = ["replayed", "dropped", "gone"];

/// The page shows what lies there: not what left since the look.
async fn forget(look: &Mutex<Option<KeptLook>>, ids: &BTreeSet<String>) {
    if let Some(look) = look.lock().await.as_mut() {
        look.letters.retain(|kept| !ids.contains(&kept.letter.id));
    }
}

impl Desk {
    async fn kept_letter(&self, id: &str) -> Option<(DeadLetter, Bytes)> {
        let kept = self.look.lock().await;
        let look = kept.as_ref().filter(|look| look.taken.elapsed() < LOOK_LASTS)?;
        let found = look.letters.iter().find(|kept| kept.letter.id == id)?;
        Some((found.letter.clone(), found.body.clone()))
    }

    async fn fate(&self, letter: &DeadLetter, body: &[u8]) -> Result<ReplayForecast, StoreError> {
        self.reach()?;
        let forecaster = Forecaster::new(&self.secrets.config(), self.pool.clone())
            .map_err(|error| StoreError::Refused(error.to_string()))?;
        forecaster.forecast(letter.destination, letter.content_type.as_deref(), body).await
    }
}

fn death(death: &crate::rabbit::dead::DeathRecord) -> String {
    let mut text = format!("of {}", death.reason);
    let at = death.at.map(|at| format!(" at {}", rfc3339(at)));
    let place = death.queue.as_ref().map(|queue| format!(" in {queue}"));
    let times = (death.times > 1).then(|| format!(", {} times", death.times));
    let detail = death.detail.as_ref().map(|detail| format!(": {detail}"));
    [at, place, times, detail].into_iter().flatten().for_each(|part| text.push_str(&part));
    text
}

/// Takes every letter once, and gives all back.
async fn look(broker: Broker, by: String) -> anyhow::Result<KeptLook> {
    let mut browser = DeadLetterBrowser::start(&broker).await?;
    let taken = take_all(&mut browser).await;
    let ended = browser.end().await;
    let (letters, notes) = taken?;
    ended?;
    Ok(KeptLook { taken: Instant::now(), at: now_here(), by, letters, notes })
}

async fn take_all(browser: &mut DeadLetterBrowser) -> anyhow::Result<(Vec<KeptLetter>, Vec<String>)> {
    let (mut letters, mut notes, mut bytes, mut returns) = (Vec::new(), Vec::new(), 0, 0);
    for queue in DeadQueue::ALL {
        let mut left = 0;
        while letters.len() < LOOK_MAX && bytes < KEPT_BYTES_MAX {
            let Some(held) = browser.take(queue).await? else { break };
            bytes += held.body.len();
            returns = held.letter.returns.max(returns);
            left = held.left;
            letters.push(KeptLetter { letter: held.letter, body: held.body });
        }
        if left > 0 {
            let (seen, name) = (letters.len(), queue.name());
            notes.push(format!("These are the first {seen}; {left} or more are behind them in {name}."));
        }
    }
    if returns >= RETURNS_NOTED {
        notes.push(format!(
            "A letter was looked at {returns} times: RabbitMQ 4 drops one at 20, unless the policy of the RUNBOOK is set."
        ));
    }
    Ok((letters, notes))
}

async fn carry_out(
    browser: &mut DeadLetterBrowser,
    broker: &Broker,
    work: LetterWork,
    ids: Vec<String>,
    forecaster: &Forecaster,
    audit: &Audit,
    progress: &WorkProgress,
) -> anyhow::Result<()> {
    progress.expect(u64::try_from(ids.len()).unwrap_or(u64::MAX));
    let mut wanted: BTreeSet<String> = ids.into_iter().collect();
    let found = browser.find(&mut wanted, SEARCH_MAX).await?;
    for id in wanted {
        let (end, why) = if found.is_cut { NOT_REACHED } else { ("gone", "It is in no queue any more.") };
        progress.line(id, end, why.to_owned());
    }
    let held = found.letters;
    match work {
        LetterWork::Drop => drop_all(held, audit, progress).await,
        LetterWork::Replay { again } => {
            let parts = [Part::Commands, Part::Notifications];
            broker.declare(&parts).await?;
            let (publisher, task) = Publisher::new(broker, "replay", &parts);
            let stop = CancellationToken::new();
            let link = tokio::spawn(task.run(stop.clone()));
            let done = replay_all(held, again, forecaster, audit, &publisher, broker, progress).await;
            stop.cancel();
            link.await?;
            done
        }
    }
}

async fn drop_all(held: Vec<FetchedLetter>, audit: &Audit, progress: &WorkProgress) -> anyhow::Result<()> {
    for letter in held {
        let (id, summary) = (letter.letter.id.clone(), letter.letter.summary());
        let end = if audit.drop_letter(letter).await? { "dropped" } else { "repeated" };
        progress.line(id, end, summary);
    }
    Ok(())
}

async fn replay_all(
    held: Vec<FetchedLetter>,
    again: bool,
    forecaster: &Forecaster,
    audit: &Audit,
    publisher: &Publisher,
    broker: &Broker,
    progress: &WorkProgress,
) -> anyhow::Result<()> {
    let mut pace = interval(Duration::from_secs(1) / REPLAYS_EACH_SECOND);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for planned in plan(held, forecaster, again).await? {
        let (id, mut words) = (planned.held.letter.id.clone(), sentence(&planned.fate));
        let end = match planned.end {
            ReplayEnd::Planned => {
                pace.tick().await;
                let (end, answer) = audit.replay(planned, publisher, broker.names()).await?;
                if let Some(answer) = answer.filter(|_| end == ReplayEnd::Failed) {
                    words = format!("The broker did not take it ({answer:?}); it stays where it is.");
                }
                end
            }
            left => left,
        };
        progress.line(id, end.name(), words);
    }
    Ok(())
}
