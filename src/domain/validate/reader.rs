//! Reads an object member by member and keeps the violations found on the way: a missing object is one
//! error, `null` is an absent member, and a member that no rule names is unknown.

use super::{
    Code, VIOLATIONS_MAX, Violation,
    rules::{Text, Whole},
    shown_value,
};
use crate::domain::document::Document;
use std::fmt;

/// A member's name is the sender's: of an endless one this much is shown.
const NAME_SHOWN_MAX: usize = 64;
/// A whole path is cut here.
const FIELD_MAX: usize = 256;
/// From here on a float has no digits after the point, whichever way it was written.
const WHOLE_FROM: f64 = 18_446_744_073_709_551_616.0;

/// Where a value stands in `data`. It becomes text for a violation only.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    Data,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn field(&self) -> String {
        match self {
            Self::Data => "data".to_owned(),
            Self::Member(..) | Self::Item(..) => self.to_string().chars().take(FIELD_MAX).collect(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => Ok(()),
            Self::Member(parent, name) => {
                write!(f, "{parent}")?;
                if !matches!(parent, Self::Data) {
                    f.write_str(".")?;
                }
                // A control character (U+0000 above all) can be neither stored nor read.
                let shown =
                    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
                shown.take(NAME_SHOWN_MAX).try_for_each(|c| write!(f, "{c}"))
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The violations found so far. Unknown members come after all others.
#[derive(Debug, Default)]
pub(super) struct Violations {
    found: Vec<Violation>,
    unknown: Vec<Violation>,
}

impl Violations {
    pub(super) fn add(&mut self, path: &Path<'_>, code: Code, allowed: &str, found: Option<&str>) {
        if self.found.len() < VIOLATIONS_MAX {
            self.found.push(Violation::new(code, path.field(), allowed, found));
        }
    }

    /// The value, if no rule was broken. A reader that gives none has added a violation.
    pub(super) fn judge<T>(mut self, value: Option<T>) -> Result<T, Vec<Violation>> {
        self.found.append(&mut self.unknown);
        self.found.truncate(VIOLATIONS_MAX);
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            Some(_) | None => Err(self.found),
        }
    }
}

/// An object that is read member by member.
#[derive(Debug)]
pub(super) struct Fields<'d, 'p> {
    members: &'d [(String, Document)],
    path: Path<'p>,
    known: Vec<&'static str>,
}

impl<'d> Fields<'d, '_> {
    pub(super) fn optional(&mut self, name: &'static str) -> Option<Member<'d, '_>> {
        self.known.push(name);
        let value = self.members.iter().find(|(n, _)| n == name).map(|(_, value)| value)?;
        let path = Path::Member(&self.path, name);
        (*value != Document::Null).then_some(Member { value, path })
    }

    pub(super) fn mandatory(
        &mut self,
        name: &'static str,
        allowed: &str,
        violations: &mut Violations,
    ) -> Option<Member<'d, '_>> {
        let path = self.path;
        let member = self.optional(name);
        if member.is_none() {
            violations.add(&Path::Member(&path, name), Code::Missing, allowed, Some(MISSING));
        }
        member
    }

    pub(super) fn object(
        &mut self,
        name: &'static str,
        violations: &mut Violations,
    ) -> Option<Fields<'d, '_>> {
        self.mandatory(name, AN_OBJECT, violations)?.object(violations)
    }

    pub(super) fn text(
        &mut self,
        name: &'static str,
        rule: &Text,
        violations: &mut Violations,
    ) -> Option<&'d str> {
        self.mandatory(name, rule.allowed, violations)?.text(rule, violations)
    }

    pub(super) fn read_whole(
        &mut self,
        name: &'static str,
        rule: &Whole,
        violations: &mut Violations,
    ) -> Option<u64> {
        self.mandatory(name, rule.allowed, violations)?.read_whole(rule, violations)
    }

    /// The members that no rule names.
    pub(super) fn others(&self) -> impl Iterator<Item = Member<'d, '_>> {
        self.members
            .iter()
            .filter(|(name, _)| !self.known.contains(&name.as_str()))
            .map(|(name, value)| Member { value, path: Path::Member(&self.path, name) })
    }

    pub(super) fn refuse_others(self, violations: &mut Violations) {
        for other in self.others() {
            if violations.unknown.len() == VIOLATIONS_MAX {
                return;
            }
            let message = format!("must be left out; the members allowed here are {}", self.known.join(", "));
            let field = other.path.field();
            violations.unknown.push(Violation { code: Code::UnknownField, field, message });
        }
    }
}

const AN_OBJECT: &str = "an object";
const MISSING: &str = "is missing";

