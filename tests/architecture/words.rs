//! The words of the sources: what a comment may cite, and which words explain nothing.

use crate::project;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A comment that cites what a reader cannot open explains nothing: it says the rule itself.
#[test]
fn no_text_cites_a_document_that_is_not_here() {
    let mut texts = Vec::new();
    for folder in ["src", "tests", "migrations", "deploy", ".github"] {
        read_texts(&project().join(folder), &mut texts);
    }
    texts.push((PathBuf::from("README.md"), fs::read_to_string(project().join("README.md")).unwrap()));
    assert!(texts.len() > 300, "only {} texts found", texts.len());
    let cited: Vec<String> = texts
        .iter()
        .filter(|(path, _)| !path.ends_with("architecture/words.rs"))
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(n, line)| (path, n + 1, line)))
        .filter(|(_, _, line)| cites(line))
        .map(|(path, n, line)| format!("{}:{n}: {}", path.display(), line.trim()))
        .collect();
    assert!(cited.is_empty(), "\n{}", cited.join("\n"));
}

/// A planning document by its name, or one of its numbered rules (an M, E, F or R and a number in a comment).
fn cites(line: &str) -> bool {
    let names = ["DESIGN", "INVARIANTS", "REDESIGN", "CONTRACT.md", "CONTRACT section"];
    // The text that was agreed on before the code: what it ordered stands in README and in the AsyncAPI document.
    let agreed = [
        "ontract, section",
        "the contract's",
        "contract says",
        "the contract calls",
        "in the contract",
        "of the contract's",
    ];
    let is_comment = ["//", "--", "# "].iter().any(|mark| line.trim_start().starts_with(mark));
    let is_rule = |word: &str| {
        let mut letters = word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).chars();
        letters.next().is_some_and(|first| "MEFR".contains(first))
            && (1..=2).contains(&letters.as_str().len())
            && letters.all(|c| c.is_ascii_digit())
    };
    names.iter().chain(&agreed).any(|name| line.contains(name))
        || is_comment && line.split_whitespace().any(is_rule)
}

fn read_texts(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_texts(&path, texts);
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.push((path, text));
        }
    }
}

#[test]
fn planted_citations_are_found() {
    for line in
        ["/// The table of the contract, section 3.", "// E1: acked after it", "-- DESIGN says", "// (M6)"]
    {
        assert!(cites(line), "{line}");
    }
    for line in ["// R is a letter", "let m1 = E2;", "// RFC 3339", "// E10x"] {
        assert!(!cites(line), "{line}");
    }
}
