//! A panic costs the one delivery, order, batch or request that it struck. It is caught where that one's task
//! begins, counted and logged; who caught it gives the work back.
//!
//! Never: the text of a panic in the log, unless it is a literal of the source: it may quote a customer's data.

use crate::metric::{self, PanicIn};
use futures_util::FutureExt;
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    future::Future,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
};

/// Does the work of one task; `None`: it panicked. What the work shares with others is locks, which stand
/// a panic, and channels, which close.
pub async fn caught<T>(place: PanicIn, work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await.ok();
    if done.is_none() {
        metric::panic_caught(place);
    }
    done
}

/// Logs every panic instead of writing it to standard error: that could block, and quotes whatever the panic quotes.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let trace = Backtrace::capture();
        let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(place, text = literal(info), backtrace, "a task panicked");
    }));
}

/// `panic!("a literal")`; a formatted text is left out.
fn literal(info: &PanicHookInfo<'_>) -> &'static str {
    info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown: it may quote data)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_work_only() {
        let panics = async { panic!("of the test") };
        assert_eq!(caught::<()>(PanicIn::Order, panics).await, None);
        assert_eq!(caught(PanicIn::Order, async { 5 }).await, Some(5));
    }
}
