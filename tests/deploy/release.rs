//! The release script and the example of a configuration: what they make, as far as it can be made without a registry.

use crate::{file, read};
use jenius_pay::config;
use std::{fs, process::Command};

fn dry_run(arguments: &[&str], key: Option<&str>) -> String {
    let mut script = Command::new(file("release"));
    script.arg("--dry-run").args(arguments).env_remove("COSIGN_KEY").envs(key.map(|key| ("COSIGN_KEY", key)));
    let ran = script.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn has_docker() -> bool {
    let has = Command::new("docker").arg("--version").output().is_ok();
    if !has {
        eprintln!("not run: docker is not on this machine");
    }
    has
}

#[test]
fn a_release_is_built_for_both_processors_with_its_parts_and_checksums() {
    if !has_docker() {
        return;
    }
    let steps = dry_run(&[], None);
    let builds: Vec<&str> = steps.lines().filter(|line| line.starts_with("docker buildx build ")).collect();
    assert_eq!(builds.len(), 2, "the programs and the image: {steps}");
    for build in builds {
        assert!(build.contains("--platform linux/amd64,linux/arm64 --build-arg REVISION="), "{build}");
    }
    let version = env!("CARGO_PKG_VERSION");
    for made in ["linux-amd64.tar.gz", "linux-arm64.tar.gz", "oci.tar", "cdx.json"] {
        let separator = if made.starts_with("linux") { "-" } else { "." };
        assert!(
            steps.contains(&format!("target/packages/jenius-pay-{version}{separator}{made}")),
            "{made}: {steps}"
        );
    }
    assert!(steps.contains("sha256sum") && !steps.contains("cosign"), "{steps}");
    assert!(read("Dockerfile").contains("\nFROM scratch AS program\n"), "what the programs are taken from");
}

#[test]
fn a_pushed_release_is_signed_by_its_digest() {
    if !has_docker() {
        return;
    }
    let steps = dry_run(&["--push", "registry.example.com/pay"], Some("key"));
    for step in [
        "--push --provenance=mode=max --sbom=true",
        "cosign sign --yes --key key registry.example.com/pay@",
        "cosign attest --yes --key key --type cyclonedx",
        "cosign sign-blob --yes --key key",
    ] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
}

/// To write it anew: `JENIUS_WRITE_README=1 cargo test --test deploy`.
#[test]
fn the_example_of_a_configuration_is_made_from_the_table_of_keys() {
    let path = file("config.example.toml");
    if std::env::var_os("JENIUS_WRITE_README").is_some() {
        fs::write(&path, config::example()).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == config::example(),
        "JENIUS_WRITE_README=1 cargo test --test deploy"
    );
}
