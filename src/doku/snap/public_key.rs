//! DOKU's public key: it verifies, and nothing else.

use crate::config::RsaKey;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// One RSA key that verifies.
#[derive(Debug, Clone)]
pub struct PublicKey {
    key: UnparsedPublicKey<Vec<u8>>,
    modulus_bytes: usize,
}

impl PublicKey {
    pub fn new(key: &RsaKey) -> Self {
        let RsaKey { der, modulus_bytes } = key.clone();
        Self { key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der), modulus_bytes }
    }

    /// A signature has as many bytes.
    pub fn modulus_bytes(&self) -> usize {
        self.modulus_bytes
    }

    /// Whether this key made the signature (SHA-256 with RSA, PKCS#1 v1.5).
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        signature.len() == self.modulus_bytes && self.key.verify(text, signature).is_ok()
    }
}
