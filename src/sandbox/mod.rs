//! DOKU's side, as a real server: for trying, and as the oracle of the tests.

pub mod signature;
