//! Writes a rule of the domain as JSON Schema: from the constants that the code judges by, so that no
//! number and no word stands twice. Each function is a transform for schemars' `transform` attribute.

use crate::domain::{
    ids::{CommandId, CommandSource, InvoiceNumber, MerchantName},
    validate::rules::{self, Text, Whole},
};
use schemars::Schema;
use serde_json::{Value, json};

/// A text of the rules of commands.
pub fn text(rule: &'static Text) -> impl FnMut(&mut Schema) {
    |schema| {
        bounded(schema, rule.length_max, rule.pattern);
        allowed(schema, rule.allowed);
    }
}

/// A whole number, written without fraction and exponent.
pub fn whole_number(rule: &'static Whole) -> impl FnMut(&mut Schema) {
    |schema| {
        no_format(schema);
        schema.insert("minimum".to_owned(), json!(rule.range.start()));
        if *rule.range.end() != u64::MAX {
            schema.insert("maximum".to_owned(), json!(rule.range.end()));
        }
        allowed(schema, rule.allowed);
    }
}

pub fn invoice_number(schema: &mut Schema) {
    text(&rules::INVOICE_NUMBER)(schema);
    schema.insert("pattern".to_owned(), json!(InvoiceNumber::PATTERN_WHOLE));
}

pub fn merchant(schema: &mut Schema) {
    bounded(schema, MerchantName::CHARS_MAX, MerchantName::PATTERN);
    allowed(schema, MerchantName::ALLOWED);
}

pub fn command_id(schema: &mut Schema) {
    bounded(schema, CommandId::CHARS_MAX, CommandId::PATTERN);
    allowed(schema, CommandId::ALLOWED);
}

pub fn command_source(schema: &mut Schema) {
    bounded(schema, CommandSource::CHARS_MAX, CommandSource::PATTERN);
    allowed(schema, CommandSource::ALLOWED);
}

/// One of these words; `null` too where the member may be it.
pub fn words<const N: usize>(words: [&'static str; N]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let mut all: Vec<Value> = Vec::new();
        for word in words {
            if !all.contains(&json!(word)) {
                all.push(json!(word));
            }
        }
        if schema.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&json!("null"))) {
            all.push(Value::Null);
        }
        schema.insert("enum".to_owned(), all.into());
    }
}

/// JSON knows no width of numbers.
pub fn no_format(schema: &mut Schema) {
    schema.remove("format");
}

/// Where it is absent it is left out, never `null`.
pub fn never_null(schema: &mut Schema) {
    if let Some(word) = schema.get("type").and_then(|types| types.get(0)).cloned() {
        schema.insert("type".to_owned(), word);
    }
}

/// Nothing but this.
pub fn constant(word: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        schema.insert("const".to_owned(), json!(word));
    }
}

/// As a pattern, or another keyword, says it.
pub fn keyword(name: &'static str, value: impl Into<Value>) -> impl FnMut(&mut Schema) {
    let value = value.into();
    move |schema| {
        schema.insert(name.to_owned(), value.clone());
    }
}

/// Every text of ours has one character or more.
fn bounded(schema: &mut Schema, length_max: usize, pattern: &str) {
    schema.insert("minLength".to_owned(), json!(1));
    if length_max != usize::MAX {
        schema.insert("maxLength".to_owned(), json!(length_max));
    }
    schema.insert("pattern".to_owned(), json!(pattern));
}

/// What is allowed, after what the member is.
fn allowed(schema: &mut Schema, words: &str) {
    let is = schema.get("description").and_then(Value::as_str).map(|text| format!("{text} "));
    let described = format!("{}Allowed: {words}.", is.unwrap_or_default());
    schema.insert("description".to_owned(), described.into());
}
