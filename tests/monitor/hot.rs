//! The subjects that are published to most, on every page that tells them.

use crate::http::get;
use crate::servers::{Server, midge};

const CONFIGURATION: &str = r#"
top_subjects: 5
accounts {
  A { users: [{user: a, password: a}] }
  QUIET { top_subjects: 0, users: [{user: quiet, password: quiet}] }
}
no_auth_user: a
"#;

#[test]
fn the_hottest_subjects_are_told() {
    let server = Server::start(&midge(), CONFIGURATION);
    let mut text = String::new();
    for round in 0..20_000 {
        text.push_str("PUB orders.new 5\r\nhello\r\n");
        if round % 4 == 0 {
            text.push_str("PUB orders.paid 2\r\nok\r\n");
        }
        text.push_str(&format!("PUB rare.{round} 1\r\nx\r\n"));
    }
    for user in ["a", "quiet"] {
        let mut client = server.connect(&format!(r#""user":"{user}","pass":"{user}""#));
        client.send(&text);
        client.flush();
    }
    let page = get(server.monitoring, "/subsz?acc=A&top=2").json();
    let top = page["top_subjects"].as_array().unwrap();
    let subjects: Vec<_> = top
        .iter()
        .map(|one| one["subject"].as_str().unwrap())
        .collect();
    assert_eq!(subjects, ["orders.new", "orders.paid"], "{page}");
    for (one, truth) in top.iter().zip([20_000.0, 5_000.0]) {
        assert_eq!(one["account"], "A");
        let msgs = one["msgs"].as_f64().unwrap();
        // Drawn: off by chance, and by what shares its place.
        assert!((0.8..1.2).contains(&(msgs / truth)), "{one}");
        assert!(one["rate"].as_f64().unwrap() > 0.0 && one["bytes"].as_u64().unwrap() > 0);
    }
    let all = get(server.monitoring, "/subsz?top=10").json();
    let all = all["top_subjects"].as_array().unwrap();
    assert!(
        all.len() == 5 && all.iter().all(|one| one["account"] == "A"),
        "{all:?}"
    );
    let metrics = get(server.monitoring, "/metrics").body;
    assert!(
        metrics.contains("midge_top_subject_messages{account=\"A\",subject=\"orders.new\"} "),
        "{metrics}"
    );
    let plain = get(server.monitoring, "/subsz").json();
    assert!(
        plain.get("top_subjects").is_none(),
        "only where it is asked for"
    );
    assert_eq!(get(server.monitoring, "/subsz?top=x").status, 400);
}

#[test]
fn nothing_is_found_out_unless_told_to() {
    let server = Server::start(&midge(), "server_name: quiet");
    let mut client = server.connect(r#""name":"publisher""#);
    client.send(&"PUB orders.new 5\r\nhello\r\n".repeat(1000));
    client.flush();
    let page = get(server.monitoring, "/subsz?top=5").json();
    assert_eq!(page["top_subjects"].as_array().map(Vec::len), Some(0));
    assert!(
        !get(server.monitoring, "/metrics")
            .body
            .contains("top_subject")
    );
}
