//! What a link or a form says: names with values, each of a bounded length. A name may come several times.

use crate::domain::ids::{InvoiceNumber, MerchantName};
use url::form_urlencoded;

/// More is no form of ours.
const PARAMS_MAX: usize = 1100;
const VALUE_CHARS_MAX: usize = 2000;

/// The names and values of a query or a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).take(PARAMS_MAX);
        // No text of a database holds the character zero.
        let bounded =
            |text: &str| text.chars().filter(|c| *c != '\0').take(VALUE_CHARS_MAX).collect::<String>();
        Self(pairs.map(|(name, value)| (bounded(&name), bounded(&value))).collect())
    }

    /// What a form with a file says beside it.
    pub fn from_fields(fields: Vec<(String, String)>) -> Self {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields);
        Self::parse(query.finish().as_bytes())
    }

    /// The first value, without the spaces around it; an empty one is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all_values(name).next()
    }

    pub fn all_values<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> + use<'p> {
        let name = name.to_owned();
        let named = self.0.iter().filter(move |(other, _)| *other == name);
        named.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// All of them, to be sent again.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The order that a link or form is about.
    pub fn order(&self) -> Option<(MerchantName, InvoiceNumber)> {
        let merchant = MerchantName::parse(self.get("merchant")?).ok()?;
        Some((merchant, InvoiceNumber::parse(self.get("invoice")?).ok()?))
    }
}

/// A path with a query, whatever its values hold.
pub fn link(path: &str, params: &[(&str, &str)]) -> String {
    let given: Vec<_> = params.iter().filter(|(_, value)| !value.is_empty()).collect();
    if given.is_empty() {
        return path.to_owned();
    }
    let start = format!("{path}?");
    let from = start.len();
    let mut query = form_urlencoded::Serializer::for_suffix(start, from);
    given.into_iter().for_each(|(name, value)| {
        query.append_pair(name, value);
    });
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_says_is_read_back_whatever_it_holds() {
        for hostile in ["a/b?c#d%2f", "<img/src=x/onerror=alert(1)>", "a&merchant=other", "a+b", "\u{202e}"] {
            let link = link("/order", &[("merchant", "default"), ("invoice", hostile), ("empty", "")]);
            let (path, query) = link.split_once('?').unwrap();
            assert!(path == "/order" && query.bytes().all(|byte| !b"<>#\"' /".contains(&byte)), "{link}");
            let params = Params::parse(query.as_bytes());
            assert_eq!((params.get("merchant"), params.get("invoice")), (Some("default"), Some(hostile)));
            assert_eq!(params.get("empty"), None);
        }
        assert_eq!(link("/orders", &[("text", "")]), "/orders");
    }

    #[test]
    fn values_are_bounded_and_only_a_number_names_an_order() {
        let long = format!("a={}", "x".repeat(10_000));
        assert_eq!(Params::parse(b"a=x%00y").get("a"), Some("xy"));
        assert_eq!(Params::parse(long.as_bytes()).get("a").unwrap().len(), VALUE_CHARS_MAX);
        let many = "a=1&".repeat(10_000);
        assert_eq!(Params::parse(many.as_bytes()).all_values("a").count(), PARAMS_MAX);
        assert!(Params::parse(b"merchant=default&invoice=a%2Fb").order().is_some());
        for none in ["merchant=default", "merchant=DEFAULT&invoice=a", "merchant=default&invoice=.."] {
            assert!(Params::parse(none.as_bytes()).order().is_none(), "{none}");
        }
    }
}
