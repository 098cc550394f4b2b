//! How a notification is signed: the headers of its two forms, and who may have signed it. The verification itself is
//! `doku`'s.

use super::ids::MerchantName;

/// The signed headers of DOKU's own form.
pub const HEADERS: [&str; 4] = ["Client-Id", "Request-Id", "Request-Timestamp", "Signature"];
/// The headers that every notification in the SNAP form has, and those that one may have.
pub const SNAP_HEADERS: [&str; 3] = ["X-PARTNER-ID", "X-TIMESTAMP", "X-SIGNATURE"];
pub const AUTHORIZATION: &str = "Authorization";
pub const EXTERNAL_ID: &str = "X-EXTERNAL-ID";

/// What the signature of DOKU's own form begins with.
const SIGNATURE_PREFIX: &str = "HMACSHA256=";

/// A longer header is not DOKU's: its own limit for a Request-Id is 128.
pub const HEADER_BYTES_MAX: usize = 256;
/// A bearer token may be a signed document.
pub const AUTHORIZATION_BYTES_MAX: usize = 4096;
/// An RSA signature of 8192 bits has 1,368 characters.
pub const SNAP_SIGNATURE_BYTES_MAX: usize = 2048;

/// The 64 bytes of an HMAC-SHA512 in base64, without padding. No RSA signature that is taken is as short.
const HMAC_CHARS: usize = 86;

/// In which of its two forms DOKU words and signs a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Jenius,
    Snap,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::Jenius, Self::Snap];

    pub fn name(self) -> &'static str {
        match self {
            Self::Jenius => "jenius",
            Self::Snap => "snap",
        }
    }

    /// The form of a notification with these headers. DOKU sends headers of the SNAP form beside its own signature too.
    pub fn from_headers<'a>(get: impl Fn(&str) -> HeaderOccurrence<'a>) -> Self {
        let [.., signature] = HEADERS;
        let [.., snap_signature] = SNAP_HEADERS;
        match (get(signature), get(snap_signature)) {
            (HeaderOccurrence::Once(signature), _) if signature.starts_with(SIGNATURE_PREFIX) => Self::Jenius,
            (HeaderOccurrence::Twice, _) | (_, HeaderOccurrence::Nothing) => Self::Jenius,
            (
                HeaderOccurrence::Once(_) | HeaderOccurrence::Nothing,
                HeaderOccurrence::Once(_) | HeaderOccurrence::Twice,
            ) => Self::Snap,
        }
    }
}

/// What stands under a header's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderOccurrence<'a> {
    Nothing,
    Once(&'a str),
    /// Two readers might believe different ones.
    Twice,
}

impl<'a> HeaderOccurrence<'a> {
    /// Of all values under a name; one that is no text counts as an empty one.
    pub fn from_values(mut values: impl Iterator<Item = Option<&'a str>>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::Once(value.unwrap_or_default()),
            (Some(_), Some(_)) => Self::Twice,
        }
    }

    /// Its value, if it is there once, within its limit and without control characters.
    pub fn usable(self, bytes_max: usize) -> Option<&'a str> {
        match self {
            Self::Once(value) => {
                let fits = (1..=bytes_max).contains(&value.len()) && !value.contains(char::is_control);
                fits.then_some(value)
            }
            Self::Nothing | Self::Twice => None,
        }
    }
}

/// The headers that are signed, and the signature, of one notification in either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedHeaders {
    Jenius(JeniusHeaders),
    Snap(SnapHeaders),
}

/// Of DOKU's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JeniusHeaders {
    pub client_id: String,
    pub request_id: String,
    pub timestamp: String,
    pub signature: String,
}

/// Of the SNAP form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapHeaders {
    /// The account's Client-Id. An RSA signature does not cover it.
    pub partner_id: String,
    pub timestamp: String,
    pub signature: String,
    /// Always there beside an HMAC, which is made over its token.
    pub authorization: Option<String>,
    /// Not signed; for a person who looks a notification up at DOKU.
    pub external_id: Option<String>,
}

impl SnapHeaders {
    /// The bearer token, issued here or by DOKU; empty if there is none.
    pub fn token(&self) -> &str {
        const SCHEME: &str = "Bearer ";
        let whole = self.authorization.as_deref().unwrap_or_default();
        let scheme = whole.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        scheme.map_or(whole, |scheme| whole[scheme.len()..].trim_start())
    }
}

/// A header that is missing, comes twice, or is nothing that DOKU writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing, comes twice or is unusable")]
pub struct MissingHeader(pub &'static str);

/// Why a notification is not believed. Its sender learns no more than that it is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthentic {
    #[error("no account here has the Client-Id it names")]
    ClientIdUnknown,
    #[error("no key that may sign it signed it for a configured path")]
    SignatureWrong,
    #[error("its bearer token is not one of ours, or has ended")]
    TokenWrong,
}

/// Who signed a notification that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// A key of this merchant's: it speaks for the merchant's orders.
    Merchant(MerchantName),
    /// DOKU's own RSA key. The account is only named beside the signature: anybody could have named another.
    Doku { named: MerchantName },
}

