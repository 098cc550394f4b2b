//! Pure decisions: no async, no clock, no dice, no I/O, no serde. Time, chance and the answers of the
//! outside come in as arguments; what to store and announce goes out as values.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod attempt;
#[cfg(test)]
mod attempt_tests;
pub mod breaker;
#[cfg(test)]
mod breaker_tests;
pub mod change;
pub mod command;
pub mod console;
#[cfg(test)]
mod count_tests;
pub mod document;
pub mod event;
pub mod finding;
#[cfg(test)]
mod hindsight_tests;
pub mod ids;
pub mod money;
pub mod notification;
pub mod order;
pub mod pause;
pub mod reconcile;
#[cfg(test)]
mod reconcile_tests;
pub mod record;
#[cfg(test)]
mod record_tests;
pub mod retry;
pub mod schedule;
#[cfg(test)]
mod schedule_tests;
pub mod senders;
pub mod settlement;
pub mod signed;
pub mod slots;
pub mod token_blocks;
pub mod token_share;
pub mod turns;
pub mod validate;

/// A point in time by the database's clock (one clock judges leases, due times and budgets).
pub type Time = chrono::DateTime<chrono::Utc>;

#[cfg(test)]
pub(crate) mod mutation_tests;
