//! A provider of the test's own: it publishes its page and its keys, takes a code once, and signs for real.

use super::*;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::json;
use std::{
    process::Command,
    sync::{Arc, Mutex},
};

enum Signer {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self::Ec(pair.unwrap())
    }

    fn rsa() -> Self {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
            .output()
            .unwrap();
        // OpenSSL 3 writes PKCS#1 here, others PKCS#8.
        let pair = RsaKeyPair::from_pkcs8(&made.stdout).or_else(|_| RsaKeyPair::from_der(&made.stdout));
        Self::Rsa(pair.unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Self::Rsa(pair) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": text(&parts.n), "e": text(&parts.e)})
            }
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).unwrap();
                signature
            }
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

/// What the provider answers, and what it was asked.
#[derive(Default)]
struct Desk {
    issuer: String,
    keys: Vec<Value>,
    id_token: String,
    asked: Vec<(String, String)>,
}

type SharedDesk = Arc<Mutex<Desk>>;

async fn provider() -> SharedDesk {
    let desk = SharedDesk::default();
    let page = async |State(desk): State<SharedDesk>| {
        let issuer = desk.lock().unwrap().issuer.clone();
        json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize?tenant=pay"),
               "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys")})
        .to_string()
    };
    let keys = async |State(desk): State<SharedDesk>| json!({"keys": desk.lock().unwrap().keys}).to_string();
    let token = async |State(desk): State<SharedDesk>, headers: HeaderMap, body: Bytes| {
        let mut desk = desk.lock().unwrap();
        let basic = headers["authorization"].to_str().unwrap().to_owned();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let is_used = desk.asked.iter().any(|(_, before)| *before == body);
        desk.asked.push((basic, body));
        if is_used {
            return (StatusCode::BAD_REQUEST, "used".to_owned());
        }
        (StatusCode::OK, json!({"id_token": desk.id_token, "token_type": "Bearer"}).to_string())
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(page))
        .route("/keys", get(keys))
        .route("/token", post(token))
        .with_state(Arc::clone(&desk));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    desk.lock().unwrap().issuer = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    desk
}

fn client(desk: &SharedDesk) -> IdentityProvider {
    let auth = OidcAuth {
        issuer: desk.lock().unwrap().issuer.clone(),
        client_id: "console".to_owned(),
        client_secret: "s€cret".into(),
        scopes: vec!["openid".to_owned(), "groups".to_owned()],
        name_claim: "preferred_username".to_owned(),
        groups_claim: "realm.groups".to_owned(),
    };
    IdentityProvider::new(auth, "https://console.test").unwrap()
}

fn login() -> OidcLogin {
    let text = |text: &str| text.to_owned();
    OidcLogin { state: text("state"), nonce: text("nonce"), verifier: text("verifier") }
}