/// A value and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'d, 'p> {
    pub(super) value: &'d Document,
    pub(super) path: Path<'p>,
}

impl<'d, 'p> Member<'d, 'p> {
    pub(super) fn data(value: &'d Document) -> Self {
        Self { value, path: Path::Data }
    }

    pub(super) fn object(self, violations: &mut Violations) -> Option<Fields<'d, 'p>> {
        let Document::Object(members) = self.value else {
            return self.refuse_type(AN_OBJECT, violations);
        };
        Some(Fields { members, path: self.path, known: Vec::new() })
    }

    pub(super) fn list<'s>(
        &'s self,
        allowed: &str,
        violations: &mut Violations,
    ) -> Option<impl Iterator<Item = Member<'d, 's>> + use<'d, 'p, 's>> {
        let Document::Array(items) = self.value else {
            return self.refuse_type(allowed, violations);
        };
        let item = |(index, value)| Member { value, path: Path::Item(&self.path, index) };
        Some(items.iter().enumerate().map(item))
    }

    /// One violation at most: the first rule the text breaks, its length before its characters.
    pub(super) fn text(self, rule: &Text, violations: &mut Violations) -> Option<&'d str> {
        let Document::String(text) = self.value else {
            return self.refuse_type(rule.allowed, violations);
        };
        match rule.broken_by(text) {
            Some(code) => {
                violations.add(&self.path, code, rule.allowed, found(rule, code, text).as_deref());
                None
            }
            None => Some(text),
        }
    }

    pub(super) fn read_whole(self, rule: &Whole, violations: &mut Violations) -> Option<u64> {
        let number = match self.value {
            Document::Integer(number) => u64::try_from(*number).ok(),
            // Too long for an integer, it was read as a float.
            Document::Float(number) if number.abs() >= WHOLE_FROM => None,
            Document::Float(_) => {
                violations.add(&self.path, Code::WrongType, rule.allowed, self.number().as_deref());
                return None;
            }
            Document::Null
            | Document::Bool(_)
            | Document::String(_)
            | Document::Array(_)
            | Document::Object(_) => return self.refuse_type(rule.allowed, violations),
        };
        let number = number.filter(|n| rule.range.contains(n));
        if number.is_none() {
            violations.add(&self.path, Code::OutOfRange, rule.allowed, self.number().as_deref());
        }
        number
    }

    /// No number of a command is a customer's.
    fn number(&self) -> Option<String> {
        match self.value {
            Document::Integer(number) => Some(format!("is {number}")),
            Document::Float(number) => Some(format!("is {number:?}")),
            Document::Null
            | Document::Bool(_)
            | Document::String(_)
            | Document::Array(_)
            | Document::Object(_) => None,
        }
    }

    /// `null` in a list is a missing item.
    pub(super) fn refuse_type<T>(&self, allowed: &str, violations: &mut Violations) -> Option<T> {
        if *self.value == Document::Null {
            violations.add(&self.path, Code::Missing, allowed, Some(MISSING));
        } else {
            // Not the value: a phone may be written as a number.
            violations.add(&self.path, Code::WrongType, allowed, Some(&format!("is {}", self.value.kind())));
        }
        None
    }

    /// Neither a name nor a text in here may hold U+0000: PostgreSQL cannot store it.
    pub(super) fn refuse_nul(self, violations: &mut Violations) {
        let named_so = matches!(self.path, Path::Member(_, name) if name.contains('\0'));
        if named_so || self.value.as_str().is_some_and(|text| text.contains('\0')) {
            violations.add(&self.path, Code::InvalidCharacters, "text without U+0000, names too", None);
        }
        match self.value {
            Document::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    Member { value, path: Path::Item(&self.path, index) }.refuse_nul(violations);
                }
            }
            Document::Object(members) => {
                for (name, value) in members {
                    Member { value, path: Path::Member(&self.path, name) }.refuse_nul(violations);
                }
            }
            Document::Null
            | Document::Bool(_)
            | Document::Integer(_)
            | Document::Float(_)
            | Document::String(_) => {}
        }
    }
}

/// What is wrong with a text, without the text where it may be a customer's.
fn found(rule: &Text, code: Code, text: &str) -> Option<String> {
    if code == Code::TooShort {
        return Some("is empty".to_owned());
    }
    if code == Code::TooLong {
        return Some(format!("has {} characters", text.chars().count()));
    }
    let not_shown =
        || (code == Code::InvalidCharacters).then(|| "has a character that is not allowed".to_owned());
    shown_value(text).filter(|_| rule.is_shown).or_else(not_shown)
}
