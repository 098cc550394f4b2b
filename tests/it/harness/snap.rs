//! DOKU's notifications in the SNAP form as a test words them itself: signed with the sandbox's code, never with the
//! product's.

use super::{
    World, eventually, http,
    reports::gateways_event,
    world::{CLIENT_ID, PATH, SECRET_KEY},
};
use doku_sandbox::{
    signature::SecretKey,
    snap::{self, PrivateKey},
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command, sync::OnceLock};
use uuid::Uuid;

pub const STAMP: &str = "2026-01-02T10:04:05+07:00";
/// A bearer token of nobody's.
pub const TOKEN: &str = "a.token";

/// Who signs.
#[derive(Debug, Clone)]
pub enum Signer {
    /// HMAC by this key, over the minified body.
    Key(String),
    /// HMAC by this key, over the body as it is sent.
    KeyOverRaw(String),
    /// RSA by DOKU's key.
    Doku,
}

/// One notification, and how it is signed.
#[derive(Debug, Clone)]
pub struct SnapReport {
    pub partner_id: String,
    pub signer: Signer,
    /// The path that is signed.
    pub signed_path: String,
    pub token: String,
    pub external_id: String,
    pub body: Vec<u8>,
}

impl SnapReport {
    /// The default merchant's, by DOKU's code and with an amount as it is to stand in the JSON.
    pub fn of(invoice: &str, code: &str, amount: &str) -> Self {
        Self::with_body(format!(
            "{{ \"originalPartnerReferenceNo\": {}, \"latestTransactionStatus\": \"{code}\",\n \
             \"amount\": {{\"value\": {amount}, \"currency\": \"IDR\"}},\
             \"additionalInfo\": {{\"channelId\": \"EMONEY_JENIUS_SNAP\", \"note\": \"a  \\\"b\"}} }}\n",
            json!(invoice)
        ))
    }

    pub fn with_body(body: impl Into<Vec<u8>>) -> Self {
        Self {
            partner_id: CLIENT_ID.to_owned(),
            signer: Signer::Key(SECRET_KEY.to_owned()),
            signed_path: PATH.to_owned(),
            token: TOKEN.to_owned(),
            external_id: Uuid::new_v4().as_u128().to_string()[..18].to_owned(),
            body: body.into(),
        }
    }

    /// A success of the amount every order of the stories has.
    pub fn success(invoice: &str) -> Self {
        Self::of(invoice, "00", "\"50000.00\"")
    }

    /// What a virtual account of the merchant's reports.
    pub fn of_virtual_account(invoice: &str) -> Self {
        let body = json!({
            "trxId": invoice, "paymentRequestId": "418075533590", "virtualAccountNo": "   19008",
            "paidAmount": {"value": "50000.00", "currency": "IDR"},
            "additionalInfo": {"channel": "VIRTUAL_ACCOUNT_BANK_CIMB"}
        });
        Self::with_body(body.to_string())
    }

    pub fn by_doku(self) -> Self {
        Self { signer: Signer::Doku, ..self }
    }

    pub fn with_token(self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self }
    }

    fn signature(&self) -> String {
        let hmac = |key: &str, body: &[u8]| {
            snap::sign(&self.signed_path, &self.token, STAMP, body, &SecretKey::new(key))
        };
        let minified = || snap::minify(&String::from_utf8_lossy(&self.body)).into_bytes();
        match &self.signer {
            Signer::Key(key) => hmac(key, &minified()),
            Signer::KeyOverRaw(key) => hmac(key, &self.body),
            Signer::Doku => snap::sign_rsa(&self.signed_path, STAMP, &minified(), &dokus_key()),
        }
    }

    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("X-PARTNER-ID", self.partner_id.clone()),
            ("X-TIMESTAMP", STAMP.to_owned()),
            ("X-SIGNATURE", self.signature()),
            ("X-EXTERNAL-ID", self.external_id.clone()),
            ("CHANNEL-ID", "H2H".to_owned()),
        ];
        if !matches!(self.signer, Signer::Doku) {
            headers.push(("Authorization", format!("Bearer {}", self.token)));
        }
        headers
    }

    /// Posts it, and gives the answer.
    pub async fn post(&self, url: &str) -> reqwest::Result<(u16, Value)> {
        let request = self
            .headers()
            .into_iter()
            .fold(http().post(url), |request, (name, value)| request.header(name, value));
        let answer = request.body(self.body.clone()).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }

    /// As a gateway of the user's own publishes it.
    pub fn event(&self) -> Value {
        gateways_event(
            self.headers().into_iter().map(|(name, value)| (name.to_owned(), json!(value))),
            &self.body,
        )
    }
}

impl World {
    /// Posts a notification in the SNAP form to this world's ingress, as often as it takes to get an answer.
    pub async fn post_snap(&self, report: &SnapReport) -> (u16, Value) {
        let url = format!("{}{PATH}", self.ingress());
        eventually("an answer of the ingress", async || report.post(&url).await.ok()).await
    }

    /// The same, as often as it takes to be taken.
    pub async fn notify_snap(&self, report: &SnapReport) {
        let taken = async || {
            let (status, answer) = self.post_snap(report).await;
            assert!([200, 503].contains(&status), "{status} to a good notification: {answer}");
            (status == 200).then_some(())
        };
        eventually("a notification to be taken", taken).await;
    }

    /// What the token endpoint answers to a request that DOKU signs for this time.
    pub async fn ask_token(&self, client_id: &str, timestamp: &str) -> (u16, Value) {
        let signature = dokus_key().sign(&format!("{client_id}|{timestamp}"));
        self.ask_token_signed(client_id, timestamp, &signature).await
    }

    pub async fn ask_token_signed(&self, client_id: &str, timestamp: &str, signature: &str) -> (u16, Value) {
        let url = format!("{}/authorization/v1/access-token/b2b", self.ingress());
        let ask = async || {
            let request = http()
                .post(&url)
                .header("X-CLIENT-KEY", client_id)
                .header("X-TIMESTAMP", timestamp)
                .header("X-SIGNATURE", signature)
                .body(r#"{"grantType":"client_credentials"}"#);
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            Some((status, serde_json::from_str(&answer.text().await.ok()?).ok()?))
        };
        eventually("an answer to a token request", ask).await
    }
}

/// The files of DOKU's RSA key, private and public: made once for the run.
pub fn key_files() -> &'static (PathBuf, PathBuf) {
    static FILES: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("jenius-pay-doku-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (private, public) = (folder.join("private.pem"), folder.join("public.pem"));
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let (private_name, public_name) = (private.to_str().unwrap(), public.to_str().unwrap());
        let size = "rsa_keygen_bits:2048";
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", size, "-out", private_name]);
        openssl(&["pkey", "-in", private_name, "-pubout", "-out", public_name]);
        (private, public)
    })
}

/// This machine's time: a token request must be fresh.
#[expect(clippy::disallowed_methods, reason = "a test plays DOKU, which has a clock of its own")]
pub fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

pub fn dokus_pem() -> String {
    std::fs::read_to_string(&key_files().0).unwrap()
}

fn dokus_key() -> PrivateKey {
    PrivateKey::read(&dokus_pem()).unwrap()
}
