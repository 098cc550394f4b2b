//! The stories of a command, a notification and an event, each in a file that reads top to bottom, its steps
//! numbered; beside them what the stories share.

pub mod attempt;
pub mod check_order;
pub mod disposition;
mod due;
#[cfg(test)]
mod fake;
pub mod follow_up;
pub mod gate;
mod operations;
pub mod ports;
pub mod process_command;
mod received;
pub mod reconcile_notification;
pub mod relay_outbox;
pub mod store_outage;
#[cfg(test)]
mod story_tests;
pub mod view;
