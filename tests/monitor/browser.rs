//! The dashboard in a real browser: Chromium without a window, driven over its debugging pipe.
//!
//! `MIDGE_CHROMIUM` names the browser; otherwise it is looked for where Debian puts it. Without it the
//! test is skipped, and fails when `CI` is `true`. With `MIDGE_WRITE_SCREENSHOT` set the pictures in `docs`
//! are taken anew.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::{Client, Server, eventually, midge, skip};

/// A browser that takes longer to answer than this has died.
const PATIENCE: Duration = Duration::from_secs(60);

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("MIDGE_CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from);
    let found = named
        .into_iter()
        .chain(usual)
        .find(|program| program.is_file());
    if found.is_none() {
        skip("there is no Chromium");
    }
    found
}

/// A running browser with one page.
struct Browser {
    child: Child,
    requests: File,
    answers: mpsc::Receiver<Value>,
    last: u64,
    session: Option<String>,
    /// What the page has complained about.
    complaints: Vec<String>,
    _home: tempfile::TempDir,
}

impl Browser {
    fn start(program: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let pipes = ["requests", "answers"].map(|name| home.path().join(name));
        let made = Command::new("mkfifo").args(&pipes).status().unwrap();
        assert!(made.success());
        // The browser reads requests from descriptor 3 and writes answers to 4.
        let script = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
                      --no-first-run --remote-debugging-pipe --user-data-dir=\"$1/profile\" \
                      about:blank 3<\"$1/requests\" 4>\"$1/answers\"";
        let child = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(program)
            .arg(home.path())
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = File::options().write(true).open(&pipes[0]).unwrap();
        let answers = File::open(&pipes[1]).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in BufReader::new(answers).split(0).map_while(Result::ok) {
                let answer = serde_json::from_slice(&answer).unwrap();
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            requests,
            answers: receiver,
            last: 0,
            session: None,
            complaints: Vec::new(),
            _home: home,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in [
            "Page.enable",
            "Runtime.enable",
            "Log.enable",
            "Network.enable",
        ] {
            browser.call(domain, json!({}));
        }
        browser
    }

    /// Calls a method and waits for its result.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut text = serde_json::to_vec(&request).unwrap();
        text.push(0);
        self.requests.write_all(&text).unwrap();
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).unwrap();
            if answer["id"] == self.last {
                assert_eq!(answer.get("error"), None, "{method}");
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    /// Notes errors, and requests that leave the server.
    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        let text = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => parameters["exceptionDetails"].to_string(),
            "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
                parameters["entry"].to_string()
            }
            "Network.requestWillBeSent" => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                let is_inside = ["http://127.0.0.1:", "data:", "about:"]
                    .iter()
                    .any(|start| url.starts_with(start));
                if is_inside {
                    return;
                }
                url.to_owned()
            }
            _ => return,
        };
        self.complaints.push(text);
    }

    /// The value of an expression in the page.
    fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let result = self.call("Runtime.evaluate", parameters);
        assert_eq!(result.get("exceptionDetails"), None, "{expression}");
        result["result"]["value"].clone()
    }

    fn show(&mut self, width: u32, height: u32, is_phone: bool, scheme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media);
    }

    /// A picture of the page, kept in `docs` if that is asked for.
    fn picture(&mut self, name: &str) -> Vec<u8> {
        let result = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let picture = data_encoding::BASE64.decode(result["data"].as_str().unwrap().as_bytes());
        let picture = picture.unwrap();
        if std::env::var_os("MIDGE_WRITE_SCREENSHOT").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("docs")
                .join(name);
            std::fs::write(path, &picture).unwrap();
        }
        picture
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Traffic that makes pictures worth looking at.
fn load(server: SocketAddr, stop: &mpsc::Receiver<()>) {
    let mut clients: Vec<Client> = Vec::new();
    for (index, name) in ["orders", "billing", "<img src=x onerror=fail()>", "metrics"]
        .iter()
        .enumerate()
    {
        let options = format!(
            r#""user":"shop","pass":"shop","name":"{name}","lang":"rust","version":"0.{index}""#
        );
        let mut client = Client::connect(server, &options);
        client.send("SUB orders.* 1\r\nSUB bills.> 2\r\n");
        clients.push(client);
    }
    let mut publisher = Client::connect(
        server,
        r#""user":"shop","pass":"shop","name":"web","lang":"go""#,
    );
    let mut step = 0_u32;
    while stop.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
        step += 1;
        let count = 20 + (step / 10 * 7) % 13 * 5;
        publisher.send(&"PUB orders.new 12\r\nhello, world\r\n".repeat(count as usize));
        publisher.flush();
        clients.iter_mut().for_each(Client::flush);
    }
}

#[test]
fn the_dashboard_shows_the_server_in_a_browser() {
    let Some(program) = chromium() else { return };
    let server = Server::start(
        &midge(),
        "server_name: harbour-1\ntop_subjects: 10\naccounts: {shop: {users: [{user: shop, password: shop}]}}\n",
    );
    let (stop, stopped) = mpsc::channel();
    let clients = server.clients;
    let load = std::thread::spawn(move || load(clients, &stopped));
    let mut browser = Browser::start(&program);
    browser.show(1200, 1000, false, "light");
    let url = format!("http://{}/", server.monitoring);
    browser.call("Page.navigate", json!({"url": url}));
    eventually("the name of the server", || {
        browser.evaluate("document.getElementById('name')?.textContent") == "harbour-1"
    });
    let text = "document.body.innerText";
    for words in [
        "healthy",
        "billing",
        "<img src=x",
        "shop",
        "messages in /s",
        "orders.new",
        "none",
    ] {
        eventually(words, || {
            let shown = browser.evaluate(text);
            shown.as_str().is_some_and(|shown| shown.contains(words))
        });
    }
    eventually("charts with some seconds", || {
        browser.evaluate("rates.points() >= 8") == true
    });
    clicks_sort_connections(&mut browser);
    assert!(browser.picture("dashboard.png").len() > 10_000);
    is_readable_on_a_phone_in_the_dark(&mut browser);
    assert_eq!(browser.complaints, [""; 0]);
    stop.send(()).unwrap();
    load.join().unwrap();
}

fn clicks_sort_connections(browser: &mut Browser) {
    let sorted = "document.querySelector('#connections th[aria-sort]')?.innerText";
    assert_eq!(browser.evaluate(sorted), "Out");
    let button = "[...document.querySelectorAll('#connections button')]\
                  .find(button => button.textContent === 'In')";
    browser.evaluate(&format!("{button}.click()"));
    eventually("another order", || browser.evaluate(sorted) == "In");
    let first = "document.querySelector('#connections tr:nth-child(2) td').textContent";
    eventually("the publisher first", || browser.evaluate(first) == "web");
}

fn is_readable_on_a_phone_in_the_dark(browser: &mut Browser) {
    let background = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(background);
    browser.show(390, 844, true, "dark");
    eventually("the dark", || browser.evaluate(background) != light);
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    eventually("nothing wider than the screen", || {
        browser
            .evaluate(overflow)
            .as_i64()
            .is_some_and(|by| by <= 0)
    });
    assert!(browser.picture("dashboard-phone.png").len() > 5_000);
}
