//! What the runbook says of a cause: the same text that the person on call has, cut out of it.

use maud::{Markup, html};

const RUNBOOK: &str = include_str!("../../../deploy/RUNBOOK.md");

/// The paragraphs below a heading; empty if there is no such heading.
pub fn entry(heading: &str) -> Vec<String> {
    let heading = format!("### {heading}");
    let lines =
        RUNBOOK.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " ").trim().to_owned())
        .filter(|p| !p.is_empty())
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
    use crate::domain::order::ReviewCause;

    #[test]
    fn every_cause_has_its_entry() {
        for cause in ReviewCause::ALL {
            let entry = entry(cause.name());
            assert!(entry.first().is_some_and(|first| first.starts_with("**It means**")), "{entry:?}");
        }
        assert!(entry("no such heading").is_empty());
    }

    #[test]
    fn marks_become_elements_and_the_rest_stays_text() {
        let shown = paragraph("**Do** run `a <b>`, then stop").into_string();
        assert_eq!(shown, "<p><strong>Do</strong> run <code>a &lt;b&gt;</code>, then stop</p>");
    }
}
