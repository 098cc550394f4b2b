//! JSON as YAML for people: block style, long texts folded.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Texts that are longer are folded.
const LINE_CHARS_MAX: usize = 100;

/// The whole document, with a line break at its end.
pub fn write(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    let options =
        serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: LINE_CHARS_MAX };
    // The wrapper's header would add a line break to each text. Another text that ends so is in quotes.
    Ok(serde_saphyr::to_string_with_options(&Folded(value), options)?.replace(": >\n", ": >-\n"))
}

/// A value whose long texts are folded, those with a colon or a quote too.
struct Folded<'a>(&'a Value);

impl Serialize for Folded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Self(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Folded)),
            Value::String(text) if text.contains(' ') && text.chars().count() > LINE_CHARS_MAX => {
                serde_saphyr::FoldStr(text).serialize(serializer)
            }
            other => other.serialize(serializer),
        }
    }
}
