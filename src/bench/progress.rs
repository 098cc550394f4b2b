//! What a person at a terminal sees while it runs: one line on standard error, and nothing where that is no
//! terminal.

use indicatif::{ProgressBar, ProgressStyle};

pub struct ProgressLine(ProgressBar);

impl ProgressLine {
    pub fn new(what: &str, count: u64) -> Self {
        let bar = ProgressBar::new(count);
        let template = "{msg:40} {wide_bar} {pos}/{len} {per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self(bar)
    }

    pub fn add(&self, count: usize) {
        self.0.inc(u64::try_from(count).unwrap_or_default());
    }

    pub fn at(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
