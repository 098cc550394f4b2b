//! Chance, in one place. What waits a random while takes the number as a parameter, so that a test can decide it.

/// A number in [0, 1).
pub fn draw() -> f64 {
    fastrand::f64()
}
