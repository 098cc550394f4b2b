//! Who acts, and why: for whoever asks later.

/// As long as is kept.
const REASON_CHARS_MAX: usize = 500;

/// The operator's name, where the machine says it.
pub fn who() -> Option<String> {
    std::env::var("USER").ok().filter(|name| !name.is_empty())
}

/// Reads a `--reason`.
pub fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=REASON_CHARS_MAX).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("allowed: 1–{REASON_CHARS_MAX} characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_is_no_novel() {
        assert_eq!(reason(" seen in the back office ").unwrap(), "seen in the back office");
        for bad in ["", "  ", &"x".repeat(REASON_CHARS_MAX + 1)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
