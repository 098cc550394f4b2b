//! The spans of a command's and a notification's trace, named and described by OpenTelemetry's conventions for
//! messaging and HTTP. They say which order and what became of it, never a body, a key or a customer.
//!
//! Without the feature `otel` a span does nothing; nothing ever depends on one.

#[cfg(feature = "otel")]
pub use super::recorded::Span;
#[cfg(not(feature = "otel"))]
pub use nothing::Span;

#[cfg(not(feature = "otel"))]
mod nothing {
    use std::{fmt::Display, future::Future};

    /// No span: every call is gone when it is compiled.
    #[derive(Debug)]
    pub struct Span;

    impl Span {
        #[inline]
        pub fn process(_queue: &str, _traceparent: Option<&str>) -> Self {
            Self
        }

        #[inline]
        pub fn follow_up(_kind: &'static str, _traceparent: Option<&str>) -> Self {
            Self
        }

        #[inline]
        pub fn serve(_method: &str, _route: &str) -> Self {
            Self
        }

        #[inline]
        pub fn step(_name: &'static str) -> Self {
            Self
        }

        #[inline]
        pub fn request(_method: &str, _host: Option<&str>, _port: Option<u16>) -> Self {
            Self
        }

        #[inline]
        pub fn publish(_exchange: &str, _key: &str, _id: impl Display, _traceparent: Option<&str>) -> Self {
            Self
        }

        #[inline]
        pub fn say(&self, _key: &'static str, _value: &str) {}

        #[inline]
        pub fn status(&self, _http_status: u16) {}

        #[inline]
        pub fn failed(&self, _error_type: &'static str) {}

        #[inline]
        pub fn traceparent(&self) -> Option<String> {
            None
        }

        #[inline]
        pub fn around<F: Future>(&self, work: F) -> F {
            work
        }
    }
}
