//! Where the methods of a type stand: in the file that defines it, or in that file's own folder. Who looks for one
//! opens one room.

use super::{Source, project, read_all, words::type_name};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn the_methods_of_a_type_stand_in_its_file_or_in_the_folder_of_that() {
    let mut sources = Vec::new();
    read_all(&project().join("src"), &project().join("src"), &mut sources);
    let strays = strays(&sources);
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

fn strays(sources: &[Source]) -> Vec<String> {
    let mut homes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        for name in source.code().lines().filter(|line| !line.starts_with(' ')).filter_map(type_name) {
            homes.entry(name.to_owned()).or_default().insert(&source.path);
        }
    }
    let mut strays = Vec::new();
    for source in sources {
        for name in source.code().lines().filter_map(implemented) {
            let of_ours = homes.get(name).filter(|homes| !homes.iter().any(|home| holds(home, &source.path)));
            if let Some(homes) = of_ours {
                strays.push(format!("{}: methods of {name}, which is defined in {homes:?}", source.path));
            }
        }
    }
    strays
}

/// Whether `path` is the file `home`, or in the folder that belongs to it.
fn holds(home: &str, path: &str) -> bool {
    let room = home.strip_suffix("/mod.rs").or_else(|| home.strip_suffix(".rs")).unwrap_or(home);
    home == path || path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'))
}

/// The type whose own methods begin with this line.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(parameters) => parameters.split_once("> ")?.1,
        None => rest.strip_prefix(' ')?,
    };
    (!rest.contains(" for ")).then(|| word(rest))
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())]
}

#[test]
fn planted_strays_are_found() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources = [
        source("rabbit/mod.rs", "pub struct Broker {\n}\n"),
        source("rabbit/declare.rs", "impl Broker {\n}\n"),
        source("doku/client.rs", "pub(super) struct Client;\nenum Kind<'a> {}\nimpl<'a> Kind<'a> {\n}\n"),
        source("doku/client/probe.rs", "impl Client {\n}\n"),
        source("doku/probe.rs", "impl<T: Into<String>> Client {\n}\nimpl Default for Client {\n}\n"),
    ];
    assert_eq!(
        strays(&sources),
        ["doku/probe.rs: methods of Client, which is defined in {\"doku/client.rs\"}"]
    );
}
