//! What operators ask of the database. No payment waits for any of it.

pub(super) mod actions;
mod customers;
pub(super) mod decisions;
mod entries;
pub mod forecast;
pub(super) mod health;
mod holds;
pub(super) mod import;
pub(super) mod latest_events;
pub(super) mod listing;
pub(super) mod pauses;
pub(super) mod proposals;
pub(super) mod prune;
pub(super) mod replay;
pub(super) mod restored;
mod settled_events;
pub(super) mod views;
pub(super) mod walk;
