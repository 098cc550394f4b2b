//! The story of a command: each file reads top to bottom.
