//! The nats.conf language: what is accepted, as what, and what is refused.
//!
//! A value of any kind can be put to nats-server as a variable, since a key that a variable refers to
//! may have any name: `x: VALUE`, then `port: $x` and, because the last of equal keys counts,
//! `port: 4222`. Its digest then tells whether it read the same values.

use midge::config::parse::{Parsed, parse_text};
use midge::config::value::{Table, Value};

use crate::oracle::{
    environment, load_file_unsupported, nats_server, test_with_nats_server, write,
};

/// Values as they are written, and what they mean: text, int, float, bool, date, list and block are
/// shown as [`show`] does.
const VALUES: &[(&str, &str)] = &[
    // Strings.
    ("foo", "'foo'"),
    ("foo.bar-baz_1", "'foo.bar-baz_1'"),
    ("\"foo bar\"", "'foo bar'"),
    ("'foo bar'", "'foo bar'"),
    ("\"\"", "''"),
    ("''", "''"),
    ("\"a\\tb\\nc\\rd\\\"e\\\\f\"", "'a\tb\nc\rd\"e\\f'"),
    ("\"\\x41\\x7a\"", "'Az'"),
    ("\"\\xc3\\xa9\"", "'\u{e9}'"),
    ("'a\\tb'", "'a\\tb'"),
    ("foo\\tbar", "'foo\tbar'"),
    ("foo\\x41", "'fooA'"),
    ("\"multi\nline\"", "'multi\nline'"),
    ("'multi\nline'", "'multi\nline'"),
    (">", "'>'"),
    ("*", "'*'"),
    ("q.>", "'q.>'"),
    ("_INBOX.>", "'_INBOX.>'"),
    ("/var/log/nats.log", "'/var/log/nats.log'"),
    ("./a/b", "error"),
    ("nats://user:pass@host:4222", "'nats://user:pass@host:4222'"),
    ("localhost:4222", "'localhost:4222'"),
    ("\u{1f680}\u{e9}", "'\u{1f680}\u{e9}'"),
    (
        "eyJ0eXAiOiJqd3QifQ.eyJqdGkiOi-_.AQ",
        "'eyJ0eXAiOiJqd3QifQ.eyJqdGkiOi-_.AQ'",
    ),
    (
        "$2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG",
        "'$2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG'",
    ),
    ("foo'", "'foo'"),
    ("true'", "'true'"),
    ("a=b", "'a=b'"),
    ("a:b", "'a:b'"),
    ("a#b", "'a#b'"),
    ("a//b", "'a//b'"),
    ("a{b", "'a{b'"),
    ("a\"b\"", "'a\"b\"'"),
    ("<&>\u{2028}", "'<&>\u{2028}'"),
    ("truely", "'truely'"),
    ("nope", "'nope'"),
    ("(\n foo\n bar\n)", "'\n foo\n bar\n'"),
    ("(\n a ) b\n ) \n)", "'\n a ) b\n ) \n'"),
    ("(x\n)", "'x\n'"),
    // Numbers.
    ("0", "0"),
    ("10", "10"),
    ("-10", "-10"),
    ("007", "7"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("1k", "1000"),
    ("1K", "1000"),
    ("1kb", "1024"),
    ("1KB", "1024"),
    ("1ki", "1024"),
    ("1KiB", "1024"),
    ("1kIb", "1024"),
    ("2m", "2000000"),
    ("2MB", "2097152"),
    ("2mi", "2097152"),
    ("3g", "3000000000"),
    ("3GiB", "3221225472"),
    ("1t", "1000000000000"),
    ("1TB", "1099511627776"),
    ("1p", "1000000000000000"),
    ("1PiB", "1125899906842624"),
    ("1e", "1000000000000000000"),
    ("1EB", "1152921504606846976"),
    ("-1k", "-1000"),
    ("-2MB", "-2097152"),
    ("1.5", "1.5f"),
    ("-1.5", "-1.5f"),
    ("0.0", "0f"),
    ("1.0", "1f"),
    (
        "123456789012345678901234567890.5",
        "123456789012345680000000000000f",
    ),
    ("100000000000000000000.0", "100000000000000000000f"),
    ("0.000001", "0.000001f"),
    ("0.0000001", "0.0000001f"),
    // What only starts like a number.
    ("10s", "'10s'"),
    ("2m30s", "'2m30s'"),
    ("1k2", "'1k2'"),
    ("1e5", "'1e5'"),
    ("2h30m", "'2h30m'"),
    ("500ms", "'500ms'"),
    ("1ms", "'1ms'"),
    ("1kx", "'1kx'"),
    ("1kbx", "'1kbx'"),
    ("-1kx", "'-1kx'"),
    ("1_000", "'1_000'"),
    ("0x10", "'0x10'"),
    ("1/2", "'1/2'"),
    ("1#2", "'1#2'"),
    ("127.0.0.1", "'127.0.0.1'"),
    ("127.0.0.1:4222", "'127.0.0.1:4222'"),
    ("127.0.0.1:-1", "'127.0.0.1:-1'"),
    ("1.2.3-4", "'1.2.3-4'"),
    ("4222:4222", "'4222:4222'"),
    // Booleans.
    ("true", "true"),
    ("TRUE", "true"),
    ("Yes", "true"),
    ("on", "true"),
    ("false", "false"),
    ("no", "false"),
    ("OFF", "false"),
    ("\"true\"", "'true'"),
    ("'on'", "'on'"),
    // Dates.
    ("2016-05-04T18:53:41Z", "@2016-05-04T18:53:41Z"),
    ("2024-02-29T00:00:00Z", "@2024-02-29T00:00:00Z"),
    ("0000-01-01T00:00:00Z", "@0000-01-01T00:00:00Z"),
    ("2023-02-29T00:00:00Z", "error"),
    ("2016-13-04T18:53:41Z", "error"),
    ("2016-05-04T24:00:00Z", "error"),
    ("2016-05-04T18:53:60Z", "error"),
    ("2016-05-04T18:53:41", "error"),
    ("2016-05-04", "error"),
    ("12-3", "error"),
    // Lists.
    ("[]", "[]"),
    ("[ ]", "[]"),
    ("[a]", "['a']"),
    ("[a, b]", "['a' 'b']"),
    ("[a,b,]", "['a' 'b']"),
    ("[\n a\n b\n]", "['a' 'b']"),
    ("[\n a,\n\n b,\n]", "['a' 'b']"),
    ("[ 1, 2 ]", "[1 2]"),
    ("[1,2,3 ]", "[1 2 3]"),
    ("[ 1k, 2.5, true, 'x', \"y\" ]", "[1000 2.5f true 'x' 'y']"),
    ("[ a # one\n b // two\n # three\n c]", "['a' 'b' 'c']"),
    ("[[a], [b, [c]]]", "[['a'] ['b' ['c']]]"),
    ("[{a: b}, {c: d}]", "[{a='b'} {c='d'}]"),
    ("[{a: b}\n{c: d}]", "[{a='b'} {c='d'}]"),
    ("[\"a\" / 'b']", "['a' 'b']"),
    ("[\r\n a\r\n]", "['a']"),
    ("[a b]", "error"),
    ("[,a]", "error"),
    ("[a,,b]", "error"),
    ("[a;b]", "error"),
    ("[/a]", "error"),
    ("[a}", "error"),
    ("[a", "error"),
    ("[", "error"),
    ("[ (\nx\n)\n]", "['\nx\n']"),
    // Blocks.
    ("{}", "{}"),
    ("{ }", "{}"),
    ("{a: 1}", "{a=1}"),
    ("{a 1}", "{a=1}"),
    ("{a=1}", "{a=1}"),
    ("{a: 1, b: 2}", "{a=1 b=2}"),
    ("{a: 1; b: 2;}", "{a=1 b=2}"),
    ("{a: 1\n b: 2\n}", "{a=1 b=2}"),
    ("{\n a\n 1\n b:\n 2\n}", "{a=1 b=2}"),
    ("{a: 1, a: 2}", "{a=2}"),
    ("{\"a b\": 1, 'c d': 2}", "{a b=1 c d=2}"),
    ("{a.b.>: c}", "{a.b.>='c'}"),
    ("{a { b { c: d } } }", "{a={b={c='d'}}}"),
    ("{a {b: 1}, c: 2}", "{a={b=1} c=2}"),
    ("{ # one\n a: 1 # two\n // three\n b: 2 }", "{a=1 b=2}"),
    ("{/a: 1}", "{a=1}"),
    ("{a: 1 / b: 2}", "{a=1 b=2}"),
    ("{,a: 1}", "{,a=1}"),
    ("{a: true}", "{a=true}"),
    ("{a: on, b: [c]}", "{a=true b=['c']}"),
    ("{a: \"}\"}", "{a='}'}"),
    ("{a: -1}", "{a=-1}"),
    ("{a: 1.5}", "{a=1.5f}"),
    ("{a: 127.0.0.1}", "{a='127.0.0.1'}"),
    ("{a: ''}", "{a=''}"),
    ("{a: ,}", "error"),
    ("{a b c}", "error"),
    ("{a: [b}", "error"),
    ("{: 1}", "error"),
    ("{]: 1}", "error"),
    ("{a: 1", "error"),
    ("{a", "error"),
    ("{", "error"),
    ("{'a", "error"),
    ("{\"a", "error"),
    // Variables.
    ("$TEXT", "'hello'"),
    ("$NUMBER", "4333"),
    ("$QUOTED", "'two words'"),
    ("$LIST", "['a' 'b']"),
    ("$BLOCK", "{a=1000}"),
    ("$EMPTY", "''"),
    ("[$TEXT, $NUMBER]", "['hello' 4333]"),
    ("{a: 1, b: $a}", "{a=1 b=1}"),
    ("{a: 1, b {c: $a}}", "{a=1 b={c=1}}"),
    ("{a: 1, b {a: 2, c: $a}}", "{a=1 b={a=2 c=2}}"),
    ("{a: 1, b [ $a ]}", "{a=1 b=[1]}"),
    ("{b {a: 1}, c: $a}", "error"),
    ("{b: $a, a: 1}", "error"),
    ("\"$TEXT\"", "'$TEXT'"),
    ("'$TEXT'", "'$TEXT'"),
    ("$TEXT'", "'$TEXT'"),
    ("$MISSING", "error"),
    ("$CYCLE", "error"),
    ("$x", "error"),
    ("$", "error"),
    // Mistakes.
    ("", "error"),
    ("# comment", "error"),
    ("\"\\q\"", "error"),
    ("\"\\x4\"", "error"),
    ("\"\\xzz\"", "error"),
    ("a\\qb", "error"),
    (".5", "error"),
    ("1.", "error"),
    ("1.x", "error"),
    ("-", "error"),
    ("-x", "error"),
    ("-.5", "error"),
    ("1.5x", "error"),
    ("-10x", "error"),
    ("9223372036854775808", "error"),
    ("-9223372036854775809", "error"),
    ("two words", "error"),
    ("a, b: c", "'a'"),
    ("(\nfoo", "error"),
    ("(\n foo )\n", "error"),
];

/// Where this reader differs from nats-server on purpose: what it makes of the value, and why.
const DIFFERENT_VALUES: &[(&str, &str, &str)] = &[
    (
        "[10]",
        "[10]",
        "nats-server takes the bracket for a part of the number and fails",
    ),
    (
        "[1,2]",
        "[1 2]",
        "nats-server takes the bracket for a part of the number and fails",
    ),
    ("[1k]", "[1000]", "nats-server makes it a string"),
    ("10000000000g", "error", "nats-server wraps around"),
];

/// Files that nats-server takes for something else than what they say, and that are refused here.
const REFUSED_HERE_ONLY: &[(&str, &str)] = &[
    (
        "port: 1kbb\nhost: a",
        "nats-server drops a key with a suffix that means nothing",
    ),
    (
        "port: 1kii\nhost: a",
        "nats-server drops a key with a suffix that means nothing",
    ),
    (
        "port: 4222\nserver_tags: [\"",
        "nats-server drops a list with an unclosed string at the end",
    ),
    (
        "port: 4222\nserver_tags: ['",
        "nats-server drops a list with an unclosed string at the end",
    ),
    (
        "port: 4222\nserver_tags: [\n a\n \"",
        "nats-server drops a list with an unclosed string at the end",
    ),
    (
        "port: 4222\naccounts: 5",
        "nats-server ignores accounts that are neither names nor blocks",
    ),
    ("port: 70000", "nats-server fails later, when it listens"),
    (
        "max_payload: 2MB\nmax_pending: 1MB",
        "nats-server fails later, when it starts",
    ),
    (
        "lame_duck_grace_period: \"3m\"",
        "nats-server fails later, when it starts",
    ),
    (
        "no_auth_user: nobody",
        "nats-server fails later, when it starts",
    ),
];

/// Whole files that are accepted, with what they mean.
const FILES: &[(&str, &str)] = &[
    ("port: 4222", "{port=4222}"),
    ("port = 4222", "{port=4222}"),
    ("port 4222", "{port=4222}"),
    ("port\n4222", "{port=4222}"),
    ("port:4222", "{port=4222}"),
    ("port=4222;debug=true", "{port=4222 debug=true}"),
    ("port: 4222, debug: true", "{port=4222 debug=true}"),
    ("port: 4222\r\ndebug: true\r\n", "{port=4222 debug=true}"),
    ("\"port\": 4222\n'debug': true", "{port=4222 debug=true}"),
    ("PORT: 4222\nDebug: true", "{PORT=4222 Debug=true}"),
    ("port: 1\nport: 2", "{port=2}"),
    ("# a\n// b\nport: 4222 # c\n# d", "{port=4222}"),
    ("port: 4222 // c\n", "{port=4222}"),
    ("port: 4222 /\n", "{port=4222}"),
    ("  \t\n\n port: 4222 \n\n", "{port=4222}"),
    (
        "{ \"port\": 4222, \"debug\": true }",
        "{port=4222 debug=true}",
    ),
    ("{\"port\": 4222\n}", "{port=4222}"),
    (
        "{\n  \"port\": 4222,\n  \"authorization\": { \"users\": [ { \"user\": \"a\", \"password\": \"b\" } ] }\n}\n",
        "{port=4222 authorization={users=[{user='a' password='b'}]}}",
    ),
    ("{ port: 4222 } debug: true", "{port=4222 debug=true}"),
    ("{}\nport: 4222", "{port=4222}"),
    ("{ { port: 4222 } }", "{port=4222}"),
    ("{ # a\n port: 4222 // b\n }", "{port=4222}"),
    ("{ port: 4222;}", "{port=4222}"),
    ("port: 4222 }", "{port=4222}"),
    ("port: 4222\n}", "{port=4222}"),
    ("port: 4222\n}\n", "{port=4222}"),
    ("port: 4222\n{", "{port=4222}"),
    ("{ port: 4222\n", "{port=4222}"),
    ("server_name (\nx\n)\n", "{server_name='\nx\n'}"),
    ("host:", "{host=''}"),
    ("host: ", "{host=''}"),
    ("host ,\n", "{host=''}"),
    (
        "authorization {\n user: a\n password: b\n}",
        "{authorization={user='a' password='b'}}",
    ),
    (
        "authorization: {\n user: a\n password: b\n}",
        "{authorization={user='a' password='b'}}",
    ),
    (
        "authorization = {user a; password b}",
        "{authorization={user='a' password='b'}}",
    ),
    (
        "authorization\n{ user: a, password: b }",
        "{authorization={user='a' password='b'}}",
    ),
    ("x: 1\nport: $x", "{x=1 port=1}"),
    (
        "x: {user: a, password: b}\nauthorization: $x",
        "{x={user='a' password='b'} authorization={user='a' password='b'}}",
    ),
    ("port: $NUMBER", "{port=4333}"),
    (
        "include: 1\nport: $include\nport: 4222",
        "{include=1 port=4222}",
    ),
];

/// Files that are refused.
const REFUSED_FILES: &[&str] = &[
    "",
    "\n# only a comment\n",
    "port",
    "port\n",
    ": 1",
    "= 1",
    "port: ",
    "port:\n4222",
    "port: 1 2",
    "port: 4222 debug: true",
    "port: [",
    "port: {",
    "/port: 4222",
    "/",
    "port: 4222 x",
    "include",
    "include \n",
    "include missing.conf",
    "include 'missing.conf'",
    "include [a]",
    "include 1",
    "authorization {",
    "authorization { user: a",
    "unknown: 1",
    "port: 4222\nb",
    "} port: 1",
    "'port: 4222",
    "\"port: 4222",
    "port{\n}",
];

#[test]
fn values_mean_what_nats_server_makes_of_them() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let server = nats_server();
    let mut wrong = Vec::new();
    for (written, expected) in VALUES {
        let text = format!("x: {written}\nport: $x\nport: 4222\n");
        let parsed = parse_text(&text, "test", &environment);
        let found = shown(&parsed, "x");
        if found != *expected {
            wrong.push(format!(
                "{written}: {found} for {expected}; {:?}",
                parsed.mistakes
            ));
        }
        if let Some(server) = &server {
            let path = write(folder.path(), "value.conf", &text);
            wrong.extend(difference(server, &path, written));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn differs_from_nats_server_only_where_it_is_meant_to() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    for (written, expected, reason) in DIFFERENT_VALUES {
        let text = format!("x: {written}\nport: $x\nport: 4222\n");
        let found = shown(&parse_text(&text, "test", &environment), "x");
        if found != *expected {
            wrong.push(format!("{written}: {found} for {expected}"));
        }
        if let Some(server) = nats_server() {
            let path = write(folder.path(), "value.conf", &text);
            if difference(&server, &path, written).is_none() {
                wrong.push(format!(
                    "{written}: nats-server makes the same of it, not: {reason}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refuses_what_nats_server_misunderstands() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    for (text, reason) in REFUSED_HERE_ONLY {
        let path = write(folder.path(), "file.conf", text);
        if load_file_unsupported(&path).is_ok() {
            wrong.push(format!("accepted: {text}"));
        }
        if let Some(server) = nats_server()
            && let Err(said) = test_with_nats_server(&server, &path)
        {
            wrong.push(format!(
                "{text}: not only here, so it is not so that {reason}: {said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_mean_what_nats_server_makes_of_them() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let server = nats_server();
    let mut wrong = Vec::new();
    for (text, expected) in FILES {
        let parsed = parse_text(text, "test", &environment);
        let found = show_table(&parsed.table);
        if found != *expected || !parsed.mistakes.is_empty() {
            wrong.push(format!(
                "{text}: {found} for {expected}; {:?}",
                parsed.mistakes
            ));
        }
        let path = write(folder.path(), "file.conf", text);
        wrong.extend(
            load_file_unsupported(&path)
                .err()
                .map(|said| format!("{text}: {said}")),
        );
        if let Some(server) = &server {
            wrong.extend(difference(server, &path, text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refuses_the_files_that_nats_server_refuses() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    for text in REFUSED_FILES {
        let path = write(folder.path(), "file.conf", text);
        let loaded = load_file_unsupported(&path);
        // An empty file is only warned about, which `-t` fails for.
        if loaded.is_ok_and(|loaded| loaded.warnings.is_empty()) {
            wrong.push(format!("accepted: {text}"));
        }
        if let Some(server) = nats_server()
            && test_with_nats_server(&server, &path).is_ok()
        {
            wrong.push(format!("nats-server accepts: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How nats-server differs about the file: both must accept it with the same digest, or refuse it.
fn difference(server: &std::path::Path, path: &std::path::Path, written: &str) -> Option<String> {
    let theirs = test_with_nats_server(server, path);
    let ours = load_file_unsupported(path);
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => {
            let ours = ours.options.config_digest.unwrap_or_default();
            (theirs != ours).then(|| format!("{written}: digest {ours} for {theirs}"))
        }
        (Err(_), Err(_)) => None,
        (Ok(_), Err(mistakes)) => Some(format!("{written}: only nats-server accepts: {mistakes}")),
        (Err(said), Ok(_)) => Some(format!("{written}: only Midge accepts: {said}")),
    }
}

fn shown(parsed: &Parsed, key: &str) -> String {
    if !parsed.mistakes.is_empty() {
        return "error".to_owned();
    }
    parsed
        .table
        .get(key)
        .map_or_else(String::new, |node| show(&node.value))
}

fn show_table(table: &Table) -> String {
    let entry =
        |entry: &midge::config::value::Entry| format!("{}={}", entry.key, show(&entry.node.value));
    let entries: Vec<String> = table.entries.iter().map(entry).collect();
    format!("{{{}}}", entries.join(" "))
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{text}'"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number}f"),
        Value::Boolean(on) => on.to_string(),
        Value::Moment(text) => format!("@{text}"),
        Value::List(elements) => {
            let shown: Vec<String> = elements.iter().map(|node| show(&node.value)).collect();
            format!("[{}]", shown.join(" "))
        }
        Value::Table(table) => show_table(table),
    }
}