impl SignedHeaders {
    /// Reads them through `get`, which finds a header by its name in any letter case.
    pub fn read<'a>(get: impl Fn(&str) -> HeaderOccurrence<'a>) -> Result<Self, MissingHeader> {
        let read = |name: &'static str, bytes_max| {
            get(name).usable(bytes_max).map(str::to_owned).ok_or(MissingHeader(name))
        };
        match Form::from_headers(&get) {
            Form::Jenius => {
                let [client_id, request_id, timestamp, signature] = HEADERS;
                Ok(Self::Jenius(JeniusHeaders {
                    client_id: read(client_id, HEADER_BYTES_MAX)?,
                    request_id: read(request_id, HEADER_BYTES_MAX)?,
                    timestamp: read(timestamp, HEADER_BYTES_MAX)?,
                    signature: read(signature, HEADER_BYTES_MAX)?,
                }))
            }
            Form::Snap => {
                let [partner_id, timestamp, signature] = SNAP_HEADERS;
                let (partner_id, timestamp) =
                    (read(partner_id, HEADER_BYTES_MAX)?, read(timestamp, HEADER_BYTES_MAX)?);
                let signature = read(signature, SNAP_SIGNATURE_BYTES_MAX)?;
                let is_hmac = signature.trim_end_matches('=').len() == HMAC_CHARS;
                let authorization = match get(AUTHORIZATION) {
                    HeaderOccurrence::Nothing if !is_hmac => None,
                    HeaderOccurrence::Nothing | HeaderOccurrence::Once(_) | HeaderOccurrence::Twice => {
                        Some(read(AUTHORIZATION, AUTHORIZATION_BYTES_MAX)?)
                    }
                };
                let external_id = get(EXTERNAL_ID).usable(HEADER_BYTES_MAX).map(str::to_owned);
                Ok(Self::Snap(SnapHeaders { partner_id, timestamp, signature, authorization, external_id }))
            }
        }
    }

    pub fn form(&self) -> Form {
        match self {
            Self::Jenius(_) => Form::Jenius,
            Self::Snap(_) => Form::Snap,
        }
    }

    /// What a person looks the notification up by; it tells no duplicates.
    pub fn request_id(&self) -> &str {
        match self {
            Self::Jenius(headers) => &headers.request_id,
            Self::Snap(headers) => headers.external_id.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads these headers; what is not named is not there.
    fn read(headers: &[(&str, &str)]) -> Result<SignedHeaders, MissingHeader> {
        let of = |name: &str| {
            HeaderOccurrence::from_values(
                headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| Some(*value)),
            )
        };
        SignedHeaders::read(of)
    }

    fn hmac() -> String {
        format!("{}==", "A".repeat(HMAC_CHARS))
    }

    #[test]
    fn every_signed_header_of_either_form_must_be_there_once_and_usable() {
        let (long, longer) = ("x".repeat(HEADER_BYTES_MAX + 1), "x".repeat(AUTHORIZATION_BYTES_MAX + 1));
        let hmac = hmac();
        let own: Vec<(&str, &str)> =
            HEADERS.map(|name| (name, if name == "Signature" { "HMACSHA256=x" } else { "x" })).to_vec();
        let mut snap: Vec<(&str, &str)> = SNAP_HEADERS.map(|name| (name, "x")).to_vec();
        snap[2].1 = hmac.as_str();
        snap.push((AUTHORIZATION, "Bearer x"));
        for good in [own, snap] {
            assert!(read(&good).is_ok());
            for at in 0..good.len() {
                let name = good[at].0;
                let without: Vec<_> = good.iter().copied().filter(|(n, _)| *n != name).collect();
                // Without the one signature it is the other form, or none at all.
                let is_signature = name.to_ascii_uppercase().ends_with("SIGNATURE");
                assert!(read(&without).is_err(), "{name}");
                for bad in ["", "a\nb", "a\0", long.as_str(), longer.as_str()] {
                    if is_signature || (name == AUTHORIZATION && bad == long) {
                        continue;
                    }
                    let with: Vec<_> = without.iter().copied().chain([(name, bad)]).collect();
                    assert_eq!(read(&with).unwrap_err().0, name, "{name}: {bad:?}");
                }
                let twice: Vec<_> = good.iter().copied().chain([good[at]]).collect();
                assert_eq!(read(&twice).unwrap_err().0, if name == "Signature" { HEADERS[3] } else { name });
            }
        }
    }

    #[test]
    fn dokus_own_signature_decides_the_form() {
        fn form(signature: &[&str], snap: &[&str]) -> Form {
            Form::from_headers(|name| match name {
                "Signature" => HeaderOccurrence::from_values(signature.iter().map(|value| Some(*value))),
                "X-SIGNATURE" => HeaderOccurrence::from_values(snap.iter().map(|value| Some(*value))),
                _ => HeaderOccurrence::Nothing,
            })
        }
        for (signature, snap, expected) in [
            (&["HMACSHA256=x"][..], &[][..], Form::Jenius),
            (&["HMACSHA256=x"], &["y"], Form::Jenius),
            (&["HMACSHA256=x", "z"], &["y"], Form::Jenius),
            (&["z"], &["y"], Form::Snap),
            (&["z"], &[], Form::Jenius),
            (&[], &[], Form::Jenius),
            (&[], &["y"], Form::Snap),
            (&[], &["y", "y"], Form::Snap),
        ] {
            assert_eq!(form(signature, snap), expected, "{signature:?} {snap:?}");
        }
    }

    #[test]
    fn an_rsa_signature_needs_no_token() {
        let rsa = "A".repeat(344);
        let headers = [("X-PARTNER-ID", "x"), ("X-TIMESTAMP", "x"), ("X-SIGNATURE", rsa.as_str())];
        assert!(read(&headers).is_ok());
        let tokens = [("Bearer a.b", "a.b"), ("bearer  a", "a"), ("a.b", "a.b"), ("Bearer", "Bearer")];
        for (authorization, token) in tokens {
            let with = [headers.as_slice(), &[(AUTHORIZATION, authorization)]].concat();
            let Ok(SignedHeaders::Snap(read)) = read(&with) else { panic!("{authorization}") };
            assert_eq!(read.token(), token, "{authorization}");
        }
    }
}
