//! What stands around a console in production, of the test's own: a provider (OpenID Connect) whose page is a list of people to log in as, and
//! what ends TLS before the console.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{
        Uri,
        header::{CONTENT_TYPE, HeaderValue},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded;
use uuid::Uuid;

pub const CLIENT_ID: &str = "console";
/// Who works here, and in which groups.
const PEOPLE: [(&str, &[&str]); 2] =
    [("sari", &["pay-viewer", "pay-decider"]), ("budi", &["pay-viewer", "pay-decider", "pay-finance"])];
const ALGORITHM: &ring::signature::EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;

/// A login that is under way.
struct Login {
    person: usize,
    nonce: String,
    challenge: String,
}

struct Provider {
    issuer: String,
    key: EcdsaKeyPair,
    /// By the code that the browser takes back.
    logins: Mutex<HashMap<String, Login>>,
}

type SharedProvider = State<Arc<Provider>>;

/// Starts one, and says how it calls itself.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(ALGORITHM, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(ALGORITHM, document.as_ref(), &random).unwrap();
    let provider = Provider { issuer: issuer.clone(), key, logins: Mutex::default() };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(configuration))
        .route("/keys", get(keys))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .with_state(Arc::new(provider));
    tokio::spawn(async move { axum::serve(listener, router).await });
    issuer
}

async fn configuration(State(provider): SharedProvider) -> String {
    let issuer = &provider.issuer;
    json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
           "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys")})
    .to_string()
}

async fn keys(State(provider): SharedProvider) -> String {
    let point = provider.key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (x, y) = (part(&point[1..33]), part(&point[33..]));
    json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "x": x, "y": y}]}).to_string()
}

fn fields(encoded: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// The page of the provider: who of these is it?
async fn authorize(State(provider): SharedProvider, uri: Uri) -> Response {
    let asked = fields(uri.query().unwrap_or_default().as_bytes());
    assert_eq!((asked["client_id"].as_str(), asked["code_challenge_method"].as_str()), (CLIENT_ID, "S256"));
    let mut page = "<!doctype html><title>Provider</title><h1>Who logs in?</h1>".to_owned();
    for (person, (name, _)) in PEOPLE.iter().enumerate() {
        let code = Uuid::new_v4().to_string();
        let back = [("code", code.as_str()), ("state", &asked["state"])];
        let back = reqwest::Url::parse_with_params(&asked["redirect_uri"], back).unwrap();
        page.push_str(&format!("<p><a href=\"{}\">{name}</a>", back.as_str().replace('&', "&amp;")));
        let (nonce, challenge) = (asked["nonce"].clone(), asked["code_challenge"].clone());
        provider.logins.lock().unwrap().insert(code, Login { person, nonce, challenge });
    }
    ([(CONTENT_TYPE, HeaderValue::from_static("text/html"))], page).into_response()
}

/// The console shows the code, once, and what only the one who began the login knows.
async fn token(State(provider): SharedProvider, body: Bytes) -> String {
    let asked = fields(&body);
    let login = provider.logins.lock().unwrap().remove(&asked["code"]).expect("a code that was given");
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(asked["code_verifier"].as_bytes()));
    assert_eq!(proof, login.challenge);
    let (name, groups) = PEOPLE[login.person];
    let ends = jsonwebtoken::get_current_timestamp() + 600;
    let claims = json!({"iss": provider.issuer, "aud": CLIENT_ID, "sub": name, "exp": ends, "nonce": login.nonce,
                        "preferred_username": name, "groups": groups});
    json!({"id_token": provider.signed(&claims), "token_type": "Bearer"}).to_string()
}

impl Provider {
    fn signed(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "1"})), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Ends TLS before the console, under a name that is not this machine's own. The port it listens on.
pub async fn https(host: &str, folder: &Path, console: SocketAddr) -> u16 {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={host}"), "-keyout"])
        .args([&key, Path::new("-out"), &certificate].map(Path::as_os_str))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = TcpStream::connect(console).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    port
}
