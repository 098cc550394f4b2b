//! Whether the store can be worked with.

/// From `Away` it comes back by way of `Recovering`: one delivery at a time, until a claim has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It cannot be reached, or is not migrated: nothing is taken from the broker. What is in hand waits.
    Away,
    Recovering,
    Up,
}
