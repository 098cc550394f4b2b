//! Settlement files that a person brings in by the console.

use crate::{
    domain::{Time, ids::MerchantName},
    flow::view::settlement::BatchView,
};

/// A settlement file that a person brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub name: String,
    pub merchant: MerchantName,
    /// `None`: the merchant's usual one.
    pub profile: Option<String>,
}

/// A file as the person saw it who sends a form about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFile {
    pub sha256: String,
    /// It was read whole and waited for a person: the form has it matched.
    pub is_held: bool,
}

/// What came of bringing a file in, or of having it matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BroughtIn {
    /// It is read, or matched, by now or soon: its number.
    Begun(i64),
    /// The same bytes were matched before.
    Known(i64),
    /// Another file of this merchant is being imported.
    Busy,
    /// The form was sent before.
    Repeated,
    /// The file did not come to its end: nothing of it counts.
    NotWhole,
    /// The number is another file's than the one that was looked at.
    Another,
    /// It was read whole since it was looked at, and nothing was done: its sums are to be seen first.
    ReadMeanwhile,
    Refused(String),
    Unknown,
}

/// What a pay-out comes to.
#[derive(Debug, Clone)]
pub enum BatchSums {
    /// As of then, of each merchant who has one of this name.
    Counted(Time, Vec<BatchView>),
    /// It is so large that it takes a while.
    Counting,
}
