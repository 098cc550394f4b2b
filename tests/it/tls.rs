//! Both servers over TLS, with certificates of the story's own: what is trusted works, and what is not is refused
//! with its reason. The trust is the child process's alone (`SSL_CERT_FILE`).

use crate::harness::{
    World,
    child::{Service, one_line},
    eventually, payment,
};
use serde_json::Value;
use std::{path::PathBuf, process::Command};
use uuid::Uuid;

const OPENSSL_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// A PostgreSQL and a RabbitMQ whose certificate is `127.0.0.1`'s, and the authority that signed it.
struct Servers {
    folder: PathBuf,
    said: String,
}

fn script(folder: &PathBuf, arguments: &[&str]) -> String {
    let script = std::env::var("JENIUS_TEST_SERVERS")
        .expect("JENIUS_TEST_SERVERS is not set: run ./deploy/local/test");
    let output = Command::new(script).args(arguments).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Servers {
    async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("jenius-pay-tls-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("tls")).unwrap();
        let mut servers = Self { folder, said: String::new() };
        servers.authority("ca");
        servers.authority("other-ca");
        servers.certificate();
        for arguments in [["start", "--fast", "postgres"].as_slice(), &["start", "rabbitmq"]] {
            let folder = servers.folder.clone();
            servers.said += &tokio::task::spawn_blocking(move || script(&folder, arguments)).await.unwrap();
        }
        servers
    }

    fn openssl(&self, arguments: &[&str]) {
        let output =
            Command::new("openssl").args(arguments).current_dir(self.folder.join("tls")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn authority(&self, name: &str) {
        let (key, certificate, subject) =
            (format!("{name}.key"), format!("{name}.crt"), format!("/CN={name}"));
        let made = ["-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        self.openssl(&[["req"].as_slice(), &OPENSSL_KEY, &made].concat());
    }

    fn certificate(&self) {
        let asked = ["-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"];
        self.openssl(&[["req"].as_slice(), &OPENSSL_KEY, &asked].concat());
        std::fs::write(self.folder.join("tls/names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let signed = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names \
                      -out server.crt";
        self.openssl(&signed.split_whitespace().collect::<Vec<_>>());
    }

    fn said(&self, name: &str) -> &str {
        self.said.lines().find_map(|line| line.strip_prefix(name)).unwrap()
    }

    /// A world whose own clients look on without TLS.
    async fn world(&self) -> World {
        let (database, broker) = (self.said("DATABASE_URL="), self.said("AMQP_URL="));
        World::with().on_database(database).on_broker(broker).without_service().build().await
    }

    /// The service, which reaches both servers at `host` over TLS and trusts one authority.
    fn service(&self, world: &World, host: &str, authority: &str) -> Service {
        let at_host = |url: &str| url.replace("127.0.0.1", host);
        let database = format!("{}?sslmode=verify-full", at_host(world.database.url.as_str()));
        let authority = self.folder.join("tls").join(authority);
        let settings = [
            ("DATABASE_URL", database.as_str()),
            ("AMQP_URL", &at_host(self.said("AMQPS_URL="))),
            ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ];
        Service::start_unready(world, &settings)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for kind in ["postgres", "rabbitmq"] {
            script(&self.folder, &["stop", kind]);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn readyz(service: &Service) -> Option<(u16, Value)> {
    let answer = reqwest::get(format!("http://{}/readyz", service.admin)).await.ok()?;
    Some((answer.status().as_u16(), serde_json::from_str(&answer.text().await.ok()?).ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_goes_over_tls_to_the_broker_and_to_the_database() {
    let servers = Servers::start().await;
    let world = servers.world().await;
    let service = servers.service(&world, "127.0.0.1", "ca.crt");
    eventually("the service to be ready", async || (readyz(&service).await?.0 == 200).then_some(())).await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    let links = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                 WHERE application_name = 'jenius-pay' AND ssl";
    assert!(world.database.count(links).await > 0);
    let open = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                WHERE application_name = 'jenius-pay' AND NOT ssl";
    assert_eq!(world.database.count(open).await, 0);
    drop(service);
    world.end().await;
}

/// The system's authorities stay, so DOKU's certificate is believed as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_of_the_broker_is_believed_beside_the_systems() {
    let servers = Servers::start().await;
    let world = servers.world().await;
    let tls = servers.folder.join("tls");
    let authority = |name: &str| tls.join(name).to_str().unwrap().to_owned();
    let broker = servers.said("AMQPS_URL=").to_owned();
    let start = |ca_file: &str| {
        let more = [("AMQP_URL", broker.as_str()), ("JENIUS_PAY__AMQP__CA_FILE", ca_file)];
        // The system's, which do not know the broker's.
        let system = ("SSL_CERT_FILE", &authority("other-ca.crt") as &str);
        Service::start_unready(&world, &[more.as_slice(), &[system]].concat())
    };
    let service = start(&authority("ca.crt"));
    eventually("the service to be ready", async || (readyz(&service).await?.0 == 200).then_some(())).await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    drop(service);
    // Another authority is of no help, and what would be is told.
    let service = start(&authority("other-ca.crt"));
    let told = async || {
        let ready = readyz(&service).await?.1;
        let detail = ready["dependencies"]["broker"]["detail"].as_str()?.to_owned();
        (detail.contains("UnknownIssuer") && detail.contains("amqp.ca_file")).then_some(())
    };
    eventually("/readyz to name amqp.ca_file", told).await;
    drop(service);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_stranger_or_for_another_name_is_refused_and_readyz_says_why() {
    let servers = Servers::start().await;
    let world = servers.world().await;
    for (host, authority, why) in
        [("127.0.0.1", "other-ca.crt", "UnknownIssuer"), ("localhost", "ca.crt", "not valid for name")]
    {
        let mut service = servers.service(&world, host, authority);
        let refused = async || {
            let (status, ready) = readyz(&service).await?;
            assert_eq!(status, 503, "{ready}");
            let says = |dependency: &str| {
                let detail = ready["dependencies"][dependency]["detail"].as_str().unwrap().to_owned();
                detail.contains("certificate") && detail.contains(why)
            };
            (says("broker") && says("postgres")).then_some(())
        };
        eventually(&format!("/readyz to say {why} of both"), refused).await;
        let live = reqwest::get(format!("http://{}/livez", service.admin)).await.unwrap();
        assert_eq!(live.status().as_u16(), 200);
        assert!(service.is_running(), "{}", service.log());
    }
    world.end().await;
}

/// The trust is the database's alone, and the system's authorities stay: nothing is set for the whole process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_is_named_for_the_database_alone() {
    let servers = Servers::start().await;
    let mut world = servers.world().await;
    let database = format!("{}?sslmode=verify-full", world.database.url);
    let authority = |name: &str| servers.folder.join("tls").join(name).to_str().unwrap().to_owned();
    world.settings.insert("DATABASE_URL".to_owned(), database);
    let unknown = Service::start_unready(&world, &[]);
    let refused = async || {
        let (_, ready) = readyz(&unknown).await?;
        let detail = ready["dependencies"]["postgres"]["detail"].as_str()?.to_owned();
        detail.contains("database.ca_file").then_some(())
    };
    eventually("/readyz to say what to name", refused).await;
    drop(unknown);
    world.settings.insert("JENIUS_PAY__DATABASE__CA_FILE".to_owned(), authority("ca.crt"));
    let service = Service::start(&world).await;
    let invoice = world.invoice();
    world.publish(&payment(&invoice)).await;
    world.event(&invoice, "order.paid").await;
    let doctor = crate::harness::child::run(&world, &["doctor", "--all"], "").await;
    let said = one_line(&doctor.stdout);
    assert!(said.contains("the server's certificate is checked"), "{said}");
    drop(service);
    world.settings.insert("DATABASE_URL".to_owned(), world.database.url.to_string());
    world.end().await;
}
