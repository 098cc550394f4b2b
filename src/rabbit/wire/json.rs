//! JSON text to `Document` and back. Reading refuses an object that has a member twice, at any depth:
//! two readers could see two different payments in it. Depth is bounded by serde_json (128).

use super::{EventEnvelope, Malformed};
use crate::domain::document::Document;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Reads a JSON value; `what` names it in the error.
pub(super) fn read(text: &str, what: &str) -> Result<Document, Malformed> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|error| unreadable(&error, what))
}

/// Reads a CloudEvent, leaving the text of its `data` alone.
pub(super) fn read_envelope(text: &str) -> Result<EventEnvelope<'_>, Malformed> {
    if !text.trim_start().starts_with('{') {
        return Err(Malformed::new("the body: a JSON object (a CloudEvent) is allowed"));
    }
    serde_json::from_str(text).map_err(|error| unreadable(&error, "the body"))
}

/// serde_json's own words can quote the text: only its place is repeated.
fn unreadable(error: &serde_json::Error, what: &str) -> Malformed {
    let place = format!("{what}, line {} column {}", error.line(), error.column());
    Malformed::new(match error.classify() {
        serde_json::error::Category::Data => {
            format!("{place}: an object has a member twice; each name is allowed once")
        }
        serde_json::error::Category::Syntax if is_half_a_pair(error) => {
            format!("{place}: half of a surrogate pair; whole characters are allowed")
        }
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => {
            format!("{place}: not JSON; at most 127 levels and numbers in the range of a double are allowed")
        }
    })
}

/// Only the words of serde_json tell it.
fn is_half_a_pair(error: &serde_json::Error) -> bool {
    let words = error.to_string();
    words.starts_with("lone leading surrogate") || words.starts_with("unexpected end of hex escape")
}

/// The only error of ours while reading.
fn member_twice<E: Error>() -> E {
    E::custom("a member twice")
}

fn refuse_member_twice<E: Error>(members: &[(String, Document)]) -> Result<(), E> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(member_twice()) } else { Ok(()) }
}

struct Strict(Document);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Document::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Vec::new();
        while let Some((name, Strict(value))) = map.next_entry()? {
            members.push((name, value));
        }
        refuse_member_twice(&members)?;
        Ok(Document::Object(members))
    }
}

impl<'de> Deserialize<'de> for EventEnvelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = EventEnvelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventEnvelope<'de>, A::Error> {
        let mut attributes = Vec::new();
        let mut data = None;
        while let Some(name) = map.next_key::<String>()? {
            if name != "data" {
                let Strict(value) = map.next_value()?;
                attributes.push((name, value));
            } else if data.replace(map.next_value::<&RawValue>()?).is_some() {
                return Err(member_twice());
            }
        }
        refuse_member_twice(&attributes)?;
        Ok(EventEnvelope { attributes: Document::Object(attributes), data })
    }
}

/// Writes a document, its members in their order.
pub(super) struct AsJson<'d>(pub(super) &'d Document);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(value) => serializer.serialize_bool(*value),
            Document::Integer(value) => serializer.serialize_i128(*value),
            Document::Float(value) => serializer.serialize_f64(*value),
            Document::String(text) => serializer.serialize_str(text),
            Document::Array(items) => serializer.collect_seq(items.iter().map(AsJson)),
            Document::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, AsJson(value))))
            }
        }
    }
}
