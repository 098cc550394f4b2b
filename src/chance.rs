//! Chance, in one place. Where a test must decide it, the number is a parameter; pauses that decide nothing draw it themselves.

/// A number in [0, 1).
pub fn draw() -> f64 {
    fastrand::f64()
}
