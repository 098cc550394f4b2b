//! The only HTTP server: for operators, and for notifications.
