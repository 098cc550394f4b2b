//! The chart: what is in it alone. That it makes what kubernetes/ makes is compared by `deploy/local/check`.

use crate::{file, read};

fn templates() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(file("helm/jenius-pay/templates")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// `helm --wait` and Argo CD run a hook of `post-install` once all pods are ready, and the pods wait for the schema.
#[test]
fn the_pods_wait_for_no_hook() {
    for (name, text) in templates() {
        assert!(!text.contains("/hook:"), "{name}");
    }
    let jobs = read("helm/jenius-pay/templates/jobs.yaml");
    let named = "name: jenius-pay-migrate-{{ include \"jenius-pay.migrate\" . | sha256sum | trunc 10 }}\n";
    assert!(jobs.contains(named), "a Job cannot be changed: another one is another name");
    let (_, migrate) = jobs.split_once("{{- define \"jenius-pay.migrate\" -}}").unwrap();
    let (migrate, _) = migrate.split_once("{{- if .Values.migrate.enabled }}").unwrap();
    for part in ["image", "checksum"] {
        assert!(migrate.contains(&format!("include \"jenius-pay.{part}\"")), "{part}");
    }
}

/// An authority, a prefix or DOKU's environment that is set for all is for the jobs too.
#[test]
fn every_pod_takes_what_is_set_for_all() {
    let parts = read("helm/jenius-pay/templates/_parts.tpl");
    let (_, container) = parts.split_once("{{- define \"jenius-pay.container\" -}}\n").unwrap();
    // Under this name at any time: a pod of the revision before may be started again during an upgrade.
    assert!(container.starts_with("envFrom:\n  - configMapRef:\n      name: jenius-pay\n"));
    assert!(read("helm/jenius-pay/templates/config.yaml").contains("  name: jenius-pay\ndata:\n"));
    let mut seen = 0;
    for (name, text) in templates() {
        let [pods, take] = ["image", "container"]
            .map(|part| text.matches(&format!("include \"jenius-pay.{part}\"")).count());
        assert_eq!(pods, take, "{name}");
        seen += pods;
    }
    assert_eq!(seen, 5, "the roles, the console, `migrate`, `prune`, the operator's");
}
