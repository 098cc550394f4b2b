//! A real browser: Debian's chromium behind its chromedriver, spoken to in WebDriver's own JSON. It waits for elements,
//! never for time; what it holds goes with it.

use super::{eventually, http};
use crate::clients::node_tools;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// How the protocol names an element in its JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE_MS: u64 = 60_000;
const README_HEIGHT: u32 = 960;
/// All who clone the repository carry them.
const README_BYTES_MAX: usize = 150_000;
const MISSING: &str = "no chromedriver with chromium: run ./deploy/local/test, or install Debian's packages chromium and \
                       chromium-driver";

pub struct Browser {
    driver: Child,
    session: String,
    profile: PathBuf,
    /// What examines a page, as a text for the page to run.
    examiner: String,
    runs_scripts: AtomicBool,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments of chromium's.
    pub async fn start_with(more: &[String]) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // The browser is in it too: it outlives a driver that is killed.
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(MISSING);
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // It goes on writing: a closed pipe would end it.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect(MISSING);
        let profile = std::env::temp_dir().join(format!("jenius-browser-{}", uuid::Uuid::new_v4().simple()));
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--no-first-run".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--force-prefers-reduced-motion".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        arguments.extend_from_slice(more);
        if nix::unistd::Uid::current().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": PATIENCE_MS, "script": PATIENCE_MS},
        }}});
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let (examiner, runs_scripts) = (examiner().await, AtomicBool::new(true));
        let mut browser = Self { driver, session: driver_url, profile, examiner, runs_scripts };
        let made = browser.send(reqwest::Method::POST, "", Some(wanted)).await;
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        browser
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let value = self.answer(method, path, body.as_ref()).await;
        assert!(value["error"].is_null(), "{path} {body:?}: {} {}", value["error"], value["message"]);
        value
    }

    async fn answer(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let mut request = http().request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["value"].take()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(reqwest::Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send(reqwest::Method::GET, path, None).await
    }

    /// A command of the browser's own protocol.
    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params})).await
    }

    pub async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    pub async fn url(&self) -> String {
        self.get("/url").await.as_str().unwrap().to_owned()
    }

    /// The element that a CSS selector or `=the text of a link or button` names, once it is there.
    async fn element(&self, named: &str) -> String {
        let by = match named.strip_prefix('=') {
            Some(text) => {
                let path =
                    format!("//*[self::a or self::button][normalize-space()='{text}' and not(@disabled)]");
                json!({"using": "xpath", "value": path})
            }
            None => json!({"using": "css selector", "value": named}),
        };
        self.post("/element", by).await[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Asks something of an element, of another one where a page was loaded between finding it and asking.
    async fn ask(&self, named: &str, method: reqwest::Method, what: &str, body: Option<Value>) -> Value {
        loop {
            let path = format!("/element/{}/{what}", self.element(named).await);
            let answer = self.answer(method.clone(), &path, body.as_ref()).await;
            if answer["error"] != "stale element reference" {
                assert!(
                    answer["error"].is_null(),
                    "{named} {what}: {} {}",
                    answer["error"],
                    answer["message"]
                );
                return answer;
            }
        }
    }

    pub async fn click(&self, named: &str) {
        self.ask(named, reqwest::Method::POST, "click", Some(json!({}))).await;
    }

    /// Clicks what leads to another page and waits until this one is gone: who opens a page while a form is being sent takes
    /// the form back.
    pub async fn leave_by(&self, named: &str) {
        let page = format!("/element/{}/name", self.element("html").await);
        self.click(named).await;
        eventually("another page", async || {
            let answer = self.answer(reqwest::Method::GET, &page, None).await;
            (!answer["error"].is_null()).then_some(())
        })
        .await;
    }

    pub async fn write(&self, named: &str, text: &str) {
        self.ask(named, reqwest::Method::POST, "value", Some(json!({"text": text}))).await;
    }

    pub async fn text(&self, named: &str) -> String {
        self.ask(named, reqwest::Method::GET, "text", None).await.as_str().unwrap().to_owned()
    }

    /// Waits until the page's only h1 says this.
    pub async fn is_at(&self, title: &str) {
        let path = format!("//h1[contains(normalize-space(), \"{title}\")]");
        self.post("/element", json!({"using": "xpath", "value": path})).await;
    }

    /// Presses keys, whatever has the focus.
    pub async fn press(&self, keys: &str) {
        let presses = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({"type": what, "value": key.to_string()})));
        let actions =
            json!({"actions": [{"type": "key", "id": "keys", "actions": presses.collect::<Vec<_>>()}]});
        self.post("/actions", actions).await;
    }

    /// Whether the pages' own script runs.
    pub async fn run_scripts(&self, runs: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !runs})).await;
        self.runs_scripts.store(runs, Relaxed);
    }

    pub async fn in_the_dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn is_wide(&self, width: u32) {
        let size = json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// How much wider the page is than what shows it.
    pub async fn overhang(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.post("/execute/sync", json!({"script": script, "args": []})).await.as_i64().unwrap()
    }

    /// What axe finds against the page as it is shown now, a line each. It is no part of the page: it runs where the page's own script
    /// does not.
    pub async fn faults(&self) -> Vec<String> {
        let runs = self.runs_scripts.load(Relaxed);
        self.run_scripts(true).await;
        let found = self.post("/execute/async", json!({"script": self.examiner, "args": []})).await;
        self.run_scripts(runs).await;
        found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// The whole page as a picture, if pictures are wanted.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = pictures() else { return };
        let bytes = self.shot(json!({"format": "png", "captureBeyondViewport": true})).await;
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Renews README's picture of this name, if there is one and JENIUS_WRITE_PICTURES is set.
    pub async fn show_in_readme(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/pictures/{name}.png"));
        if std::env::var_os("JENIUS_WRITE_PICTURES").is_none() || !path.exists() {
            return;
        }
        let clip = json!({"x": 0, "y": 0, "width": 1280, "height": README_HEIGHT, "scale": 1});
        let bytes = self.shot(json!({"format": "png", "captureBeyondViewport": true, "clip": clip})).await;
        assert!(bytes.len() <= README_BYTES_MAX, "{name} has {} bytes", bytes.len());
        std::fs::write(path, bytes).unwrap();
    }

    async fn shot(&self, params: Value) -> Vec<u8> {
        let shot = self.devtools("Page.captureScreenshot", params).await;
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// What the browser complained about: what a policy refused, scripts that failed. A page that is refused on purpose is
    /// complained about too, with its status.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        let texts = log.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned());
        texts.filter(|text| !text.contains("the server responded with a status of 4")).collect()
    }

    pub async fn end(mut self) {
        self.send(reqwest::Method::DELETE, "", None).await;
        self.is_over();
    }

    fn is_over(&mut self) {
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The folder that JENIUS_TEST_PICTURES names.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("JENIUS_TEST_PICTURES").map(PathBuf::from)
}

pub fn wants_pictures() -> bool {
    pictures().is_some()
}

/// axe-core, and what asks it.
async fn examiner() -> String {
    let folder = node_tools("tests/axe").await;
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
    format!("{}\n{}", read("node_modules/axe-core/axe.min.js"), read("examine.js"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.is_over();
    }
}
