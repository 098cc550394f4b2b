//! The story of a command: each file reads top to bottom, its steps numbered.

pub mod disposition;
pub mod ports;
