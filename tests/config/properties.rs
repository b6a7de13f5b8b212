//! Whatever is written, nothing panics; and random files mean what nats-server makes of them.

use std::ffi::OsString;

use midge::cli;
use midge::config::parse::{parse_text, parse_value};
use midge::config::{load_text, load_unsupported};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::oracle::{
    environment, load_file_unsupported, nats_server, test_with_nats_server, write,
};

/// Pieces that files are made of, whole and broken.
const PIECES: &[&str] = &[
    "port",
    "host",
    "listen",
    "authorization",
    "users",
    "user",
    "password",
    "token",
    "accounts",
    "exports",
    "imports",
    "service",
    "stream",
    "mappings",
    "tls",
    "cluster",
    "routes",
    "server_tags",
    "ping_interval",
    "max_payload",
    "server_metadata",
    "include",
    "x",
    "a.b.>",
    ":",
    "=",
    " ",
    "\n",
    "\r\n",
    "\t",
    ",",
    ";",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\n)\n",
    "'",
    "\"",
    "\\",
    "\\n",
    "\\x41",
    "\\xff",
    "#",
    "//",
    "/",
    "$",
    "$x",
    "$TEXT",
    "$NUMBER",
    "$CYCLE",
    "true",
    "off",
    "0",
    "-1",
    "10",
    "1k",
    "1kb",
    "1kbb",
    "1.5",
    "1.",
    ".5",
    "-",
    "127.0.0.1:4222",
    "2016-05-04T18:53:41Z",
    "10s",
    "1m",
    "9999999999999999999",
    "\u{feff}",
    "\u{e9}",
    "\u{a0}",
    "\0",
    "%",
];

fn broken_file() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// Does with a text all that is done to a configuration, right or wrong.
fn survive(text: &str) {
    for everything_supported in [false, true] {
        if let Err(mistakes) = load_text(text, "file", everything_supported) {
            assert!(!mistakes.is_empty());
            mistakes
                .iter()
                .for_each(|mistake| drop(mistake.to_string()));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_is_survived(text in ".{0,200}") {
        survive(&text);
    }

    #[test]
    fn broken_files_are_survived(text in broken_file()) {
        survive(&text);
        drop(parse_value(&text, &environment));
    }

    /// The places of mistakes are in the text.
    #[test]
    fn mistakes_have_places_in_the_file(text in broken_file()) {
        let lines = text.split('\n').count();
        for mistake in parse_text(&text, "file", &environment).mistakes {
            let shown = mistake.to_string();
            let mut parts = shown.split(':');
            prop_assert_eq!(parts.next(), Some("file"));
            let line: usize = parts.next().unwrap().parse().unwrap();
            prop_assert!((1..=lines).contains(&line), "{}", shown);
        }
    }

    #[test]
    fn any_arguments_are_survived(arguments in vec(argument(), 0..8)) {
        let arguments = std::iter::once("midge".to_owned()).chain(arguments).map(OsString::from);
        drop(cli::parse(arguments, &|_| None));
    }

    #[test]
    fn any_assignment_is_survived(key in "[a-z_.]{0,30}", value in broken_file()) {
        let layers = midge::config::Layers {
            assignments: vec![(key, value.clone()), ("authorization.users".to_owned(), value.clone()),
                ("accounts".to_owned(), value.clone()), ("cluster.routes".to_owned(), value)],
            ..midge::config::Layers::default()
        };
        drop(load_unsupported(&layers, &environment));
    }
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        select(
            &[
                "-p",
                "--port",
                "-DV",
                "-D=false",
                "--user",
                "-C",
                "--cluster",
                "--routes",
                "--tls",
                "--tls=false",
                "--tlscert",
                "-js",
                "-sl",
                "--signal",
                "--completions",
                "-t",
                "-n",
                "-p=1",
                "--",
                "-",
                "---",
                "-=",
                "4222",
                "nats://a:b@c:d",
                "max_payload=1k",
                "a",
                "",
            ][..]
        )
        .prop_map(str::to_owned),
        ".{0,10}",
    ]
}

/// A file in which everything is closed.
fn value(depth: u32) -> BoxedStrategy<String> {
    let scalars = select(
        &[
            "a",
            "a.b.>",
            "\"a b\"",
            "'a b'",
            "10",
            "-10",
            "1k",
            "2MB",
            "1.5",
            "true",
            "off",
            "10s",
            "127.0.0.1:4222",
            "2016-05-04T18:53:41Z",
            "\"\\x41\\n\\\"\"",
            "$TEXT",
            "$NUMBER",
            "$LIST",
            "$BLOCK",
            "nats://a:b@c:1",
            "/a/b",
            "\"\"",
            "1k2",
            "a'",
            "\u{e9}",
            "<&>",
            "(\n a )\n)\n",
        ][..],
    )
    .prop_map(str::to_owned);
    if depth == 0 {
        return scalars.boxed();
    }
    let separator = || select(&[",", ", ", "\n", " ,\n\n ", " # c\n", " // c\n", ",\r\n "][..]);
    let assign = || select(&[": ", " = ", " ", ":", "=", "\n", " :\n"][..]);
    let key = || select(&["a", "b", "c", "\"a\"", "'d e'", "a.*.>", "B"][..]);
    let list = (vec(value(depth - 1), 0..4), separator())
        .prop_map(|(elements, separator)| format!("[ {} ]", elements.join(separator)));
    let entry = (key(), assign(), value(depth - 1)).prop_map(|(k, a, v)| format!("{k}{a}{v}"));
    let block = (
        vec(entry, 0..4),
        prop_oneof![separator(), select(&[";", " ; "][..])],
    )
        .prop_map(|(entries, separator)| format!("{{ {} }}", entries.join(separator)));
    prop_oneof![2 => scalars, 1 => list, 1 => block].boxed()
}

/// Random values are put to nats-server, and read again from what the digest does not tell apart:
/// in a block of their own they are the same values.
#[test]
fn random_values_mean_what_nats_server_makes_of_them() {
    let seed = [7; 32];
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (mut wrong, mut accepted) = (Vec::new(), 0);
    for _ in 0..300 {
        let written = value(3).new_tree(&mut runner).expect("a value").current();
        let text = format!("x: {written}\nport: $x\nport: 4222\n");
        let path = write(folder.path(), "random.conf", &text);
        let ours = load_file_unsupported(&path);
        accepted += usize::from(ours.is_ok());
        let nested = parse_text(&format!("y {{ {text} }}"), "file", &environment);
        if ours.is_ok() != nested.mistakes.is_empty() {
            wrong.push(format!("{written}: only in a block or only outside of it"));
        }
        let Some(server) = nats_server() else {
            continue;
        };
        match (test_with_nats_server(&server, &path), ours) {
            (Ok(theirs), Ok(ours)) if Some(&theirs) == ours.options.config_digest.as_ref() => {}
            (Err(_), Err(_)) => {}
            (theirs, ours) => wrong.push(format!("{written}: {theirs:?} {ours:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        accepted > 150,
        "only {accepted} of 300 values are accepted; the test tests too little"
    );
}
