//! ID tokens: read and judged by `jsonwebtoken`, their signatures verified by ring, which is the process's only cryptography.

use crate::config::OidcAuth;
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    decode, decode_header,
    errors::{ErrorKind, Result as JwtResult},
    jwk::JwkSet,
    signature::{self, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;

/// What providers sign with. Never a secret that both know, never none.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];
/// Clocks differ.
const LEEWAY_SECONDS: u64 = 60;

static RING: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    #[error("no key of the provider signed it")]
    UnknownKey,
    #[error("{0}")]
    Bad(#[from] jsonwebtoken::errors::Error),
}

/// Once for the process; the first one stays.
pub fn install() {
    let _ = RING.install_default();
}

/// The claims of a token that the provider signed for this client and that has not ended.
pub fn claims(token: &str, keys: &JwkSet, auth: &OidcAuth) -> Result<Value, TokenFault> {
    let header = decode_header(token)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(jsonwebtoken::errors::Error::from(ErrorKind::InvalidAlgorithm).into());
    }
    let key = match &header.kid {
        Some(kid) => keys.find(kid),
        // Without a name it is the only one, or none.
        None => keys.keys.first().filter(|_| keys.keys.len() == 1),
    };
    let key = DecodingKey::from_jwk(key.ok_or(TokenFault::UnknownKey)?)?;
    let mut rules = Validation::new(header.alg);
    rules.leeway = LEEWAY_SECONDS;
    rules.validate_nbf = true;
    rules.set_audience(&[&auth.client_id]);
    rules.set_issuer(&[&auth.issuer]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Ok(decode::<Value>(token, &key, &rules)?.claims)
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    if *algorithm == Algorithm::RS256 || *algorithm == Algorithm::ES256 {
        Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
    } else {
        Err(ErrorKind::InvalidAlgorithm.into())
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, text: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, text, signed)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text, signed)
            }
            // A key of another kind than the algorithm's.
            (_, _) => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
