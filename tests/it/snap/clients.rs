//! An independent DOKU: its own package for Node signs, and Python where it is at hand. What they sign must verify here.

use super::with_dokus_key;
use crate::{
    clients::{node_tools, printed},
    harness::{
        snap::{STAMP, SnapReport, dokus_pem, now},
        world::{CLIENT_ID, PATH, SECRET_KEY, World},
    },
};
use serde_json::{Value, json};
use std::process::Command;

/// Bodies over which the package and we agree: it prints them anew before it hashes.
fn body(invoice: &str) -> Value {
    json!({
        "originalPartnerReferenceNo": invoice, "latestTransactionStatus": "00", "transactionStatusDesc": "Success",
        "amount": {"value": "50000.00", "currency": "IDR"},
        "additionalInfo": {"channelId": "EMONEY_JENIUS_SNAP", "lineItems": [{"name": "Ayam \"pedas\"  é", "price": 1}]}
    })
}

/// What the signer makes of these jobs, in their order.
async fn signed(program: Vec<String>, jobs: Value) -> Vec<String> {
    let sign = move || {
        let mut command = Command::new(&program[0]);
        printed(command.args(&program[1..]), jobs.to_string().as_bytes())
    };
    serde_json::from_str(&tokio::task::spawn_blocking(sign).await.unwrap()).unwrap()
}

/// Posts a body with a signature that somebody else made.
async fn post(world: &World, token: &str, signature: &str, body: String) -> (u16, Value) {
    let request = crate::harness::http()
        .post(format!("{}{PATH}", world.ingress()))
        .header("X-PARTNER-ID", CLIENT_ID)
        .header("X-TIMESTAMP", STAMP)
        .header("X-SIGNATURE", signature)
        .header("X-EXTERNAL-ID", "418075533589")
        .header("Authorization", format!("Bearer {token}"));
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn play(program: Vec<String>, has_rsa: bool) {
    let world = with_dokus_key().set("DOKU__SNAP__TOKEN", "issued").build().await;
    let now = now().to_rfc3339();
    let token = if has_rsa {
        let job =
            json!([{"kind": "token", "client_id": CLIENT_ID, "timestamp": now, "private_key": dokus_pem()}]);
        let signature = signed(program.clone(), job).await.remove(0);
        world.ask_token_signed(CLIENT_ID, &now, &signature).await
    } else {
        world.ask_token(CLIENT_ID, &now).await
    };
    let token = token.1["accessToken"].as_str().unwrap().to_owned();

    let invoice = world.waiting().await;
    let body = body(&invoice).to_string();
    let job = |kind: &str, key: &str| {
        json!({"kind": kind, "path": PATH, "token": token, "timestamp": STAMP, "body": body, "client_id": CLIENT_ID,
               "secret_key": key, "private_key": dokus_pem()})
    };
    let jobs = json!([job("hmac", SECRET_KEY), job("hmac", "SK-other")]);
    let signatures = signed(program.clone(), jobs).await;
    let (status, answer) = post(&world, &token, &signatures[1], body.clone()).await;
    assert_eq!((status, answer["responseCode"].as_str()), (401, Some("4015600")));
    let (status, answer) = post(&world, &token, &signatures[0], body.clone()).await;
    assert_eq!((status, answer["responseCode"].as_str()), (200, Some("2005600")), "{answer}");
    world.event(&invoice, "order.paid").await;
    if has_rsa {
        // By its own key it says nothing of the account: the package drops all white space before it hashes.
        let plain = String::from_utf8(SnapReport::success(&invoice).body).unwrap().replace("a  \\\"b", "ab");
        let rsa = json!([{"kind": "rsa", "path": PATH, "timestamp": STAMP, "body": plain, "client_id": CLIENT_ID,
                          "private_key": dokus_pem()}]);
        let signature = signed(program, rsa).await.remove(0);
        assert_eq!(post(&world, &token, &signature, plain).await.0, 200);
        assert_eq!(world.notified(&invoice, 2).await[1]["reason"], "not_bound");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dokus_own_package_for_node_gets_a_token_and_its_notification_pays() {
    let folder = node_tools("tests/doku").await;
    play(vec!["node".to_owned(), folder.join("sign.js").display().to_string()], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_python_signs_pays() {
    const SIGN: &str = "
import base64, hashlib, hmac, json, sys
def sign(job):
    body = json.dumps(json.loads(job['body']), separators=(',', ':'), ensure_ascii=False)
    digest = hashlib.sha256(body.encode()).hexdigest()
    text = ':'.join(['POST', job['path'], job['token'], digest, job['timestamp']])
    return base64.b64encode(hmac.new(job['secret_key'].encode(), text.encode(), hashlib.sha512).digest()).decode()
print(json.dumps([sign(job) for job in json.load(sys.stdin)]))
";
    let python = crate::readme_clients::python();
    play([python, "-c", SIGN].map(str::to_owned).to_vec(), false).await;
}
