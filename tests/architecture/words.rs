//! The words of the sources: what a comment may cite, and which words explain nothing.

use crate::{project, read_all};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    let pages = pages(&texts);
    let cited: Vec<String> = texts
        .iter()
        .filter(|(path, _)| !path.ends_with("architecture/words.rs"))
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(n, line)| (path, n + 1, line)))
        .filter(|(_, _, line)| cites(line, &pages))
        .map(|(path, n, line)| format!("{}:{n}: {}", path.display(), line.trim()))
        .collect();
    assert!(cited.is_empty(), "\n{}", cited.join("\n"));
}

/// A numbered section, decision or rule (an M, E, F or R and a number in a comment), or a page that is not here. What an
/// RFC says in a section can be opened.
fn cites(line: &str, pages: &BTreeSet<String>) -> bool {
    // The text that was agreed on before the code: what it ordered stands in README and in the AsyncAPI document.
    let agreed = ["the contract's", "contract says", "the contract calls", "in the contract"];
    let words: Vec<&str> = line
        .split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)))
        .filter(|w| !w.is_empty())
        .collect();
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let spaced: Vec<&str> = line.split_whitespace().collect();
    let is_numbered = spaced.windows(2).any(|pair| {
        ["section", "sections", "decision", "decisions"].contains(&pair[0]) && is_number(pair[1])
    });
    let is_page = |word: &str| {
        word.strip_suffix(".md")
            .is_some_and(|name| name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase()))
    };
    let is_rule = |word: &str| {
        let mut letters = word.trim_end_matches('.').chars();
        letters.next().is_some_and(|first| "MEFR".contains(first))
            && (1..=2).contains(&letters.as_str().len())
            && letters.all(|c| c.is_ascii_digit())
    };
    let is_comment = ["//", "--", "# "].iter().any(|mark| line.trim_start().starts_with(mark));
    agreed.iter().any(|phrase| line.contains(phrase))
        || is_numbered && !line.contains("RFC")
        || words.iter().any(|word| is_page(word) && !pages.contains(*word))
        || is_comment && words.iter().any(|word| is_rule(word))
}

fn pages(texts: &[(PathBuf, String)]) -> BTreeSet<String> {
    texts.iter().filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect()
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
    let pages = BTreeSet::from(["RUNBOOK.md".to_owned()]);
    for line in
        ["/// See section 3.", "// E1: acked after it", "-- decision 17 says", "// (M6)", "see PLAN.md"]
    {
        assert!(cites(line, &pages), "{line}");
    }
    for line in [
        "// R is a letter",
        "let m1 = E2;",
        "// RFC 9110, section 10.2.3",
        "// E10x",
        "see [it](RUNBOOK.md#rights)",
    ] {
        assert!(!cites(line, &pages), "{line}");
    }
}

/// Words that hide the subject that acts, or mean too much. Tests may be called by them.
const BANNED: [&str; 8] = ["said", "told", "brought", "whoever", "nobody", "somebody", "everybody", "whose"];
/// These hide nothing where a relative clause needs one of them.
const BANNED_IN_NAMES_ALONE: [&str; 1] = ["whose"];

/// Comments, texts and names say who does what.
#[test]
fn no_source_uses_a_banned_word() {
    let mut sources = Vec::new();
    read_all(&project().join("src"), &project().join("src"), &mut sources);
    let mut found = Vec::new();
    for source in &sources {
        let code = source.code();
        for (n, line) in code.lines().enumerate() {
            let words = banned(line);
            if !words.is_empty() {
                found.push(format!("{}:{}: {words:?}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// What operators and upstream services read. A relative clause there may have "whose".
#[test]
fn no_page_for_operators_uses_a_banned_word() {
    let pages = ["README.md", "deploy/RUNBOOK.md", "deploy/REFERENCE.md", "deploy/CHANGELOG.md"];
    for page in pages.into_iter().chain(["deploy/clients/README.md", "deploy/prometheus/rules.yaml"]) {
        let text = fs::read_to_string(project().join(page)).unwrap();
        for line in text.lines() {
            let found: Vec<&str> = banned(line).into_iter().filter(|word| *word != "whose").collect();
            assert!(found.is_empty(), "{page}: {found:?}: {line}");
        }
    }
}

/// The banned words of one line: in names as a part between underscores, elsewhere as words.
fn banned(line: &str) -> Vec<&str> {
    let is_comment = line.trim_start().starts_with("//");
    let mut found = Vec::new();
    for name in line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|name| !name.is_empty()) {
        let parts = || name.split('_').map(str::to_ascii_lowercase);
        for word in BANNED {
            let is_allowed = is_comment && BANNED_IN_NAMES_ALONE.contains(&word);
            found.extend(parts().filter(|part| part == word && !is_allowed).map(|_| name));
        }
    }
    found
}

#[test]
fn planted_banned_words_are_found() {
    for line in [
        "// Whoever relays.",
        "let told_before = 1;",
        "fn said(&self) {}",
        "\"nobody reads\"",
        "let whose = 1;",
    ] {
        assert_eq!(banned(line).len(), 1, "{line}");
    }
    for line in ["// An attempt whose lease ended.", "// a saidless text"] {
        assert_eq!(banned(line), Vec::<&str>::new(), "{line}");
    }
}

/// Type names that two layers have, and why.
const IN_TWO_LAYERS: [(&str, &str); 0] = [];

/// A name means one thing: else a reader must know the layer to know the type.
#[test]
fn no_type_name_is_found_in_two_layers() {
    let mut sources = Vec::new();
    read_all(&project().join("src"), &project().join("src"), &mut sources);
    let mut layers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        for name in source.code().lines().filter_map(type_name) {
            layers.entry(name.to_owned()).or_default().insert(source.layer().to_owned());
        }
    }
    assert!(layers.len() > 300, "only {} types found", layers.len());
    let twice: Vec<_> = layers
        .iter()
        .filter(|(name, layers)| layers.len() > 1 && !IN_TWO_LAYERS.iter().any(|(known, _)| known == name))
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
    for (name, why) in IN_TWO_LAYERS {
        assert!(
            layers.get(name).is_some_and(|layers| layers.len() > 1),
            "{name} ({why}) is in one layer now"
        );
    }
}

/// The type that a line defines; an associated type is the trait's word, and stands within it.
pub(super) fn type_name(line: &str) -> Option<&str> {
    let is_outermost = !line.starts_with(' ');
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let named = ["struct ", "enum ", "trait "].iter().find_map(|kind| line.strip_prefix(kind));
    let rest = named.or_else(|| line.strip_prefix("type ").filter(|_| is_outermost))?;
    Some(&rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())])
}

#[test]
fn planted_types_are_found() {
    for (line, name) in [
        ("pub(super) struct Claim<'a> {", Some("Claim")),
        ("    enum Step {", Some("Step")),
        ("pub trait Store: Send {", Some("Store")),
        ("    type Answer = bool;", None),
        ("pub type Answer = bool;", Some("Answer")),
        ("let structure = 1;", None),
    ] {
        assert_eq!(type_name(line), name, "{line}");
    }
}
