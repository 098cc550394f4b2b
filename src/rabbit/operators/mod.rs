//! What operators look at in the broker, and what they do with its dead letters. No payment waits for any of it.

pub mod dead;
pub mod greeting;
pub mod inspect;
pub mod management;
pub mod probe;
pub mod watch;
