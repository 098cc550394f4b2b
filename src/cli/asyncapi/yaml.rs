//! JSON as YAML for people: block style, texts plain where YAML cannot take them for something else.

use serde_json::{Map, Value};

/// Texts that are longer are folded.
const LINE_CHARS_MAX: usize = 100;

/// The whole document, with a line break at its end.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) => object(members, 0, &mut out),
        Value::Array(items) => array(items, 0, &mut out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => after(value, 0, &mut out),
    }
    out.trim_start().to_owned()
}

fn object(members: &Map<String, Value>, indent: usize, out: &mut String) {
    for (name, value) in members {
        out.push_str(&format!("{:indent$}{}:", "", scalar(name)));
        after(value, indent + 2, out);
    }
}

fn array(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        let mut block = String::new();
        match item {
            Value::Object(members) if !members.is_empty() => object(members, indent + 2, &mut block),
            Value::Array(items) if !items.is_empty() => array(items, indent + 2, &mut block),
            other => after(other, indent + 2, &mut block),
        }
        out.push_str(&format!("{:indent$}- {}", "", block.trim_start()));
    }
}

/// What stands after a name and its colon.
fn after(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            object(members, indent, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            array(items, indent, out);
        }
        Value::String(text) if folds(text) => {
            out.push_str(" >-\n");
            folded(text, indent, out);
        }
        Value::String(text) => out.push_str(&format!(" {}\n", scalar(text))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_) => {
            out.push_str(&format!(" {value}\n"));
        }
    }
}

/// A long text of words with one space between each two.
fn folds(text: &str) -> bool {
    text.chars().count() > LINE_CHARS_MAX
        && !text.contains(|c: char| c.is_control())
        && text.split(' ').all(|word| !word.is_empty())
        && text.contains(' ')
}

fn folded(text: &str, indent: usize, out: &mut String) {
    let mut length = 0;
    for word in text.split(' ') {
        let chars = word.chars().count();
        if length > 0 && length + 1 + chars <= LINE_CHARS_MAX {
            out.push(' ');
            length += 1;
        } else {
            if length > 0 {
                out.push('\n');
            }
            out.push_str(&format!("{:indent$}", ""));
            length = 0;
        }
        out.push_str(word);
        length += chars;
    }
    out.push('\n');
}

/// Plain, or in quotes as JSON has them, which YAML reads too.
fn scalar(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || "/$".contains(c));
    let plain = |c: char| c.is_alphanumeric() || " _./$()+;×–".contains(c) || c == '-' || c == ',';
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if starts && text.chars().all(plain) && !text.ends_with(' ') && !is_word {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_indented_and_what_could_be_misread_is_quoted() {
        let value = json!({"a": {"b": [1, {"c": "x y", "d": []}, [true]], "e": {}}, "3.0": "3.0.0",
            "no": "No", "t": "a: b", "s": "a # b", "n": null, "q": "\"", "k": "line\nbreak", "u": "/a/b"});
        let text = "\
a:
  b:
    - 1
    - c: x y
      d: []
    - - true
  e: {}
\"3.0\": \"3.0.0\"
\"no\": \"No\"
t: \"a: b\"
s: \"a # b\"
\"n\": null
q: \"\\\"\"
k: \"line\\nbreak\"
u: /a/b
";
        assert_eq!(write(&value), text);
    }

    #[test]
    fn long_texts_are_folded() {
        let long = "word ".repeat(30);
        let text = write(&json!({"a": [{"b": long.trim()}]}));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  - b: >-");
        assert!(lines[2..].iter().all(|line| line.starts_with("      word") && line.len() <= 106), "{text}");
        assert_eq!(lines[2..].join(" ").split_whitespace().count(), 30);
    }
}
