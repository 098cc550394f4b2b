//! The only HTTP client: asks DOKU, verifies and classifies what it answers.
