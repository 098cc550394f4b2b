//! Pure decisions: no async, no clock, no dice, no I/O, no serde.
