//! What generators make of the AsyncAPI document: classes in TypeScript, Java and Python, compiled, which read every
//! example. A language that is not on the machine is left out.

use crate::{
    clients::{node_tools, printed},
    harness::child::BINARY,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The 16 events, two commands and a notification in each of its two forms.
const EXAMPLES: usize = 20;

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Ended with the test, however that ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("jenius-pay-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Modelina's classes in TypeScript and Java, and the examples of the document. Gives the names of the classes.
fn generate(tools: &Path, to: &Path) -> Vec<String> {
    let script = tools.join("generate.js");
    let names = printed(Command::new("node").arg(script).arg(deployed("asyncapi.yaml")).arg(to), &[]);
    assert_eq!(fs::read_dir(to.join("examples")).unwrap().count(), EXAMPLES);
    names.lines().map(str::to_owned).collect()
}

fn has_java(jars: &[String]) -> bool {
    let runs = Command::new("javac").arg("-version").stderr(Stdio::null()).output();
    runs.is_ok_and(|output| output.status.success()) && jars.iter().all(|jar| Path::new(jar).exists())
}

fn compile_java(to: &Path) {
    let jars = ["annotations", "core", "databind"].map(|part| format!("/usr/share/java/jackson-{part}.jar"));
    if !has_java(&jars) {
        eprintln!("not run: javac and Jackson are not on this machine");
        return;
    }
    let classes = to.join("classes");
    let paths = format!("{}:{}", jars.join(":"), classes.display());
    let sources = fs::read_dir(to.join("java/jenius")).unwrap().map(|entry| entry.unwrap().path());
    let mut compiler = Command::new("javac");
    compiler.args(["-cp", &paths, "-d"]).arg(&classes).args(sources);
    printed(&mut compiler, &[]);
    let reader = deployed("asyncapi/Read.java");
    let read = printed(Command::new("java").args(["-cp", &paths]).arg(reader).arg(to.join("examples")), &[]);
    assert_eq!(read, format!("{EXAMPLES} examples\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modelina_makes_a_class_of_each_message_that_compiles_and_reads_its_examples() {
    let tools = node_tools("deploy/asyncapi").await;
    let test = move || {
        let scratch = Scratch::new("modelina");
        let names = generate(&tools, &scratch.0);
        for event in jenius_pay::domain::event::EventType::ALL {
            let words = event.routing_key().split('.');
            let name: String = words.map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        let anonymous: Vec<_> = names.iter().filter(|name| name.contains("Anonymous")).collect();
        assert!(anonymous.is_empty(), "{anonymous:?}");
        let modules = fs::read_dir(scratch.0.join("typescript")).unwrap().map(|entry| entry.unwrap().path());
        let compiler = tools.join("node_modules/typescript/bin/tsc");
        printed(
            Command::new("node")
                .arg(compiler)
                .args(["--strict", "--noEmit", "--target", "es2020"])
                .args(modules),
            &[],
        );
        compile_java(&scratch.0);
    };
    tokio::task::spawn_blocking(test).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datamodel_codegen_makes_a_class_of_each_schema_that_reads_its_examples() {
    let tools = node_tools("deploy/asyncapi").await;
    let test = move || {
        let scratch = Scratch::new("datamodel");
        let folder = |name: &str| scratch.0.join(name);
        generate(&tools, &scratch.0);
        let wrote = printed(Command::new(BINARY).args(["asyncapi", "--schemas"]).arg(folder("schemas")), &[]);
        assert_eq!(wrote.lines().count(), EXAMPLES - 1);
        let install = deployed("local/build/python-tools");
        let packages = printed(Command::new(install).arg("deploy/asyncapi"), &[]);
        let python = || {
            let mut python = Command::new("python3");
            python.env("PYTHONPATH", packages.trim());
            python
        };
        let mut generator = python();
        generator.args([
            "-m",
            "datamodel_code_generator",
            "--input-file-type",
            "jsonschema",
            "--formatters",
            "builtin",
        ]);
        generator.args(["--output-model-type", "pydantic_v2.BaseModel", "--input"]).arg(folder("schemas"));
        printed(generator.arg("--output").arg(folder("python")), &[]);
        let reader = deployed("asyncapi/read.py");
        let read = printed(python().arg(reader).arg(folder("python")).arg(folder("examples")), &[]);
        assert_eq!(read, format!("{EXAMPLES} examples\n"));
    };
    tokio::task::spawn_blocking(test).await.unwrap();
}
