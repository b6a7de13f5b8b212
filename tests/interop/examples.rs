//! The examples that people start from run as they are.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::peer::installed;
use crate::probe::wait_for_interest;
use crate::process::wait_for_exit;
use crate::server::Server;

/// Time for one example to end.
const EXAMPLE_DEADLINE: Duration = Duration::from_secs(60);

/// Starts one of the Python examples.
fn start(python: &Path, server: &Server, name: &str) -> Child {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/python")
        .join(name);
    let mut command = Command::new(python);
    command.arg("-B").arg(example).env("NATS_URL", server.url());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("Python starts")
}

/// Waits for an example's end and returns what it printed; killed when it does not end.
fn finish(mut child: Child) -> String {
    let status = wait_for_exit(&mut child, EXAMPLE_DEADLINE);
    drop(child.kill());
    let output = child.wait_with_output().expect("the output of the example");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}:\n{text}"
    );
    text
}

#[test]
fn python_publish_and_subscribe() {
    let Some(python) = installed("example-python", ".cache/python/bin/python3") else {
        return;
    };
    let server = Server::start(&[], "");
    let subscriber = start(&python, &server, "subscribe.py");
    // Waiting for the subscriber sends it an empty message before all others.
    wait_for_interest(&server, "values");
    let published = finish(start(&python, &server, "publish.py"));
    let shown = finish(subscriber);
    let numbers = |prefix: &str| -> Vec<String> {
        (1..=10).map(|number| format!("{prefix}{number}")).collect()
    };
    assert_eq!(published.lines().collect::<Vec<_>>(), numbers("published "));
    let values: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("values: "))
        .collect();
    assert_eq!(values[0], "values: ");
    assert_eq!(values[1..], numbers("values: "));
}
