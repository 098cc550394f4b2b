//! What the program is made of: the list of parts is complete, and no part asks for a newer Rust than we say.

use crate::file;
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

/// Of the list of parts; what the image is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn said_by(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).current_dir(file("..")).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Cargo lists them another way than the script: a line for each, `name v1.2.3`, and a mark where it comes again.
#[test]
fn the_list_of_parts_names_what_is_linked_with_its_checksum_and_nothing_else() {
    let told: Value = serde_json::from_str(&said_by("deploy/sbom", &[])).unwrap();
    let parts = told["components"].as_array().unwrap();
    let listed: BTreeSet<String> = parts
        .iter()
        .inspect(|part| assert_eq!(part["hashes"][0]["content"].as_str().unwrap().len(), 64, "{part}"))
        .map(|part| format!("{} v{}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap()))
        .collect();
    let edges = [
        "tree",
        "--locked",
        "--no-default-features",
        "--features",
        "otel",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--target",
        TARGET,
    ];
    let tree = said_by(env!("CARGO"), &edges);
    let linked: BTreeSet<String> = tree
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .filter(|line| !line.starts_with("jenius-pay "))
        .collect();
    assert!(linked.len() > 100, "{linked:?}");
    assert_eq!(listed, linked);
}

/// That our own code keeps to it is clippy's `incompatible_msrv`.
#[test]
fn no_dependency_asks_for_a_newer_rust_than_we_say() {
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let ours = minor(env!("CARGO_PKG_RUST_VERSION"));
    let arguments =
        ["metadata", "--locked", "--all-features", "--format-version", "1", "--filter-platform", TARGET];
    let told: Value = serde_json::from_str(&said_by(env!("CARGO"), &arguments)).unwrap();
    let packages = told["packages"].as_array().unwrap();
    let says: Vec<&Value> = packages.iter().filter(|package| package["rust_version"].is_string()).collect();
    assert!(says.len() > 100, "only {}", says.len());
    for package in says {
        let wanted = package["rust_version"].as_str().unwrap();
        assert!(minor(wanted) <= ours, "{} wants Rust {wanted}", package["name"]);
    }
}

/// Or the comparison with an image's program would say that they differ.
#[test]
fn the_build_that_is_compared_is_the_image_s() {
    let built_by = |path: &str| {
        let text = std::fs::read_to_string(file(path)).unwrap();
        let start = text.find("cargo build").unwrap();
        text[start..].split(['\n', ')']).next().unwrap().trim().to_owned()
    };
    assert_eq!(built_by("local/build/reproducible"), built_by("Dockerfile"));
}

/// A tag may be moved all the same: which digest is yours, only your registry knows.
#[test]
fn every_image_has_a_version_and_none_is_the_latest() {
    let mut files = vec![file("Dockerfile"), file("compose.yaml"), file("local/compose.yaml")];
    for folder in ["kubernetes/base", "kubernetes/prune"] {
        files.extend(std::fs::read_dir(file(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut seen = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text.lines().filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("image: ").or_else(|| line.strip_prefix("FROM "))?.split(' ').next()
        });
        for image in named.filter(|image| *image != "scratch") {
            let (_, tag) = image.rsplit_once(':').unwrap_or_default();
            let is_version = tag.contains(|c: char| c.is_ascii_digit()) || tag.starts_with("${");
            assert!(is_version && !text.contains("=latest"), "{}: {image}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} images found");
}
