//! What a browser holds to be known again: 32 random bytes. Only their hash is kept anywhere else.

use crate::flow::ports::KeyHash;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

const BYTES: usize = 32;

/// A key, as text for a cookie or an address.
#[derive(Clone)]
pub struct BrowserKey(String);

impl std::fmt::Debug for BrowserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrowserKey(…)")
    }
}

impl BrowserKey {
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that a browser sent; `None`: it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Another secret that only who has this key can make.
    pub fn derive(&self, purpose: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    pub fn hash(&self) -> KeyHash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_again_and_another_text_is_none() {
        let key = BrowserKey::draw().unwrap();
        assert_eq!(BrowserKey::parse(key.text()).unwrap().hash(), key.hash());
        assert_ne!(BrowserKey::draw().unwrap().hash(), key.hash());
        assert_ne!(key.derive("state"), key.derive("nonce"));
        assert_eq!(key.derive("state").len(), 43);
        for text in ["", "a", "%", &"A".repeat(42), &"A".repeat(44)] {
            assert!(BrowserKey::parse(text).is_none(), "{text}");
        }
    }
}
