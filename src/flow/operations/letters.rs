//! What the console asks about dead letters. A look takes letters out of their queue and gives them back, and the broker counts
//! it: so pages show the last look, and no page looks by itself.

use super::{Act, StoreError};
use crate::{domain::Time, flow::view::letters::LetterView};
use std::future::Future;
use uuid::Uuid;

/// What the last look saw. It is shown to all, with who looked and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LettersView {
    pub at: Time,
    pub by: String,
    pub letters: Vec<LetterView>,
    /// What a person should know about the look.
    pub notes: Vec<String>,
}

/// One letter, as the last look saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterPage {
    pub letter: LetterView,
    /// How it died each time, the latest first.
    pub deaths: Vec<String>,
    pub belongs_to: Option<&'static str>,
    pub headers: Vec<(String, Option<String>)>,
    /// Masked.
    pub body: String,
    pub forecast: LetterForecast,
}

/// What would become of a letter that is replayed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterForecast {
    pub sentence: String,
    /// Why it would stay where it is; `None`: it goes.
    pub stays: Option<&'static str>,
}

/// What is done to letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterWork {
    /// Letters that died again after a replay too?
    Replay {
        again: bool,
    },
    Drop,
}

/// Whether work begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkStart {
    Begun,
    /// The form was sent before: its work is shown.
    Repeated,
    /// Why it cannot begin now.
    Refused(String),
}

/// Work that goes on after its form was answered, as far as it came. This process alone knows it; the audit has each of
/// its changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkView {
    pub title: String,
    pub by: String,
    pub done: u64,
    pub total: u64,
    pub lines: Vec<WorkLine>,
    /// `None`: it goes on.
    pub end: Option<WorkEnd>,
}

/// One change of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkLine {
    pub subject: String,
    pub end: &'static str,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkEnd {
    Finished,
    /// What stopped it; the rest was not begun.
    Stopped(String),
}

pub trait LetterOperations {
    /// Looks into both queues, and keeps what was seen for a while. Else why it was not possible.
    fn look_at_letters(&self, by: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// What the last look saw; `None`: it is too long ago, or there was none.
    fn letters(&self) -> impl Future<Output = Option<LettersView>> + Send;

    /// `None`: the last look did not see it.
    fn letter(&self, id: &str) -> impl Future<Output = Result<Option<LetterPage>, StoreError>> + Send;

    /// What would become of these, of those that the last look saw.
    fn foresee_letters(
        &self,
        work: LetterWork,
        ids: &[String],
    ) -> impl Future<Output = Result<Vec<(LetterView, LetterForecast)>, StoreError>> + Send;

    /// Begins to work on these letters and no others.
    fn work_on_letters(
        &self,
        work: LetterWork,
        ids: Vec<String>,
        act: Act,
    ) -> impl Future<Output = WorkStart> + Send;

    /// The work that a form asked for.
    fn work(&self, action_id: Uuid) -> impl Future<Output = Option<WorkView>> + Send;
}
