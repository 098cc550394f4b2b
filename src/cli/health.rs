//! `health`: asks the process beside it whether it lives, for an image that has no other program to ask with.

use crate::{
    config::{Config, RequiredSections, Source},
    http::ask,
};
use anyhow::Context;
use std::process::ExitCode;

/// Not `/readyz`: a process that waits for PostgreSQL must not be replaced for that.
const PATH: &str = "/livez";

pub async fn run(source: &Source<'_>) -> anyhow::Result<ExitCode> {
    let nothing = RequiredSections { database: false, amqp: false, merchants: false };
    let address = Config::load(source, nothing)?.admin_listen;
    let answered =
        ask(address, PATH).await.with_context(|| format!("admin.listen {address}: is `run` up?"))?;
    anyhow::ensure!(
        answered.status == 200,
        "admin.listen {address} answered {} to {PATH}: it is not a living jenius-pay",
        answered.status
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    async fn health_of(address: SocketAddr) -> anyhow::Result<ExitCode> {
        let variable = ("JENIUS_PAY__ADMIN__LISTEN".to_owned(), address.to_string());
        run(&Source::new(None, [variable], |_| Ok(String::new()))).await
    }

    #[tokio::test]
    async fn only_who_answers_200_lives() {
        for (answer, lives) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 200\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("HTTP/1.1 many\r\n\r\n", false),
            ("HTTP/1.1 200", false),
            ("SSH-2.0-x\r\n\r\n", false),
            ("", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let answering = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut asked = String::new();
                // All of it: what is left unread when the connection closes cuts the answer off.
                while !asked.ends_with("\r\n\r\n") {
                    stream.read_line(&mut asked).await.unwrap();
                }
                assert!(asked.starts_with("GET /livez "), "{asked}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (answered, ()) = tokio::join!(health_of(address), answering);
            assert_eq!(answered.is_ok(), lives, "{answer}: {answered:?}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_what_to_do() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = health_of(free).await.unwrap_err().to_string();
        assert_eq!(error, format!("admin.listen {free}: is `run` up?"));
    }
}
