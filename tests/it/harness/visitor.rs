//! A person at the console, without a browser: what is sent and answered is what a browser sends and is answered.

use super::{World, child::run};
use reqwest::{Client, redirect::Policy};

/// A browser that entered, without the browser.
pub struct Visitor {
    client: Client,
    address: String,
    cookie: String,
}

impl Visitor {
    pub async fn enter(world: &World, roles: &[&str]) -> Self {
        let address = world.app().console_address().unwrap().to_string();
        Self::enter_at(world, address, roles).await
    }

    /// The console of a process of its own.
    pub async fn enter_at(world: &World, address: String, roles: &[&str]) -> Self {
        let mut arguments = vec!["console", "login", "--as", "sari"];
        roles.iter().for_each(|role| arguments.extend(["--role", role]));
        let login = run(world, &arguments, "").await;
        let link = String::from_utf8(login.stdout).unwrap();
        let key = link.trim().rsplit_once("key=").unwrap().1.to_owned();
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let visitor = Self { client, address, cookie: String::new() };
        let entered = visitor.post("/enter", "application/x-www-form-urlencoded", format!("key={key}")).await;
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { cookie, ..visitor }
    }

    pub async fn post(&self, path: &str, kind: &str, body: String) -> reqwest::Response {
        let origin = format!("http://{}", self.address);
        let request = self.client.post(format!("{origin}{path}")).header("origin", &origin).body(body);
        request.header("cookie", &self.cookie).header("content-type", kind).send().await.unwrap()
    }

    /// Sends a form. Where the answer leads, or what it says.
    pub async fn send(&self, path: &str, form: String) -> Result<String, String> {
        led(self.post(path, "application/x-www-form-urlencoded", form).await).await
    }

    pub async fn get(&self, path: &str) -> String {
        let request = self.client.get(format!("http://{}{path}", self.address));
        let answer = request.header("cookie", &self.cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }
}

/// Where an answer leads, or what it says.
pub async fn led(answer: reqwest::Response) -> Result<String, String> {
    match answer.headers().get("location") {
        Some(to) => Ok(to.to_str().unwrap().to_owned()),
        None => Err(answer.text().await.unwrap()),
    }
}
