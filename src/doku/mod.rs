//! DOKU's client: asks DOKU, verifies and classifies what it answers, verifies and reads what it
//! reports. It must never retry, follow a redirect, or put a secret or a customer's data into a log.

pub mod account;
mod answer;
mod body;
mod classify;
pub mod client;
pub mod clock;
mod drift;
mod mask;
pub mod notification;
pub mod signature;
pub mod snap;

#[cfg(test)]
mod hostile_tests;