/// Of a person in two groups; `but` replaces claims, null takes one out.
fn claims(desk: &SharedDesk, but: &Value) -> Value {
    let issuer = desk.lock().unwrap().issuer.clone();
    let ends = jsonwebtoken::get_current_timestamp() + 600;
    let mut claims = json!({"iss": issuer, "aud": ["console", "other"], "sub": "1", "exp": ends, "nonce": "nonce",
        "preferred_username": "sari", "realm": {"groups": ["pay-viewer", "pay-decider", 7]}});
    for (name, value) in but.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

async fn identified(
    desk: &SharedDesk,
    client: &IdentityProvider,
    token: String,
) -> Result<IdentifiedPerson, String> {
    {
        let mut desk = desk.lock().unwrap();
        desk.id_token = token;
        desk.asked.clear();
    }
    client.identify(&login(), "code/1").await
}

#[tokio::test]
async fn a_person_is_who_the_provider_signs_for_by_either_kind_of_key() {
    for signer in [Signer::ec(), Signer::rsa()] {
        let desk = provider().await;
        desk.lock().unwrap().keys = vec![signer.jwk("k1")];
        let client = client(&desk);
        let address = Url::parse(&client.login_address(&login()).await.unwrap()).unwrap();
        let query: std::collections::BTreeMap<_, _> = address.query_pairs().into_owned().collect();
        // RFC 7636: the challenge is the SHA-256 of the verifier.
        for (name, value) in [
            ("tenant", "pay"),
            ("response_type", "code"),
            ("client_id", "console"),
            ("redirect_uri", "https://console.test/login/back"),
            ("scope", "openid groups"),
            ("state", "state"),
            ("nonce", "nonce"),
            ("code_challenge", "iMnq5o6zALKXGivsnlom_0F5_WYda32GHkxlV7mq7hQ"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
        let header = json!({"alg": signer.algorithm(), "kid": "k1", "typ": "JWT"});
        let token = signer.token(&header, &claims(&desk, &json!({})));
        let person = identified(&desk, &client, token).await.unwrap();
        assert_eq!(
            (person.subject.as_str(), person.name.as_str(), person.groups),
            ("1", "sari", vec!["pay-viewer".to_owned(), "pay-decider".to_owned()])
        );
        let (basic, body) = desk.lock().unwrap().asked[0].clone();
        assert_eq!(basic, format!("Basic {}", STANDARD.encode("console:s%E2%82%ACcret")));
        assert!(body.contains("code=code%2F1&") && body.ends_with("&code_verifier=verifier"), "{body}");
        assert!(
            client.identify(&login(), "code/1").await.unwrap_err().contains("HTTP 400"),
            "a code is used once"
        );
    }
}

#[tokio::test]
async fn nothing_is_believed_that_is_not_for_this_client_this_login_and_now() {
    let (signer, stranger) = (Signer::ec(), Signer::ec());
    let desk = provider().await;
    desk.lock().unwrap().keys = vec![signer.jwk("k1")];
    let client = client(&desk);
    let header = json!({"alg": "ES256", "kid": "k1"});
    let past = jsonwebtoken::get_current_timestamp() - 120;
    for (but, why) in [
        (json!({"nonce": "another"}), "another login"),
        (json!({"nonce": null}), "another login"),
        (json!({"aud": "other"}), "InvalidAudience"),
        (json!({"aud": null}), "aud"),
        (json!({"iss": "https://evil.test"}), "InvalidIssuer"),
        (json!({"exp": past}), "ExpiredSignature"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "4000000000"}), "exp"),
        (json!({"nbf": past + 600}), "ImmatureSignature"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": "x".repeat(256)}), "sub"),
        (json!({"preferred_username": null}), "preferred_username"),
        (json!({"preferred_username": "a\u{202e}b"}), "preferred_username"),
    ] {
        let fault =
            identified(&desk, &client, signer.token(&header, &claims(&desk, &but))).await.unwrap_err();
        assert!(fault.contains(why) || fault.to_lowercase().contains(&why.to_lowercase()), "{but}: {fault}");
    }
    let good = claims(&desk, &json!({}));
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(good.to_string())
    );
    let mut changed = signer.token(&header, &good);
    changed.replace_range(changed.len() - 2.., "AA");
    for token in [
        stranger.token(&header, &good),
        stranger.token(&json!({"alg": "ES256", "kid": "k2"}), &good),
        signer.token(&json!({"alg": "HS256", "kid": "k1"}), &good),
        signer.token(&json!({"alg": "RS256", "kid": "k1"}), &good),
        none,
        changed,
        "no.token".to_owned(),
    ] {
        let fault = identified(&desk, &client, token.clone()).await.unwrap_err();
        assert!(fault.contains("not believed"), "{token}: {fault}");
    }
    assert!(identified(&desk, &client, signer.token(&header, &good)).await.is_ok(), "and the good one is");
}

#[tokio::test]
async fn a_key_that_is_new_is_asked_for_and_a_provider_of_another_name_is_none() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let desk = provider().await;
    desk.lock().unwrap().keys = vec![old.jwk("k1")];
    let client = client(&desk);
    client.login_address(&login()).await.unwrap();
    desk.lock().unwrap().keys = vec![new.jwk("k2")];
    let token = new.token(&json!({"alg": "ES256", "kid": "k2"}), &claims(&desk, &json!({})));
    assert_eq!(identified(&desk, &client, token).await.unwrap().name, "sari");
    let other = self::client(&desk);
    desk.lock().unwrap().issuer = "https://evil.test".to_owned();
    assert!(other.login_address(&login()).await.unwrap_err().contains("calls itself https://evil.test"));
}

#[tokio::test]
async fn a_provider_that_is_silent_holds_few_who_log_in_and_is_left_alone_for_a_while() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = SharedDesk::default();
    desk.lock().unwrap().issuer = format!("http://{}", silent.local_addr().unwrap());
    let client = Arc::new(client(&desk));
    let waiting: Vec<_> = (0..LOGINS_MAX)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.login_address(&login()).await })
        })
        .collect();
    while client.logins.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = client.login_address(&login()).await.unwrap_err();
    assert!(refused.starts_with("too many log in at once"), "{refused}");
    // Its connection ends: one asked, and all that waited for it hear the same.
    drop(silent);
    for login in waiting {
        let why = login.await.unwrap().unwrap_err();
        assert!(why.starts_with("the provider does not give its configuration"), "{why}");
    }
    assert_eq!(client.logins.available_permits(), LOGINS_MAX);
}

#[tokio::test]
async fn who_begins_keeps_no_place_from_who_comes_back_and_who_comes_back_waits_for_one() {
    let signer = Signer::ec();
    let desk = provider().await;
    desk.lock().unwrap().keys = vec![signer.jwk("k1")];
    let client = Arc::new(client(&desk));
    client.login_address(&login()).await.unwrap();
    let taken = client.logins.acquire_many(u32::try_from(LOGINS_MAX).unwrap()).await.unwrap();
    assert!(client.login_address(&login()).await.is_ok(), "the provider's page is known: no place is needed");
    let token = signer.token(&json!({"alg": "ES256", "kid": "k1"}), &claims(&desk, &json!({})));
    let coming_back = tokio::spawn({
        let (client, desk) = (Arc::clone(&client), Arc::clone(&desk));
        async move { identified(&desk, &client, token).await }
    });
    tokio::task::yield_now().await;
    assert!(!coming_back.is_finished());
    drop(taken);
    assert_eq!(coming_back.await.unwrap().unwrap().name, "sari");
}
