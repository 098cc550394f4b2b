//! The only SQL: claims, records, due times, the outbox.
