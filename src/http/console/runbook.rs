//! What the runbook says of a cause: the same text that the person on call has, cut out of it.

use maud::{Markup, html};

const RUNBOOK: &str = include_str!("../../../deploy/RUNBOOK.md");

/// Its sections whose entries pages show.
pub const REVIEW: &str = "## Orders in review";
pub const SETTLEMENT: &str = "## Settlement";
/// Where a person finds the page who does not see it yet.
const PLACE: &str = "**In the console**";

/// The paragraphs of a cause; empty if the section has no such heading.
pub fn entry(section: &str, cause: &str) -> Vec<String> {
    let heading = format!("### {cause}");
    let of_section = RUNBOOK
        .lines()
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let lines =
        of_section.skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " ").trim().to_owned())
        .filter(|p| !p.is_empty() && !p.starts_with(PLACE))
        .collect()
}

/// A paragraph with what stands between `**` strong, and between backticks as code.
pub fn paragraph(text: &str) -> Markup {
    html! {
        p {
            @for (strong_at, part) in text.split("**").enumerate() {
                @if strong_at % 2 == 1 { strong { (part) } }
                @else {
                    @for (code_at, part) in part.split('`').enumerate() {
                        @if code_at % 2 == 1 { code { (part) } } @else { (part) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{order::ReviewCause, settlement::breaks::Cause};

    #[test]
    fn every_cause_has_its_entry_of_its_own_section() {
        let of_reviews = ReviewCause::ALL.map(|cause| (REVIEW, cause.name()));
        let of_breaks = Cause::ALL.map(|cause| (SETTLEMENT, cause.name()));
        for (section, cause) in of_reviews.into_iter().chain(of_breaks) {
            let entry = entry(section, cause);
            assert_eq!(entry.len(), 3, "{section}, {cause}: {entry:?}");
            assert!(entry[0].starts_with("**It means**"), "{entry:?}");
        }
        // Both sections have such a cause.
        assert_ne!(entry(REVIEW, "amount_mismatch"), entry(SETTLEMENT, "amount_mismatch"));
        assert!(entry(REVIEW, "no such heading").is_empty());
    }

    #[test]
    fn marks_become_elements_and_the_rest_stays_text() {
        let shown = paragraph("**Do** run `a <b>`, then stop").into_string();
        assert_eq!(shown, "<p><strong>Do</strong> run <code>a &lt;b&gt;</code>, then stop</p>");
    }
}
