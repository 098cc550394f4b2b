//! DOKU's public key, as its back office hands it out: PEM with a SubjectPublicKeyInfo, of which the bare RSA key is kept.

use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

/// The algorithm of an RSA key: the object identifier 1.2.840.113549.1.1.1 and the parameter NULL.
const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// What the verification takes, in bits.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a file holds no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RsaKeyError {
    #[error("no PUBLIC KEY block in PEM form is in it")]
    NotPem,
    #[error("its key is not an RSA key, and only RSA keys sign SNAP notifications")]
    NotRsa,
    #[error("its RSA key has {0} bits; 2048 to 8192 are allowed")]
    Size(usize),
}

/// One RSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The RSAPublicKey, DER.
    pub der: Vec<u8>,
    pub modulus_bytes: usize,
}

impl RsaKey {
    /// Reads the first `PUBLIC KEY` block of a PEM text.
    ///
    /// # Errors
    /// There is none, or its key cannot be used.
    pub fn read(pem: &str) -> Result<Self, RsaKeyError> {
        let info =
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| RsaKeyError::NotPem)?;
        let (key, modulus) = rsa_key(&info).ok_or(RsaKeyError::NotRsa)?;
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if !MODULUS_BITS.contains(&bits) {
            return Err(RsaKeyError::Size(bits));
        }
        Ok(Self { der: key.to_vec(), modulus_bytes: modulus.len() })
    }
}

/// The bare RSAPublicKey within, and its modulus without the leading zero of a positive number.
fn rsa_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, rest) = element(info, SEQUENCE)?;
    let (algorithm, info) = element(info, SEQUENCE)?;
    let (bits, after) = element(info, BIT_STRING)?;
    if algorithm != RSA_ENCRYPTION || !rest.is_empty() || !after.is_empty() {
        return None;
    }
    // The first byte says how many bits of the last one are unused.
    let key = bits.strip_prefix(&[0])?;
    let (numbers, _) = element(key, SEQUENCE)?;
    let (modulus, _) = element(numbers, INTEGER)?;
    Some((key, modulus.strip_prefix(&[0]).unwrap_or(modulus)))
}

/// The content of the DER element that the bytes begin with, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        // A key's length takes two bytes; more than three would be no key.
        let digits = usize::from(length & 0x7f);
        let (written, rest) = rest.split_at_checked(digits).filter(|_| (1..=3).contains(&digits))?;
        (written.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    (first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use rustls_pki_types::pem::PemObject;

    fn pem() -> String {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/snap.json")).unwrap();
        vectors["keys"]["doku_test_public_pem"].as_str().unwrap().to_owned()
    }

    fn as_pem(der: &[u8]) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    #[test]
    fn a_key_is_read_with_its_length() {
        let key = RsaKey::read(&pem()).unwrap();
        assert_eq!(key.modulus_bytes, 256);
        let with_text_around = format!("DOKU's key\n{}\nend\n", pem());
        assert!(RsaKey::read(&with_text_around).is_ok());
    }

    #[test]
    fn what_is_no_rsa_key_is_refused_by_its_fault() {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem().as_bytes()).unwrap().to_vec();
        let read = |der: &[u8]| RsaKey::read(&as_pem(der)).err();
        assert_eq!(RsaKey::read("").err(), Some(RsaKeyError::NotPem));
        assert_eq!(RsaKey::read("-----BEGIN PUBLIC KEY-----\nx").err(), Some(RsaKeyError::NotPem));
        // An elliptic curve's identifier in place of RSA's.
        let mut curve = der.clone();
        let at = curve.windows(RSA_ENCRYPTION.len()).position(|w| w == RSA_ENCRYPTION).unwrap();
        curve[at + 4] ^= 1;
        assert_eq!(read(&curve), Some(RsaKeyError::NotRsa));
        for cut in 0..der.len() {
            assert_eq!(read(&der[..cut]), Some(RsaKeyError::NotRsa), "{cut}");
        }
        let longer = [der.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Some(RsaKeyError::NotRsa));
    }

    #[test]
    fn a_short_key_is_refused_with_its_size() {
        // 1024 bits: an exponent of three bytes and a modulus whose first bit is set.
        let modulus = [&[INTEGER, 0x81, 129, 0, 0xff], [7_u8; 127].as_slice()].concat();
        let numbers = [modulus.as_slice(), &[INTEGER, 3, 1, 0, 1]].concat();
        let key = [&[SEQUENCE, 0x81, u8::try_from(numbers.len()).unwrap()], numbers.as_slice()].concat();
        let bits = [&[BIT_STRING, 0x81, u8::try_from(key.len() + 1).unwrap(), 0], key.as_slice()].concat();
        let algorithm = [&[SEQUENCE, u8::try_from(RSA_ENCRYPTION.len()).unwrap()], RSA_ENCRYPTION].concat();
        let content = [algorithm, bits].concat();
        let info = [&[SEQUENCE, 0x81, u8::try_from(content.len()).unwrap()], content.as_slice()].concat();
        assert_eq!(RsaKey::read(&as_pem(&info)).err(), Some(RsaKeyError::Size(1024)));
    }
}
