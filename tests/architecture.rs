//! The layers, held by reading the sources: who may import whom, which crate lives in which folder, how
//! long a file and a function may be. The rules themselves are tested on planted faults at the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/words.rs"]
mod words;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// A folder (or file) of `src`, and what of this crate it may import besides itself.
const LAYERS: [(&str, &[&str]); 21] = [
    ("domain", &[]),
    // The windows that a crash may strike are named where they are: between the steps of the stories.
    ("flow", &["domain", "metric", "shutdown", "failpoint", "telemetry", "panics", "chance"]),
    ("chance", &[]),
    ("failpoint", &[]),
    ("metric", &["domain"]),
    ("panics", &["metric"]),
    ("config", &["domain"]),
    ("shutdown", &[]),
    ("shown", &[]),
    ("telemetry", &["metric", "shown"]),
    ("startup", &[]),
    ("json_schema", &["domain"]),
    ("doku", EDGE),
    ("postgres", EDGE),
    ("rabbit", EDGE),
    ("http", EDGE),
    ("identity", EDGE),
    // Bytes of a settlement file become cells; nothing of the service is known there.
    ("sheet", &["domain"]),
    ("app", ANYTHING),
    ("cli", ANYTHING),
    ("main", ANYTHING),
];
const EDGE: &[&str] = &[
    "domain",
    "flow",
    "metric",
    "config",
    "shown",
    "shutdown",
    "failpoint",
    "json_schema",
    "telemetry",
    "startup",
    "panics",
    "chance",
];
const ANYTHING: &[&str] = &[
    "chance",
    "domain",
    "flow",
    "metric",
    "config",
    "shown",
    "shutdown",
    "failpoint",
    "panics",
    "telemetry",
    "startup",
    "doku",
    "postgres",
    "rabbit",
    "http",
    "identity",
    "json_schema",
    "sheet",
    "app",
    "cli",
];

/// Folders that are crates of their own: the compiler holds that they know nothing of the service.
const CRATES: [&str; 2] = ["bench", "sandbox"];

/// Of the flow, an edge may see its ports and dispositions, and what is shown of an order.
const EDGE_SEES_OF_FLOW: [&str; 3] = ["ports", "disposition", "view"];

/// A crate, and the only places that may use it.
const HOMES: [(&str, &[&str]); 25] = [
    ("fastrand", &["chance.rs", "sandbox"]),
    // The tools know the service from outside, and the service does not know them.
    ("doku_sandbox", &["bench", "cli/sandbox.rs", "cli/bench.rs"]),
    ("jenius_bench", &["cli/bench.rs"]),
    // `bench` talks to everything as an outsider does: it must not measure the service with its own edges.
    // The exporter of traces speaks HTTP with the client that is here already.
    (
        "reqwest",
        &["doku", "sandbox", "bench", "telemetry/export.rs", "rabbit/operators/management.rs", "identity.rs"],
    ),
    ("jsonwebtoken", &["identity"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_http", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("sqlx", &["postgres", "bench"]),
    ("lapin", &["rabbit", "bench"]),
    ("axum", &["http", "sandbox"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("maud", &["http/console"]),
    ("multer", &["http/console"]),
    ("calamine", &["sheet"]),
    ("zip", &["sheet"]),
    ("encoding_rs", &["sheet"]),
    ("serde_saphyr", &["cli/asyncapi"]),
    ("rlimit", &["startup.rs"]),
    // The provider is installed in one place; certificates of the configuration are read in another.
    ("rustls", &["startup.rs", "config/parse.rs", "sandbox"]),
    ("backoff", &["domain/retry.rs"]),
    ("ring", &["doku/snap/public_key.rs", "sandbox/snap.rs", "identity/verify.rs"]),
    (
        "hmac",
        &[
            "doku/signature.rs",
            "doku/snap",
            "http/console/begun_logins.rs",
            "sandbox/signature.rs",
            "sandbox/snap.rs",
        ],
    ),
];

/// What a pure decision has no use for.
const NOT_IN_DOMAIN: [&str; 6] = ["tokio", "serde", "serde_json", "tracing", "metrics", "fastrand"];

struct Source {
    /// From `src`, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn layer(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The file without its tests: a test may use what its subject may not.
    fn code(&self) -> String {
        let is_test = self.path.ends_with("tests.rs") || self.path.contains("/tests/");
        if is_test {
            String::new()
        } else {
            self.text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
        }
    }

    /// The paths that follow `root::` in the code, braces expanded: `a::b` for `use root::{a::b, c}`.
    fn mentions(&self, root: &str) -> BTreeSet<String> {
        let code: String =
            self.code().lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ");
        let needle = format!("{root}::");
        let mut found = BTreeSet::new();
        for (at, _) in code.match_indices(&needle) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand(&code[at + needle.len()..], "", &mut found);
        }
        found
    }
}

/// Reads one path, or one braced list of paths, and adds what it names.
fn expand(text: &str, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let text_start = text.trim_start();
    let skipped = text.len() - text_start.len();
    let Some(list) = text_start.strip_prefix('{') else {
        let end = text_start
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(text_start.len());
        let path = &text_start[..end];
        if text_start[end..].starts_with('{') && path.ends_with("::") {
            return skipped + end + expand(&text_start[end..], &format!("{prefix}{path}"), found);
        }
        if !path.is_empty() {
            found.insert(format!("{prefix}{path}"));
        }
        return skipped + end;
    };
    let mut at = 0;
    loop {
        at += expand(&list[at..], prefix, found);
        let rest = list[at..].trim_start();
        at = list.len() - rest.len();
        match rest.chars().next() {
            Some(',') => at += 1,
            Some('}') | None => return skipped + 1 + at + 1,
            Some(other) => at += other.len_utf8(),
        }
    }
}

fn faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let path = &source.path;
    let layer = source.layer();
    if layer != "lib" && !CRATES.contains(&layer) {
        let allowed = LAYERS.iter().find(|(name, _)| *name == layer);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("{path}: `{layer}` is no known layer: add it to LAYERS"));
        for import in source.mentions("crate") {
            let other = import.split("::").next().unwrap();
            if other != layer && !allowed.contains(&other) {
                faults.push(format!("{path}: `{layer}` may not import `{other}`"));
            }
            let part = import.split("::").nth(1).unwrap_or("");
            let edge = *allowed == EDGE;
            if edge && other == "flow" && !EDGE_SEES_OF_FLOW.contains(&part) {
                faults.push(format!("{path}: an edge may not import `flow::{part}`"));
            }
        }
    }
    for (name, homes) in HOMES {
        let used = !source.mentions(name).is_empty();
        if used
            && !homes
                .iter()
                .any(|home| path == home || path.starts_with(&format!("{home}/")) || layer == *home)
        {
            faults.push(format!("{path}: the crate `{name}` lives in {homes:?}"));
        }
    }
    if layer == "domain" {
        for name in NOT_IN_DOMAIN.iter().filter(|name| !source.mentions(name).is_empty()) {
            faults.push(format!("{path}: a pure decision has no use for `{name}`"));
        }
    }
    // The crate's own documentation is README.
    if !source.text.starts_with("//!") && !source.text.starts_with("#![doc = include_str!") {
        faults.push(format!("{path}: does not say at its top what it is for"));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    faults.extend(long_functions(source));
    faults
}

/// Formatted code: a function ends with the first `}` at the indentation of its `fn`.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| {
        let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "]
            .iter()
            .any(|s| words.starts_with(s))
    });
    starts
        .filter_map(|(start, line)| {
            let indent = line.len() - line.trim_start().len();
            let end = (start..lines.len()).find(|at| {
                lines[*at].ends_with('}') && lines[*at].len() - lines[*at].trim_start().len() == indent
                    || lines[*at].ends_with(';') && lines[*at].len() - lines[*at].trim_start().len() == indent
            })?;
            let length = end - start + 1;
            (length > FUNCTION_LINES_MAX).then(|| {
                format!(
                    "{}: a function of {length} lines, at most {FUNCTION_LINES_MAX}: {}",
                    source.path,
                    line.trim()
                )
            })
        })
        .collect()
}

