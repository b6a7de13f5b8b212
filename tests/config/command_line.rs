//! The command line: flags, environment, layers, texts and exit codes.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use midge::cli::{Command, Failure, SignalCommand, parse};
use midge::config::options::LogFormat;
use midge::config::options::table::list;
use midge::config::{Options, load};

use crate::oracle::{nats_server, write};

fn run_as(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Command, Failure> {
    let arguments = std::iter::once(program)
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let look_up = |name: &str| {
        environment
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    parse(arguments, &look_up)
}

fn run(arguments: &[&str]) -> Result<Command, Failure> {
    run_as("/usr/bin/midge", arguments, &[])
}

fn options_with(arguments: &[&str], environment: &[(&str, &str)]) -> Options {
    match run_as("midge", arguments, environment) {
        Ok(Command::Serve(loaded)) => loaded.options,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

fn options(arguments: &[&str]) -> Options {
    options_with(arguments, &[])
}

fn failure(arguments: &[&str]) -> Failure {
    match run(arguments) {
        Err(failure) => failure,
        Ok(command) => panic!("{arguments:?}: {command:?}"),
    }
}

fn printed(arguments: &[&str]) -> String {
    match run(arguments) {
        Ok(Command::Print(text)) => text,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[test]
fn without_arguments_everything_is_default() {
    let options = options(&[]);
    assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
}

#[test]
fn flags_take_one_dash_or_two_and_values_behind_a_blank_or_equals() {
    for arguments in [
        &["-p", "4333"][..],
        &["--p", "4333"],
        &["-port", "4333"],
        &["--port", "4333"],
        &["-p=4333"],
        &["--port=4333"],
        &["-p", "1", "-p", "4333"],
        &["-p", "0x10ed"],
        &["-p", "4333", "--"],
    ] {
        assert_eq!(options(arguments).port, 4333, "{arguments:?}");
    }
    assert_eq!(options(&["-p", "-1"]).port, 0);
    for host in ["::", "::1", "localhost"] {
        assert_eq!(options(&["-a", host]).host, host);
        assert_eq!(options(&["--net", host]).host, host);
        assert_eq!(options(&["--addr", host]).host, host);
    }
}

#[test]
fn every_flag_of_nats_server_sets_its_option() {
    let o = options(&[
        "-n",
        "n1",
        "-P",
        "p",
        "--ports_file_dir",
        "d",
        "--client_advertise",
        "h:1",
        "-l",
        "f",
        "--log_size_limit",
        "1024",
        "--max_traced_msg_len",
        "10",
        "-r",
        "udp://h:1",
        "-s",
        "-T=false",
        "--logtime_utc",
        "--user",
        "u",
        "--pass",
        "w",
        "--store_dir",
        "s",
        "--log_format",
        "json",
    ]);
    assert_eq!(o.server_name.as_deref(), Some("n1"));
    assert_eq!(o.pid_file.as_deref(), Some(Path::new("p")));
    assert_eq!(o.ports_file_dir.as_deref(), Some(Path::new("d")));
    assert_eq!(o.client_advertise.as_deref(), Some("h:1"));
    assert_eq!(o.log.file.as_deref(), Some(Path::new("f")));
    assert_eq!(o.log.size_limit, Some(1024));
    assert_eq!(o.log.max_traced_message_bytes, Some(10));
    assert_eq!(o.log.remote_syslog.as_deref(), Some("udp://h:1"));
    assert!(o.log.syslog && !o.log.logtime && o.log.logtime_utc);
    assert_eq!(o.log.format, LogFormat::Json);
    assert_eq!(o.authorization.user.as_deref(), Some("u"));
    assert_eq!(
        o.authorization.password.as_ref().map(|p| p.expose()),
        Some("w")
    );
    assert_eq!(o.store_dir.as_deref(), Some(Path::new("s")));
    assert_eq!(options(&["--name", "a"]).server_name.as_deref(), Some("a"));
    assert_eq!(
        options(&["--server_name", "a"]).server_name.as_deref(),
        Some("a")
    );
    assert_eq!(
        options(&["-sd", "x"]).store_dir.as_deref(),
        Some(Path::new("x"))
    );
    assert!(options(&["--auth", "t"]).authorization.token.is_some());
}

#[test]
fn clustered_flags_set_several_options() {
    let log = |arguments: &[&str]| {
        let log = options(arguments).log;
        (log.debug, log.trace, log.trace_verbose)
    };
    assert_eq!(log(&["-D"]), (true, false, false));
    assert_eq!(log(&["-V"]), (false, true, false));
    assert_eq!(log(&["-VV"]), (false, true, true));
    assert_eq!(log(&["-DV"]), (true, true, false));
    assert_eq!(log(&["-DVV"]), (true, true, true));
    assert_eq!(log(&["-D", "-V"]), (true, true, false));
    assert_eq!(log(&["-DV=false"]), (false, false, false));
    assert_eq!(log(&["--debug", "--trace"]), (true, true, false));
    assert_eq!(log(&["-D=true", "-D=0"]), (false, false, false));
}

#[test]
fn higher_layers_override_lower_ones() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let text = "port: 1\nmax_payload: 1k\nping_max: 1\nserver_name: file\n\
                authorization { user: a, password: b }";
    let path = write(folder.path(), "layers.conf", text);
    let file = path.to_str().expect("a path of UTF-8");
    let variables = [
        ("MIDGE_PORT", "2"),
        ("MIDGE_MAX_PAYLOAD", "2k"),
        ("MIDGE_PING_MAX", "2"),
        ("MIDGE_AUTHORIZATION_PASSWORD", "$2a$ no quotes"),
    ];
    let o = options_with(
        &[
            "-c",
            file,
            "-C",
            "port=3",
            "-C",
            "max_payload=3k",
            "-p",
            "4",
        ],
        &variables,
    );
    assert_eq!((o.port, o.max_payload, o.ping_max), (4, Some(3_000), 2));
    assert_eq!(o.server_name.as_deref(), Some("file"));
    assert_eq!(o.authorization.user.as_deref(), Some("a"));
    assert_eq!(
        o.authorization.password.as_ref().map(|p| p.expose()),
        Some("$2a$ no quotes")
    );
    // The file may be named by the environment, and its `listen` is overridden by a port too.
    let path = write(
        folder.path(),
        "listen.conf",
        "listen: 127.0.0.1:1\ndebug: true",
    );
    let file = path.to_str().expect("a path of UTF-8");
    let o = options_with(&["-p", "9", "-D=false"], &[("MIDGE_CONFIG", file)]);
    assert_eq!(
        (o.host.as_str(), o.port, o.log.debug),
        ("127.0.0.1", 9, false)
    );
    // A user given by a flag does not clash with those of the file.
    let path = write(
        folder.path(),
        "users.conf",
        "authorization { users: [ {user: a} ] }",
    );
    let o = options(&[
        "-c",
        path.to_str().expect("UTF-8"),
        "--user",
        "b",
        "--pass",
        "c",
    ]);
    assert_eq!(
        (o.authorization.users.len(), o.authorization.user.as_deref()),
        (1, Some("b"))
    );
}

#[test]
fn assignments_reach_into_blocks() {
    let o = options(&[
        "-C",
        "authorization.users=[ {user: a, password: b} ]",
        "-C",
        "authorization.timeout=5",
        "-C",
        "ping_interval=30s",
        "-C",
        "server_tags=[x, y]",
        "-C",
        "server_metadata.region.name=eu",
        "-C",
        "listen=localhost:5",
        "-C",
        "host = ::1",
        "-C",
        "max_conn=7",
    ]);
    assert_eq!(o.authorization.users.len(), 1);
    assert_eq!(o.authorization.timeout, Some(Duration::from_secs(5)));
    assert_eq!(o.ping_interval, Duration::from_secs(30));
    assert_eq!(o.server_tags, ["x", "y"]);
    assert_eq!(o.server_metadata["region.name"], "eu");
    assert_eq!((o.host.as_str(), o.port, o.max_connections), ("::1", 5, 7));
    for (assignment, words) in [
        (
            "prot=1",
            "-C prot: unknown field \"prot\"; did you mean \"port\"?",
        ),
        (
            "authorization.usr=1",
            "-C authorization.usr: unknown field \"usr\"",
        ),
        ("port=x", "-C port: \"port\" must be an integer"),
        ("port=[", "-C port: "),
        (
            "jetstream=true",
            "-C jetstream: \"jetstream\" is not supported by this version",
        ),
        ("port", "-C takes key=value"),
    ] {
        let said = failure(&["-C", assignment]);
        assert!(
            said.text.contains(words) && said.exit_code == 1,
            "{assignment}: {said:?}"
        );
    }
}

#[test]
fn every_variable_is_looked_up() {
    for option in list().iter().filter(|option| option.missing.is_some()) {
        let Some(variable) = option.environment_variable() else {
            continue;
        };
        let result = run_as("midge", &[], &[(&variable, "nonsense [")]);
        let Err(said) = result else {
            panic!("{variable} changes nothing")
        };
        let named = said
            .text
            .contains(&format!("environment variable {variable}: "));
        assert!(named, "{variable}: {}", said.text);
    }
    let o = options_with(
        &[],
        &[
            ("MIDGE_SERVER_TAGS", "[a, b]"),
            ("MIDGE_LOG_FORMAT", "json"),
        ],
    );
    assert_eq!((o.server_tags.len(), o.log.format), (2, LogFormat::Json));
}

/// Kubernetes sets `<SERVICE>_PORT` in each pod.
#[test]
fn the_address_of_a_service_is_no_port() {
    let service = [("MIDGE_PORT", "tcp://10.0.0.7:4222")];
    let Ok(Command::Serve(loaded)) = run_as("midge", &[], &service) else {
        panic!("it starts")
    };
    assert_eq!(loaded.options.port, 4222);
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("the address of a service")
    );
}

/// Arguments that cannot be understood or served, and some of the words that say so.
const MISUSE: &[(&[&str], &str)] = &[
    (&["--foo"], "flag provided but not defined: -foo"),
    (&["-foo=1"], "flag provided but not defined: -foo"),
    (
        &["--prot", "1"],
        "flag provided but not defined: -prot; did you mean --port?",
    ),
    (&["-p"], "flag needs an argument: -p"),
    (
        &["-p", "abc"],
        "invalid value \"abc\" for flag -p: parse error",
    ),
    (
        &["--port=1.5"],
        "invalid value \"1.5\" for flag -port: parse error",
    ),
    (
        &["-p", "99999999999999999999"],
        "for flag -p: value out of range",
    ),
    (
        &["-D=maybe"],
        "invalid boolean value \"maybe\" for -D: parse error",
    ),
    (&["---p"], "bad flag syntax: ---p"),
    (&["-=p"], "bad flag syntax: -=p"),
    (&["foo"], "midge: unrecognized command: \"foo\""),
    (&["-D", "false"], "midge: unrecognized command: \"false\""),
    (&["-"], "midge: unrecognized command: \"-\""),
    (
        &["-t"],
        "midge: must specify [-c, --config] option to check configuration file syntax",
    ),
    (
        &["-c", "missing.conf"],
        "midge: open missing.conf: no such file or directory",
    ),
    (&["-sl", "ldm=1=2"], "midge: invalid signal parameters: [2]"),
    (&["-sl", "hup"], "midge: unknown signal \"hup\""),
    (
        &["-p", "70000"],
        "midge: -p: port value is too big; the most is 65535",
    ),
    (
        &["-n", "a b"],
        "midge: -n: server name cannot contain spaces",
    ),
    (
        &["-js"],
        "midge: -js: \"jetstream\" is not supported by this version of Midge: ",
    ),
    (
        &["--routes", "nats://a:1"],
        "solicited routes require cluster capabilities, e.g. --cluster",
    ),
    (
        &["-profile", "6060"],
        "-profile: \"prof_port\" is not supported by this version",
    ),
    (
        &["--tls"],
        "midge: TLS Server certificate must be present and valid",
    ),
    (
        &["--tlscert", "a"],
        "midge: TLS Server private key must be present and valid",
    ),
    (
        &["--tlscert", "a", "--tlskey", "b"],
        "--tlscert: open a: no such file or directory",
    ),
];

#[test]
fn misuse_is_told_in_the_words_of_nats_server() {
    for (arguments, words) in MISUSE {
        let said = failure(arguments);
        assert!(said.text.contains(words), "{arguments:?}: {said:?}");
        assert_eq!(said.exit_code, 1, "{arguments:?}");
    }
    // What turns a feature off is harmless without it.
    options(&["-js=false", "--tls=false", "-m", "0", "--cluster", ""]);
}

/// What nats-server says on standard error, and its exit code, for arguments that end it at once.
#[test]
fn nats_server_says_the_same() {
    let Some(server) = nats_server() else {
        return assert_eq!(failure(&["-p"]).exit_code, 1);
    };
    for arguments in [
        &["--foo"][..],
        &["-p"],
        &["-p", "abc"],
        &["-p", "99999999999999999999"],
        &["-D=maybe"],
        &["---p"],
        &["-=p"],
        &["foo"],
        &["-"],
        &["-t"],
        &["-c", "missing.conf"],
        &["-sl", "ldm=1=2"],
        &["-v"],
        &["--version"],
        &["version"],
        &["--tls"],
    ] {
        let theirs = Process::new(&server)
            .args(arguments)
            .output()
            .expect("nats-server runs");
        let their_error = String::from_utf8_lossy(&theirs.stderr).into_owned();
        let (text, exit_code, on_error) = match run_as("nats-server", arguments, &[]) {
            Ok(Command::Print(text)) => (text, 0, false),
            Err(failure) => (failure.text, failure.exit_code, true),
            other => panic!("{arguments:?}: {other:?}"),
        };
        assert_eq!(
            Some(i32::from(exit_code)),
            theirs.status.code(),
            "{arguments:?}"
        );
        let theirs = if on_error {
            their_error
        } else {
            String::from_utf8_lossy(&theirs.stdout).into()
        };
        let first = theirs.lines().next().unwrap_or_default();
        assert!(
            text.starts_with(first),
            "{arguments:?}: {text:?} for {theirs:?}"
        );
    }
}

#[test]
fn the_version_depends_on_the_name() {
    let version = env!("CARGO_PKG_VERSION");
    let own = format!("midge {version} (nats-server 2.15.1 compatible)\n");
    for arguments in [
        &["-v"][..],
        &["--version"],
        &["version"],
        &["-v", "-c", "missing"],
    ] {
        assert_eq!(printed(arguments), own);
    }
    for name in ["nats-server", "/opt/bin/nats-server", "./nats-server"] {
        let Ok(Command::Print(text)) = run_as(name, &["--version"], &[]) else {
            panic!("it prints")
        };
        assert_eq!(text, "nats-server: v2.15.1\n");
    }
}

#[test]
fn signals_are_named() {
    for (word, expected) in SignalCommand::WORDS {
        for flag in ["-sl", "--signal"] {
            let Ok(Command::Signal { command, target }) = run(&[flag, word]) else {
                panic!("{word}")
            };
            assert_eq!((command, target, command.word()), (expected, None, word));
        }
        let with_target = format!("--signal={word}=/run/a.pid");
        let Ok(Command::Signal { target, .. }) = run(&[&with_target]) else {
            panic!("{word}")
        };
        assert_eq!(target.as_deref(), Some("/run/a.pid"));
    }
}

#[test]
fn a_test_tells_the_digest_or_all_mistakes() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let good = write(folder.path(), "good.conf", "port: 4222");
    let good = good.to_str().expect("UTF-8");
    let Ok(Command::Report(text)) = run(&["-t", "-c", good]) else {
        panic!("it is valid")
    };
    let digest = "sha256:797533ebd0dfba7d34a0f9337ecf147e442871f48ddfd07ed751575a5737267e";
    assert_eq!(
        text,
        format!("midge: configuration file {good} is valid ({digest})\n")
    );
    let bad = write(folder.path(), "bad.conf", "prot: 1\nhosst: 2\n");
    let bad = bad.to_str().expect("UTF-8");
    let said = failure(&["-c", bad, "-t"]);
    let expected = format!(
        "midge: {bad}:1:1: unknown field \"prot\"; did you mean \"port\"?\n\
         {bad}:2:1: unknown field \"hosst\"; did you mean \"host\"?\n"
    );
    assert_eq!((said.text.as_str(), said.exit_code), (expected.as_str(), 1));
    // What nats-server wants changed lets the test fail, and the server start.
    let old = write(folder.path(), "old.conf", "ping_interval: 10\n");
    let old = old.to_str().expect("UTF-8");
    assert!(
        failure(&["-t", "-c", old])
            .text
            .contains("should be converted to a duration")
    );
    let Ok(Command::Serve(loaded)) = run(&["-c", old]) else {
        panic!("it starts")
    };
    assert_eq!(loaded.options.ping_interval, Duration::from_secs(10));
    assert_eq!(loaded.warnings.len(), 1);
    let advice = write(folder.path(), "advice.conf", "max_payload: 9MB\n");
    let Ok(Command::Report(_)) = run(&["-t", "-c", advice.to_str().expect("UTF-8")]) else {
        panic!("it is valid")
    };
}

#[test]
fn what_a_reload_would_change_is_told_beforehand() {
    let directory = tempfile::tempdir().unwrap();
    let in_force = write(
        directory.path(),
        "in-force.conf",
        "max_payload: 1MB\nauthorization { users: [{user: a, password: secret}] }",
    );
    let in_force = in_force.to_str().unwrap();
    let check = |text: &str| {
        let other = write(directory.path(), "other.conf", text);
        let flags = [
            "-c",
            in_force,
            "--check-reload",
            other.to_str().unwrap(),
            "-C",
            "max_pending=8MB",
        ];
        match run(&flags) {
            Ok(Command::Checked { text, exit_code }) => (exit_code, text),
            Err(failure) => (failure.exit_code, failure.text),
            other => panic!("{other:?}"),
        }
    };
    let users = |users: &str| format!("authorization {{ users: [{users}] }}\n");
    let same = users("{user: a, password: secret}") + "max_payload: 1024KB";
    assert_eq!(check(&same), (0, "Nothing changes.\n".to_owned()));
    let changed = users("{user: a, password: hidden}, {user: b, password: b}")
        + "port: 4333\nmax_payload: 2KB";
    let told = "port: 4222 -> 4333 (the listener opens, closes or moves; connected clients stay)\n\
        max_payload: 1048576 -> 2048 (applied)\n\
        authorization.users: added b; changed a (applied; clients that may not be connected any more are closed)\n\
        A reload puts this in force.\n";
    assert_eq!(check(&changed), (0, told.to_owned()));
    let told = "server_name: other (needs a restart)\n\
        A reload is refused and changes nothing: 1 of this needs a restart.\n";
    assert_eq!(
        check(&(same.clone() + "\nserver_name: other")),
        (2, told.to_owned())
    );
    for (mistake, told) in [
        ("\nmax_paylaod: 1", "other.conf:3:1: unknown field"),
        ("\nno_auth_user: nobody", "nobody"),
    ] {
        let (code, text) = check(&(same.clone() + mistake));
        assert!(code == 1 && text.contains(told), "{code} {text}");
    }
    let alone = failure(&["--check-reload", in_force]);
    assert!(
        alone.text.contains("must specify [-c, --config]"),
        "{}",
        alone.text
    );
}

#[test]
fn a_reload_reads_the_layers_again() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = write(
        folder.path(),
        "reload.conf",
        "ping_max: 3\nmax_payload: 1k\n",
    );
    let o = options(&[
        "-c",
        path.to_str().expect("UTF-8"),
        "-C",
        "max_payload=2k",
        "-D",
    ]);
    write(
        folder.path(),
        "reload.conf",
        "ping_max: 4\nmax_payload: 3k\n",
    );
    let again = load(&o.layers, &|_| None)
        .expect("it is still valid")
        .options;
    assert_eq!(
        (again.ping_max, again.max_payload, again.log.debug),
        (4, Some(2_000), true)
    );
    assert_ne!(again.config_digest, o.config_digest);
}

#[test]
fn help_and_manual_name_every_flag_and_option() {
    let help = printed(&["--help"]);
    let manual = printed(&["--man"]);
    for option in list() {
        let shown = option.missing.is_none();
        for flag in option.flags() {
            let in_help = help.contains(&format!("-{flag}"));
            assert!(in_help || !shown, "{flag} is not in the help");
            for shell in ["bash", "zsh", "fish"] {
                let script = printed(&["--completions", shell]);
                assert!(
                    script.contains(flag) || !shown,
                    "{flag} is not completed by {shell}"
                );
            }
        }
        let name = option.dotted().replace('-', "\\-");
        assert_eq!(manual.contains(&format!("\\fB{name}\\fR")), shown, "{name}");
    }
    for flag in ["config", "signal", "completions", "help_tls", "DVV", "man"] {
        assert!(help.contains(flag) && manual.contains(flag), "{flag}");
    }
    assert!(help.starts_with("\nUsage: midge [options]\n"));
    assert!(
        help.lines().all(|line| line.chars().count() <= 110),
        "{help}"
    );
    assert!(printed(&["--help_tls"]).contains("TLS_AES_128_GCM_SHA256"));
    assert!(
        failure(&["--completions", "csh"])
            .text
            .contains("bash, zsh and fish")
    );
}

/// The scripts are taken by the shells that there are.
#[test]
fn completions_are_scripts() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for shell in ["bash", "zsh", "fish"] {
        let path = write(folder.path(), shell, &printed(&["--completions", shell]));
        if let Ok(output) = Process::new(shell).arg("-n").arg(&path).output() {
            assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn secrets_of_the_command_line_are_not_shown() {
    let secret = "s3cr3t";
    let assignment = format!("authorization.users=[ {{user: a, password: {secret}}} ]");
    let shown = format!(
        "{:?} {:?}",
        options(&["--user", "a", "--pass", secret, "-C", &assignment]),
        options_with(
            &["--auth", secret],
            &[("MIDGE_AUTHORIZATION_TOKEN", secret)]
        ),
    );
    assert!(
        !shown.contains(secret) && shown.contains("[REDACTED]"),
        "{shown}"
    );
    let said = failure(&[
        "--pass",
        secret,
        "--user",
        "a",
        "-n",
        "b c",
        "-C",
        &assignment,
    ]);
    assert!(!said.text.contains(secret), "{said:?}");
}
