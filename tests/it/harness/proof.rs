//! What the stories measured, in `deploy/PROOF.md`: each table between two marks, written by the run that
//! measured it, and only when it is asked to (`JENIUS_WRITE_PROOF=1`). It is always printed.

use std::{path::PathBuf, sync::Mutex};

const ASKED_BY: &str = "JENIUS_WRITE_PROOF";
static ONE_WRITER: Mutex<()> = Mutex::new(());

/// Prints a section and, where it was asked for, puts it between `<!-- name -->` and `<!-- /name -->`.
pub fn section(name: &str, markdown: &str) {
    println!("--- {name}\n{markdown}");
    if std::env::var_os(ASKED_BY).is_none() {
        return;
    }
    let _writing = ONE_WRITER.lock().unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/PROOF.md");
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, replaced(&page, name, markdown)).unwrap();
}

fn replaced(page: &str, name: &str, markdown: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let from = page.find(&open).unwrap_or_else(|| panic!("PROOF.md has no {open}")) + open.len();
    let until = page.find(&close).unwrap_or_else(|| panic!("PROOF.md has no {close}"));
    format!("{}\n\n{}\n\n{}", &page[..from], markdown.trim(), &page[until..])
}

#[test]
fn a_section_is_replaced_and_its_neighbours_stay() {
    let page = "a\n<!-- x -->\n\nold\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n";
    let once = replaced(page, "x", "new\n");
    assert_eq!(once, "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n");
    assert_eq!(replaced(&once, "x", "new\n"), once);
}
