//! All mistakes are told, each with its place, and none shows a secret.

use midge::config::options::table::list;

use crate::oracle::{load_file, write};

/// The mistakes of a file, one in each line, without the folder.
fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let said = load_file(&folder.path().join(files[0].0)).expect_err("there are mistakes");
    let prefix = format!("{}/", folder.path().display());
    said.lines().map(|line| line.replace(&prefix, "")).collect()
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let text = "\
prot: 4222
server_name: \"a b\"
debug: \"true\"

authorization {
  user: a
  tokn: b
  users: [
    { pass: c }
    { user: d, pass: 5 }
  ]
}
max_payload: 3g
ping_interval: \"10\"
";
    let said = mistakes(&[("all.conf", text)]);
    let expected = [
        "all.conf:1:1: unknown field \"prot\"; did you mean \"port\"?",
        "all.conf:2:1: server name cannot contain spaces; use a dash or an underscore",
        "all.conf:3:1: \"debug\" must be a boolean, not a string; remove the quotes",
        "all.conf:7:3: unknown field \"tokn\"; did you mean \"token\"?",
        "all.conf:9:5: a user entry requires a user or an nkey",
        "all.conf:10:16: \"pass\" must be a string, not an integer; put it in quotes",
        "all.conf:8:3: cannot have both a single user and a list of users; keep one of them",
        "all.conf:13:1: max_payload value is too big; the most is 2147483647",
        "all.conf:14:1: error parsing ping_interval: missing unit in duration \"10\", such as 10s for seconds",
    ];
    assert_eq!(said, expected);
}

#[test]
fn syntax_mistakes_do_not_hide_others() {
    let text = "port: 1 2\nhost: a\\qb\nprot: 1\nx: .5\ndebug: $MISSING\ninclude nothing.conf\n";
    let said = mistakes(&[("syntax.conf", text)]);
    let starts = [
        "syntax.conf:1:9: Parse error: '2' follows a value",
        "syntax.conf:2:9: Parse error: \\q is not an escape",
        "syntax.conf:4:4: Parse error: a number starts with a digit",
        "syntax.conf:5:1: variable MISSING is neither a key above nor set in the environment",
        "syntax.conf:6:1: include file \"nothing.conf\": open nothing.conf: no such file or directory",
        "syntax.conf:3:1: unknown field \"prot\"; did you mean \"port\"?",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}\n{start}");
    }
}

#[test]
fn what_is_never_closed_is_told_where_it_opens() {
    for (text, start) in [
        (
            "port: 1\nauthorization {\n user: a\n",
            "open.conf:2:15: Parse error: this '{' is never closed",
        ),
        (
            "port: 1\nserver_tags: [\n a\n",
            "open.conf:2:14: Parse error: this '[' is never closed",
        ),
        (
            "port: 1\nserver_name: \"a\nport: 2\n",
            "open.conf:2:14: Parse error: this string is never",
        ),
        (
            "port: 1\nserver_name: (\na\n",
            "open.conf:2:14: Parse error: this ( is never closed",
        ),
    ] {
        let said = mistakes(&[("open.conf", text)]);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(start), "{said:?}");
    }
}

#[test]
fn mistakes_of_included_files_name_those_files() {
    let said = mistakes(&[
        ("outer.conf", "include inner.conf\nhost: 5\n"),
        ("inner.conf", "# comment\n  prot: 1\n"),
    ]);
    assert_eq!(
        said[0],
        "inner.conf:2:3: unknown field \"prot\"; did you mean \"port\"?"
    );
    assert!(
        said[1].starts_with("outer.conf:2:1: \"host\" must be a string"),
        "{said:?}"
    );
}

#[test]
fn files_that_include_themselves_are_refused() {
    let said = mistakes(&[("self.conf", "port: 1\ninclude self.conf\n")]);
    assert_eq!(
        said,
        ["self.conf:2:1: the file \"self.conf\" includes itself; remove one of the includes"]
    );
    let said = mistakes(&[
        ("a.conf", "include b.conf\n"),
        ("b.conf", "include \"a.conf\"\n"),
    ]);
    assert_eq!(
        said,
        ["b.conf:1:1: the file \"a.conf\" includes itself; remove one of the includes"]
    );
}

