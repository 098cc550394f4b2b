//! Takes a member that is `null` out of a JSON text. Every other byte stays as it was written: numbers, escapes, white
//! space and order are the sender's.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// Removes the member at `path` from the text of an object, if it is there and `null`.
pub(super) fn null_at(text: &mut String, path: &[&str]) {
    if let Some(range) = range_of_null(text, path) {
        text.replace_range(range, "");
    }
}

/// What stands for the member: with the comma before it, or, where it is the first, with the one after it.
fn range_of_null(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let [name, inner @ ..] = path else { return None };
    let Members(members) = serde_json::from_str(text).ok()?;
    let at = members.iter().position(|(member, _)| member == name)?;
    let values: Vec<Range<usize>> = members.iter().map(|(_, value)| place(text, value.get())).collect();
    let value = values[at].clone();
    if !inner.is_empty() {
        let range = range_of_null(&text[value.clone()], inner)?;
        return Some(value.start + range.start..value.start + range.end);
    }
    if &text[value.clone()] != "null" {
        return None;
    }
    match (at.checked_sub(1), values.get(at + 1)) {
        (Some(before), _) => Some(values[before].end..value.end),
        (None, next) => {
            let start = text.find('{')? + 1;
            let comma = next.and_then(|_| text[value.end..].find(',')).map(|comma| value.end + comma + 1);
            Some(start..comma.unwrap_or(value.end))
        }
    }
}

/// Where a part of the text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// An object's members, the values as text.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_null_at_the_path_is_cut_and_every_other_byte_stays() {
        for (text, left) in [
            (r#"{"a":{"b":null}}"#, r#"{"a":{}}"#),
            (r#"{ "a" : { "b" : null , "c":1 } }"#, r#"{ "a" : { "c":1 } }"#),
            (r#"{"a":{"c":1 , "b":null}}"#, r#"{"a":{"c":1}}"#),
            (r#"{"a":{"c":1,"b":null ,"d":2}}"#, r#"{"a":{"c":1 ,"d":2}}"#),
            (r#"{"x":null,"a":{"\u0062":null,"n":1.50E+2}}"#, r#"{"x":null,"a":{"n":1.50E+2}}"#),
            (r#"{"a":{"b":0}}"#, r#"{"a":{"b":0}}"#),
            (r#"{"a":{"b":"null"}}"#, r#"{"a":{"b":"null"}}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"b":null}"#, r#"{"b":null}"#),
            (r#"[{"a":{"b":null}}]"#, r#"[{"a":{"b":null}}]"#),
            ("", ""),
        ] {
            let mut cut = text.to_owned();
            null_at(&mut cut, &["a", "b"]);
            assert_eq!(cut, left, "{text}");
        }
    }
}
