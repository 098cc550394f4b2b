//! What operators ask of the database. No payment waits for any of it.

pub(super) mod actions;
pub(super) mod decisions;
pub mod forecast;
pub(super) mod health;
pub(super) mod import;
pub(super) mod listing;
pub(super) mod pauses;
pub(super) mod prune;
pub(super) mod replay;
pub(super) mod restored;
pub(super) mod views;