#[test]
fn mistakes_in_variables_are_told_once_and_hide_nothing() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = write(folder.path(), "variable.conf", "port: $BROKEN\nprot: 1\n");
    let layers = midge::config::Layers {
        config_file: Some(path),
        ..Default::default()
    };
    let broken = |name: &str| (name == "BROKEN").then(|| "[ $A, $B, [ .5 ] ]".to_owned());
    let said = midge::config::load(&layers, &broken).expect_err("there are mistakes");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0]
            .message
            .starts_with("environment variable BROKEN: variable A is neither")
    );
    assert!(said[1].message.starts_with("unknown field \"prot\""));
}

#[test]
fn nesting_is_limited_also_through_variables() {
    let deep = format!("x: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert!(mistakes(&[("deep.conf", &deep)])[0].contains("nested deeper than 64"));
    let mut chain = String::from("a0: [ 1 ]\n");
    for step in 1..100 {
        chain.push_str(&format!("a{step}: [ $a{} ]\n", step - 1));
    }
    assert!(mistakes(&[("chain.conf", &chain)])[0].contains("nested too deep"));
}

#[test]
fn variables_cannot_multiply_without_end() {
    let mut text = String::from("a0: [ 1, 1 ]\n");
    for step in 1..60 {
        text.push_str(&format!("a{step}: [ $a{0}, $a{0} ]\n", step - 1));
    }
    assert!(mistakes(&[("bomb.conf", &text)])[0].contains("too many values"));
}

#[test]
fn options_of_later_versions_are_refused_by_name() {
    let said = mistakes(&[(
        "later.conf",
        "jetstream {\n max_mem: 1\n}\nleafnodes { port: 1 }\n",
    )]);
    assert!(
        said[0].starts_with(
            "later.conf:1:1: \"jetstream\" is not supported by this version of Midge: "
        ),
        "{said:?}"
    );
    assert!(said[1].starts_with("later.conf:4:1: \"leafnodes\" is not supported by this version"));
    // Turned off, they ask for nothing.
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = write(
        folder.path(),
        "off.conf",
        "jetstream: false\nhttp_port: 0\nport: 4222\n",
    );
    load_file(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
}

#[test]
fn every_option_that_is_refused_says_why() {
    for option in list() {
        if let Some(reason) = option.missing {
            assert!(reason.len() > 10, "{}", option.dotted());
        }
    }
}

#[test]
fn secrets_are_in_no_message_and_no_debug_text() {
    const SECRET: &str = "s3cr3t";
    let texts = [
        "authorization { user: a, password: S, token: S }",
        "authorization { users: [ {user: a, password: S}, {user: a, password: S} ] }",
        "authorization { password: $S }",
        "authorization { token: \"S\\q\" }",
        "authorization { token: [S] }",
        "authorization { token: {S: S} }",
        "authorization { users: [ {pass: S} ] }",
        "authorization { passwrd: S }",
        "cluster { routes: [ nats://a:S@b:x ] }",
        "cluster { authorization { user: a, password: S, token: S } }",
        "authorization { user: a, password: S }\nport: x",
    ];
    for text in texts {
        let text = text.replace('S', SECRET);
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = write(folder.path(), "secret.conf", &text);
        let said = match crate::oracle::load_file_unsupported(&path) {
            Ok(loaded) => format!("{loaded:?} {:?}", loaded.warnings),
            Err(mistakes) => mistakes,
        };
        assert!(!said.contains(SECRET), "{text}\n{said}");
    }
}

#[test]
fn times_that_no_clock_can_add_are_refused() {
    for (option, place) in [
        ("ping_interval: 9223372036854775807", "1:1"),
        (
            "authorization { user: a, password: b, timeout: 10000000000000000000.5 }",
            "1:39",
        ),
        (
            "authorization { user: a, password: b, timeout: 9223372036854775807 }",
            "1:39",
        ),
    ] {
        let said = mistakes(&[("long.conf", option)]);
        let last = said.last().unwrap();
        assert!(
            last.starts_with(&format!("long.conf:{place}: ")),
            "{said:?}"
        );
        assert!(last.ends_with("seconds is too long"), "{said:?}");
    }
}