fn read_all(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_all(&path, root, sources);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_source_keeps_to_its_layer_and_its_size() {
    let mut sources = Vec::new();
    read_all(&project().join("src"), &project().join("src"), &mut sources);
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    let faults: Vec<String> = sources.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn tests_keep_to_their_size_and_share_no_code_with_doku() {
    let mut sources = Vec::new();
    read_all(&project().join("tests"), &project().join("tests"), &mut sources);
    for source in &sources {
        let lines = source.text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", source.path);
        let borrowed = source.mentions("jenius_pay").into_iter().find(|m| m.starts_with("doku"));
        assert!(borrowed.is_none() || source.path == "architecture.rs", "{}: {borrowed:?}", source.path);
    }
}

/// A window that two places share would be struck in one of them only; one without a place, nowhere.
#[test]
fn every_crash_point_lies_in_exactly_one_place() {
    let mut sources = Vec::new();
    read_all(&project().join("src"), &project().join("src"), &mut sources);
    for point in jenius_pay::failpoint::Failpoint::ALL {
        let reached = format!("failpoint(Failpoint::{point:?}).await;");
        let places: Vec<&str> = sources
            .iter()
            .flat_map(|source| source.text.matches(&reached).map(|_| source.path.as_str()))
            .collect();
        assert_eq!(places.len(), 1, "{point:?}: {places:?}");
    }
}

#[test]
fn the_top_level_holds_what_was_agreed_and_nothing_else() {
    let visible: BTreeSet<String> = fs::read_dir(project())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let agreed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "deploy",
        "migrations",
        "src",
        "tests",
    ];
    assert_eq!(visible, agreed.map(str::to_owned).into());
}

#[test]
fn planted_faults_are_found() {
    let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES_MAX));
    for (path, text, fault) in [
        ("domain/money.rs", "//! x\nuse crate::flow::ports;", "`domain` may not import `flow`"),
        ("domain/money.rs", "//! x\nuse serde::Serialize;", "no use for `serde`"),
        (
            "flow/attempt.rs",
            "//! x\nuse crate::{\n    domain::ids,\n    postgres::PostgresStore,\n};",
            "may not import `postgres`",
        ),
        ("rabbit/wire.rs", "//! x\nfn f() { crate::doku::client(); }", "may not import `doku`"),
        (
            "postgres/mod.rs",
            "//! x\nuse crate::flow::{gate::Gate, ports::Store};",
            "may not import `flow::gate`",
        ),
        ("flow/gate.rs", "//! x\nuse sqlx::PgPool;", "the crate `sqlx` lives in"),
        ("app/mod.rs", "//! x\nuse doku_sandbox::signature;", "the crate `doku_sandbox` lives in"),
        ("app/mod.rs", "// no header", "does not say at its top"),
        ("app/mod.rs", &long_function, "a function of"),
        ("cli/run.rs", &format!("//! x\n{}", "\n".repeat(FILE_LINES_MAX)), "401 lines"),
    ] {
        let found = faults(&Source { path: path.to_owned(), text: text.to_owned() });
        assert!(found.iter().any(|f| f.contains(fault)), "{path}: {fault}: {found:?}");
    }
    let clean =
        Source { path: "domain/a.rs".to_owned(), text: "//! crate::flow\nuse super::ids;\n".to_owned() };
    assert!(faults(&clean).is_empty(), "{:?}", faults(&clean));
}
