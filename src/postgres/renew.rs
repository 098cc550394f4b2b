//! Database connections made anew. A claim that the database does not know any more may mean that some of this process's
//! connections lead to a server that is not the one any more: what is asked from then on is asked on new ones.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Connections that were made before this are not used again.
static RENEWED_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// From now on every connection of this process is made anew before it is used.
pub(super) fn renew() {
    *RENEWED_AT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether a connection of this age was made before they were to be made anew.
pub(super) fn is_older(age: Duration) -> bool {
    let renewed_at = *RENEWED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    renewed_at.is_some_and(|at| age >= at.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_before_is_older_and_what_is_made_afterwards_is_not() {
        let made = Instant::now();
        renew();
        assert!(is_older(made.elapsed()));
        assert!(!is_older(Duration::ZERO));
    }
}
