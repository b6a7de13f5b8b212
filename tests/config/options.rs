//! What options mean, what is refused with which words, and whether nats-server agrees.

use std::time::Duration;

use midge::config::options::WriteTimeout;
use midge::config::options::accounts::{ResponseType, Sampling, Sharing};
use midge::config::options::cluster::Compression;
use midge::config::options::tls::{HandshakeFirst, TlsVersion};
use midge::config::options::users::{ConnectionType, Identity};
use midge::config::{Options, Secret};

use crate::oracle::{load_file_unsupported, nats_server, test_with_nats_server, write};

type Check = fn(&Options) -> bool;

/// Files that both servers take, with what they mean.
const TAKEN: &[(&str, Check)] = &[
    ("port: 4333", |o| o.port == 4333),
    ("port: -1", |o| o.port == 0),
    ("port: 0", |o| o.port == 4222),
    ("host: 127.0.0.1", |o| o.host == "127.0.0.1"),
    ("net: localhost", |o| o.host == "localhost"),
    ("host: \"\"", |o| o.host == "0.0.0.0"),
    ("host: \"::\"", |o| o.host == "::"),
    ("listen: 4333", |o| o.port == 4333 && o.host == "0.0.0.0"),
    ("listen: localhost:4333", |o| {
        o.port == 4333 && o.host == "localhost"
    }),
    ("listen: \"[::1]:4333\"", |o| {
        o.port == 4333 && o.host == "::1"
    }),
    ("listen: 127.0.0.1:-1", |o| {
        o.port == 0 && o.host == "127.0.0.1"
    }),
    ("listen: :4333", |o| o.port == 4333 && o.host == "0.0.0.0"),
    ("server_name: n1", |o| {
        o.server_name.as_deref() == Some("n1")
    }),
    ("server_name: \"\"", |o| o.server_name.is_none()),
    ("client_advertise: \"a:1\"", |o| {
        o.client_advertise.as_deref() == Some("a:1")
    }),
    ("server_tags: one", |o| o.server_tags == ["one"]),
    ("server_tags: [One, \"two \", one]", |o| {
        o.server_tags == ["one", "two"]
    }),
    ("server_metadata { a: b, \"c d\": e }", |o| {
        o.server_metadata.len() == 2 && o.server_metadata["c d"] == "e"
    }),
    ("feature_flags { a: true, b: off }", |o| {
        o.feature_flags["a"] && !o.feature_flags["b"]
    }),
    (
        "debug: yes\ntrace: on\nlogtime: false\nlogtime_utc: true",
        |o| o.log.debug && o.log.trace && !o.log.logtime && o.log.logtime_utc,
    ),
    ("trace_verbose: true", |o| {
        o.log.trace && o.log.trace_verbose
    }),
    ("trace_headers: true", |o| {
        o.log.trace && o.log.trace_headers
    }),
    ("logfile: \"/a b\"", |o| {
        o.log.file.as_deref() == Some("/a b".as_ref())
    }),
    ("log_file: a\nlog_size_limit: 1MB\nlog_max_num: 3", |o| {
        o.log.size_limit == Some(1_048_576) && o.log.max_files == Some(3)
    }),
    ("log_size_limit: -5\nlog_max_num: -1", |o| {
        o.log.size_limit.is_none() && o.log.max_files.is_none()
    }),
    ("syslog: true\nremote_syslog: udp://localhost:514", |o| {
        o.log.syslog && o.log.remote_syslog.as_deref() == Some("udp://localhost:514")
    }),
    ("pidfile: a\nports_file_dir: b", |o| {
        o.pid_file.is_some() && o.ports_file_dir.is_some()
    }),
    ("max_traced_msg_len: 10", |o| {
        o.log.max_traced_message_bytes == Some(10)
    }),
    ("max_connections: 7", |o| o.max_connections == 7),
    ("max_conn: 0", |o| o.max_connections == 0),
    ("max_connections: -1", |o| o.max_connections == 0),
    ("max_subscriptions: 7", |o| o.max_subscriptions == Some(7)),
    ("max_subs: -1", |o| o.max_subscriptions.is_none()),
    ("max_sub_tokens: 255", |o| {
        o.max_subscription_tokens == Some(255)
    }),
    ("max_control_line: 1k", |o| o.max_control_line == 1_000),
    ("max_control_line: 0", |o| o.max_control_line == 4_096),
    ("max_payload: 2MB", |o| o.max_payload == Some(2_097_152)),
    ("max_payload: -1", |o| o.max_payload.is_none()),
    ("max_payload: 0", |o| o.max_payload == Some(1_048_576)),
    ("max_pending: 100MB", |o| o.max_pending == 104_857_600),
    ("max_closed_clients: 5", |o| o.max_closed_clients == 5),
    ("ping_interval: \"30s\"", |o| {
        o.ping_interval == Duration::from_secs(30)
    }),
    ("ping_interval: 1m30s", |o| {
        o.ping_interval == Duration::from_secs(90)
    }),
    ("ping_interval: \"0s\"", |o| {
        o.ping_interval == Duration::from_secs(120)
    }),
    ("ping_max: 5", |o| o.ping_max == 5),
    ("write_deadline: \"1.5s\"", |o| {
        o.write_deadline == Duration::from_millis(1_500)
    }),
    ("write_timeout: retry", |o| {
        o.write_timeout == WriteTimeout::Retry
    }),
    ("lame_duck_duration: \"30s\"", |o| {
        o.lame_duck_duration == Duration::from_secs(30)
    }),
    ("lame_duck_grace_period: 5s", |o| {
        o.lame_duck_grace_period == Duration::from_secs(5)
    }),
    (
        "connect_error_reports: 5\nreconnect_error_reports: 6",
        |o| o.connect_error_reports == 5 && o.reconnect_error_reports == 6,
    ),
    (
        "no_fast_producer_stall: true\nno_header_support: true",
        |o| o.no_fast_producer_stall && o.no_header_support,
    ),
    ("disable_sublist_cache: true\nno_sys_acc: true", |o| {
        o.disable_sublist_cache && o.no_system_account
    }),
    ("store_dir: /data", |o| o.store_dir.is_some()),
    // Authorization.
    ("authorization { user: a, pass: b }", |o| {
        o.authorization.user.as_deref() == Some("a")
            && o.authorization.password == Some(Secret::new("b"))
    }),
    ("authorization { token: a }", |o| {
        o.authorization.token == Some(Secret::new("a"))
    }),
    ("authorization { token: $2a$11$abc }", |o| {
        o.authorization.token == Some(Secret::new("$2a$11$abc"))
    }),
    ("authorization { timeout: 0.5 }", |o| {
        o.authentication_timeout() == Duration::from_millis(500)
    }),
    ("authorization { timeout: 3 }", |o| {
        o.authentication_timeout() == Duration::from_secs(3)
    }),
    ("authorization { timeout: \"1m\" }", |o| {
        o.authentication_timeout() == Duration::from_secs(60)
    }),
    ("authorization { timeout: 0 }", |o| {
        o.authentication_timeout() == Duration::from_secs(2)
    }),
    ("authorization { users: [] }", |o| {
        o.authorization.users_defined && o.authorization.users.is_empty()
    }),
    (
        "authorization { users = [\n {user: a, password: b}\n {username: c, pass: d}\n ] }",
        |o| o.authorization.users.len() == 2 && o.authorization.users[1].identity.name() == "c",
    ),
    ("authorization { users: [ {user: a} ] }", |o| {
        o.authorization.users[0].identity
            == Identity::Password {
                user: "a".to_owned(),
                password: Secret::default(),
            }
    }),
    (
        "authorization { users: [ {nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4} ] }",
        |o| matches!(o.authorization.users[0].identity, Identity::Nkey(_)),
    ),
    (
        "authorization { users: [ {user: a, permissions: {pub: b, sub: [c, \"d e\"]}} ] }",
        |o| {
            let permissions = o.authorization.users[0].permissions.as_ref().unwrap();
            permissions
                .publish
                .as_ref()
                .unwrap()
                .allow
                .as_ref()
                .unwrap()
                == &["b"]
                && permissions
                    .subscribe
                    .as_ref()
                    .unwrap()
                    .allow
                    .as_ref()
                    .unwrap()
                    == &["c", "d e"]
        },
    ),
    (
        "authorization { users: [ {user: a, permission: {publish: {deny: [\"b.>\"]}, subscribe: {allow: c, deny: d}}} ] }",
        |o| {
            let permissions = o.authorization.users[0].permissions.as_ref().unwrap();
            let publish = permissions.publish.as_ref().unwrap();
            publish.allow.is_none() && publish.deny == ["b.>"]
        },
    ),
    (
        "authorization { users: [ {user: a, permissions: {allow_responses: true}} ] }",
        |o| {
            let permissions = o.authorization.users[0].permissions.as_ref().unwrap();
            let responses = permissions.allow_responses.as_ref().unwrap();
            permissions.publish.as_ref().unwrap().allow == Some(Vec::new())
                && responses.max == Some(1)
                && responses.expires == Some(Duration::from_secs(120))
        },
    ),
    (
        "authorization { users: [ {user: a, permissions: {publish: b, allow_responses: {max: -1, expires: \"-1s\"}}} ] }",
        |o| {
            let permissions = o.authorization.users[0].permissions.as_ref().unwrap();
            let responses = permissions.allow_responses.as_ref().unwrap();
            responses.max.is_none()
                && responses.expires.is_none()
                && permissions.publish.as_ref().unwrap().allow == Some(vec!["b".to_owned()])
        },
    ),
    (
        "authorization { default_permissions: {publish: x}, users: [ {user: a}, {user: b, permissions: {publish: y}} ] }",
        |o| {
            let of = |index: usize| {
                let permissions = o.authorization.users[index].permissions.as_ref().unwrap();
                permissions.publish.as_ref().unwrap().allow.clone().unwrap()
            };
            of(0) == ["x"] && of(1) == ["y"]
        },
    ),
    (
        "authorization { users: [ {user: a, allowed_connection_types: [standard, MQTT_WS, STANDARD]} ] }",
        |o| {
            o.authorization.users[0].allowed_connection_types
                == Some(vec![
                    ConnectionType::Standard,
                    ConnectionType::MqttWebsocket,
                ])
        },
    ),
    (
        "authorization { users: [ {user: a} ] }\nno_auth_user: a",
        |o| o.no_auth_user.as_deref() == Some("a"),
    ),
    // Accounts.
    ("accounts: [A, B]", |o| o.accounts.len() == 2),
    ("accounts { A {}, B { users: [ {user: b} ] } }", |o| {
        o.accounts[1].users[0].identity.name() == "b"
    }),
    (
        "accounts { A { exports: [ {stream: \"a.>\"}, {service: s, response: stream, threshold: \"1s\"} ] }, B { imports: [ {stream: {account: A, subject: \"a.b\"}, prefix: p}, {service: {account: A, subject: s}, to: t} ] } }",
        |o| {
            let (a, b) = (&o.accounts[0], &o.accounts[1]);
            a.exports[1].response == ResponseType::Stream
                && a.exports[1].response_threshold == Some(Duration::from_secs(1))
                && b.imports[0].prefix.as_deref() == Some("p")
                && b.imports[1].sharing == Sharing::Service
                && b.imports[1].to.as_deref() == Some("t")
        },
    ),
    (
        "accounts { A { exports: [ {service: s, accounts: [B], latency: {sampling: headers, subject: l}} ] }, B { imports: [ {service: {account: A, subject: s}, share: true} ] } }",
        |o| {
            o.accounts[0].exports[0].latency.as_ref().unwrap().sampling == Sampling::Headers
                && o.accounts[1].imports[0].share
        },
    ),
    (
        "accounts { A { exports: [ {service: \"s.*\", account_token_position: 2} ] }, B { imports: [ {service: {account: A, subject: \"s.B\"}} ] } }",
        |o| o.accounts[0].exports[0].account_token_position == Some(2),
    ),
    (
        "accounts { A { mappings { a: b, \"c.*\": [ {dest: \"d.$1\", weight: \"40%\"}, {destination: \"e.$1\", weight: 60, cluster: x} ] } } }",
        |o| {
            let mappings = &o.accounts[0].mappings;
            mappings[0].destinations[0].weight == 100
                && mappings[1].destinations[1].cluster.as_deref() == Some("x")
        },
    ),
    (
        "accounts { A { limits { max_conn: 1, max_subs: 2, max_pay: 3, max_leafs: -1 } } }",
        |o| {
            o.accounts[0].limits.max_payload == Some(3)
                && o.accounts[0].limits.max_leafnodes.is_none()
        },
    ),
    (
        "accounts { A { default_permissions: {publish: x}, users: [ {user: a} ] } }",
        |o| o.accounts[0].users[0].permissions.is_some(),
    ),
    (
        "accounts { A { msg_trace: {dest: t, sampling: \"10%\"} } }",
        |o| o.accounts[0].message_trace.as_ref().unwrap().sampling == 10,
    ),
    ("x: {users: [ {user: a} ]}\naccounts { A: $x }", |o| {
        o.accounts[0].users.len() == 1
    }),
    ("mappings { a: b }", |o| o.mappings[0].source == "a"),
    ("system_account: SYS\naccounts { SYS {} }", |o| {
        o.system_account.as_deref() == Some("SYS")
    }),
    // TLS without files, which nats-server would read.
    ("tls { timeout: 3 }", |o| {
        o.tls.as_ref().unwrap().timeout == Some(Duration::from_secs(3))
            && o.authentication_timeout() == Duration::from_secs(4)
    }),
    (
        "tls { verify_and_map: true, min_version: \"1.3\", handshake_first: auto }",
        |o| {
            let tls = o.tls.as_ref().unwrap();
            tls.verify
                && tls.min_version == Some(TlsVersion::Tls13)
                && tls.handshake_first == HandshakeFirst::Fallback(Duration::from_millis(50))
        },
    ),
    ("tls { handshake_first: 300ms }", |o| {
        let tls = o.tls.as_ref().unwrap();
        tls.handshake_first == HandshakeFirst::Fallback(Duration::from_millis(300))
    }),
    (
        "tls { cipher_suites: [TLS_AES_128_GCM_SHA256], curve_preferences: [X25519, CurveP256] }",
        |o| o.tls.as_ref().unwrap().curve_preferences.len() == 2,
    ),
    (
        "tls { allow_insecure_cipher_suites: true, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA] }",
        |o| o.tls.is_some(),
    ),
    ("allow_non_tls: true", |o| o.allow_non_tls),
    // Monitoring.
    ("http: 8222", |o| {
        o.monitoring.http_port == Some(8222) && o.monitoring.host.is_none()
    }),
    ("http: 127.0.0.1:-1", |o| o.monitoring.http_port == Some(0)),
    ("monitor_port: 8222\nhttp_base_path: /a", |o| {
        o.monitoring.base_path.as_deref() == Some("/a")
    }),
    ("https: \"localhost:8223\"", |o| {
        o.monitoring.https_port == Some(8223) && o.monitoring.host.as_deref() == Some("localhost")
    }),
    // Cluster.
    (
        "cluster { name: c, listen: 127.0.0.1:6222, routes: [ nats://a:6222, \"nats-route://u:p%40@[::1]:6223\" ] }",
        |o| {
            let cluster = o.cluster.as_ref().unwrap();
            cluster.port == Some(6222)
                && cluster.routes[1].host == "::1"
                && cluster.routes[1].port == Some(6223)
                && cluster.routes[1].password == Some(Secret::new("p@"))
        },
    ),
    (
        "cluster { port: -1, authorization { user: a, password: b, timeout: 1 }, pool_size: -1, compression: off, connect_retries: 3, no_advertise: true }",
        |o| {
            let cluster = o.cluster.as_ref().unwrap();
            cluster.port == Some(0)
                && cluster.pool_size.is_none()
                && cluster.compression == Compression::Off
                && cluster.authorization.user.as_deref() == Some("a")
        },
    ),
    (
        "cluster { port: 1, permissions { import: {allow: a}, export: b }, accounts: [A], ping_interval: 10s, write_deadline: \"2s\", write_timeout: close }",
        |o| {
            let cluster = o.cluster.as_ref().unwrap();
            cluster.accounts == ["A"]
                && cluster.ping_interval == Some(Duration::from_secs(10))
                && cluster.permissions.as_ref().unwrap().publish.is_some()
        },
    ),
    (
        "cluster { port: 1, compression: { mode: s2_auto, rtts: [ \"0s\", \"5ms\", \"7ms\" ] } }",
        |o| {
            let steps = [0, 5, 7].map(Duration::from_millis).to_vec();
            o.cluster.as_ref().unwrap().compression == Compression::Auto(steps)
        },
    ),
];

/// Files that both servers refuse, or that make `-t` fail, with some of the words said about them here.
const REFUSED: &[(&str, &str)] = &[
    (
        "prot: 4222",
        "unknown field \"prot\"; did you mean \"port\"?",
    ),
    (
        "port: \"4222\"",
        "\"port\" must be an integer, not a string",
    ),
    (
        "port: 1.5",
        "\"port\" must be an integer, not a number with a fraction",
    ),
    (
        "host: 5",
        "\"host\" must be a string, not an integer; put it in quotes",
    ),
    (
        "debug: 1",
        "\"debug\" must be true or false, not an integer",
    ),
    ("debug: \"true\"", "remove the quotes"),
    ("listen: a", "could not parse address string \"a\""),
    ("listen: a:b", "could not parse port \"b\""),
    ("listen: \"::1:4222\"", "could not parse address string"),
    ("listen: 1.5", "\"listen\" must be a port or host:port"),
    ("server_name: \"a b\"", "server name cannot contain spaces"),
    (
        "server_tags: 5",
        "\"server_tags\" must be a string or a list of strings",
    ),
    (
        "server_tags: [ a, 5 ]",
        "\"server_tags\" must hold strings, not an integer",
    ),
    ("server_metadata: a", "\"server_metadata\" must be a block"),
    ("server_metadata { a: 5 }", "\"a\" must be a string"),
    ("feature_flags { a: 1 }", "\"a\" must be true or false"),
    ("max_control_line: 3g", "max_control_line value is too big"),
    ("max_payload: 3g", "max_payload value is too big"),
    (
        "max_subscription_tokens: 256",
        "max_subscription_tokens value is too big",
    ),
    (
        "max_subscription_tokens: 0",
        "max_subscription_tokens value cannot be 0",
    ),
    (
        "max_subscription_tokens: -1",
        "max_subscription_tokens value cannot be -1",
    ),
    (
        "ping_interval: 10",
        "ping_interval should be converted to a duration; write \"10s\"",
    ),
    ("ping_interval: 1m", "minutes need quotes"),
    ("ping_interval: \"10\"", "missing unit in duration \"10\""),
    (
        "ping_interval: \"10x\"",
        "unknown unit \"x\" in duration \"10x\"",
    ),
    ("ping_interval: true", "\"ping_interval\" must be a time"),
    ("write_deadline: 1.5", "\"write_deadline\" must be a time"),
    (
        "write_timeout: never",
        "write_timeout must be 'default', 'close' or 'retry'",
    ),
    (
        "lame_duck_duration: \"10s\"",
        "invalid lame_duck_duration of 10s, minimum is 30 seconds",
    ),
    (
        "lame_duck_duration: 120",
        "\"lame_duck_duration\" must be a time such as \"10s\"",
    ),
    ("lame_duck_grace_period: \"-1s\"", "is negative"),
    ("no_such_thing {}", "unknown field \"no_such_thing\""),
    // Authorization.
    ("authorization: 5", "\"authorization\" must be a block"),
    (
        "authorization { usr: a }",
        "unknown field \"usr\"; did you mean \"user\"?",
    ),
    (
        "authorization { user: a, token: b }",
        "cannot have both a user and a token",
    ),
    (
        "authorization { user: a, users: [] }",
        "cannot have both a single user and a list of users",
    ),
    (
        "authorization { token: a, users: [] }",
        "cannot have both a token and a list of users",
    ),
    ("authorization { timeout: 61 }", "a timeout of 1m1s is high"),
    ("authorization { timeout: 1m }", "is high"),
    (
        "authorization { timeout: true }",
        "\"timeout\" must be seconds",
    ),
    ("authorization { users: a }", "\"users\" must be a list"),
    (
        "authorization { users: [ a ] }",
        "\"users\" must hold blocks, not a string",
    ),
    (
        "authorization { users: [ {pass: a} ] }",
        "a user entry requires a user or an nkey",
    ),
    (
        "authorization { users: [ {user: a}, {user: a} ] }",
        "duplicate user \"a\"",
    ),
    (
        "authorization { users: [ {nkey: a} ] }",
        "\"a\" is not a valid public nkey for a user",
    ),
    (
        "authorization { users: [ {nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4, user: a} ] }",
        "an nkey user takes neither a name nor a password",
    ),
    (
        "authorization { users: [ {user: a, permissions: b} ] }",
        "\"permissions\" must be a block",
    ),
    (
        "authorization { users: [ {user: a, permissions: {publish: \"b..c\"}} ] }",
        "subject \"b..c\" is not a valid subject",
    ),
    (
        "authorization { users: [ {user: a, permissions: {publish: \"b q\"}} ] }",
        "subject \"b q\" is not a valid subject",
    ),
    (
        "authorization { users: [ {user: a, permissions: {subscribe: \"b q r\"}} ] }",
        "subject \"b q r\" is not a valid subject",
    ),
    (
        "authorization { users: [ {user: a, permissions: {publish: {allow: 5}}} ] }",
        "\"allow\" must be a string or a list of strings",
    ),
    (
        "authorization { users: [ {user: a, permissions: {publish: {allowed: b}}} ] }",
        "unknown field \"allowed\"; did you mean \"allow\"?",
    ),
    (
        "authorization { users: [ {user: a, permissions: {allow_responses: 5}} ] }",
        "\"allow_responses\" must be true, false or a block",
    ),
    (
        "authorization { users: [ {user: a, allowed_connection_types: [x]} ] }",
        "unknown connection type \"x\"; known are STANDARD",
    ),
    // Accounts.
    ("accounts { $G {} }", "\"$G\" is a reserved account"),
    ("accounts: [A, A]", "duplicate account \"A\""),
    ("accounts { A: 5 }", "\"A\" must be a block"),
    (
        "accounts { A { nkey: x } }",
        "must be a public nkey that starts with A",
    ),
    (
        "accounts { A { exports: 5 } }",
        "\"exports\" must be a list",
    ),
    (
        "accounts { A { exports: [ {stream: a, service: b} ] } }",
        "an export is either a stream or a service",
    ),
    (
        "accounts { A { exports: [ {stream: a, response: single} ] } }",
        "\"response_type\" is for services; this export is a stream",
    ),
    (
        "accounts { A { exports: [ {service: a, response: x} ] } }",
        "unknown response type \"x\"",
    ),
    (
        "accounts { A { exports: [ {stream: a, accounts: [B]} ] } }",
        "\"B\" account not defined for stream export",
    ),
    (
        "accounts { A { imports: [ {stream: {account: B, subject: a}} ] } }",
        "\"B\" account not defined for stream import",
    ),
    (
        "accounts { A {}, B { imports: [ {stream: {account: A, subject: a}} ] } }",
        "stream import \"a\" not authorized",
    ),
    (
        "accounts { A { exports: [ {service: a, accounts: [C]} ] }, B { imports: [ {service: {account: A, subject: a}} ] }, C {} }",
        "service import \"a\" not authorized",
    ),
    (
        "accounts { A { imports: [ {stream: {account: B}} ] }, B {} }",
        "\"stream\" requires an account and a subject",
    ),
    (
        "accounts { A { exports: [ {service: s} ], imports: [ {service: {account: B, subject: s}} ] }, B { exports: [ {service: s} ], imports: [ {service: {account: A, subject: s}} ] } }",
        "service import \"s\" forms a cycle",
    ),
    (
        "accounts { A { exports: [ {stream: s} ], imports: [ {stream: {account: B, subject: s}} ] }, B { exports: [ {stream: s} ], imports: [ {stream: {account: A, subject: s}} ] } }",
        "stream import \"s\" forms a cycle",
    ),
    (
        "accounts { A { users: [ {user: a} ] }, B { users: [ {user: a} ] } }",
        "duplicate user \"a\"",
    ),
    (
        "accounts { A { mappings { \"a.*\": \"b.$2\" } } }",
        "mapping for \"a.*\": invalid mapping destination: wildcard index out of range in $2: [2]",
    ),
    (
        "mappings { \"a.*\": \"b.{{what(1)}}\" }",
        "mapping for \"a.*\": invalid mapping destination: unknown function in {{what(1)}}",
    ),
    (
        "mappings { \"a.>\": b }",
        "mapping for \"a.>\": invalid subject",
    ),
    (
        "accounts { B { exports: [ {stream: \"a.*.*\"} ] }, A { imports: [ {stream: {account: B, subject: \"a.*.*\"}, to: \"x.$1\"} ] } }",
        "stream import \"a.*.*\" cannot be mapped to \"x.$1\": invalid mapping destination: not using all of the token wildcard(s) in x.$1",
    ),
    (
        "accounts { B { exports: [ {service: \"a.>\"} ] }, A { imports: [ {service: {account: B, subject: \"a.*.$1\"}, to: \"b.$1\"} ] } }",
        "service import \"a.*.$1\" cannot be mapped to \"b.$1\": invalid mapping destination: not using all of the token wildcard(s) in b.$1",
    ),
    (
        "accounts { B { exports: [ {service: \"a.*\"} ] }, A { imports: [ {service: {account: B, subject: \"a.*\"}, to: \"x.{{left(1,1)}}\"} ] } }",
        "service import \"a.*\" cannot be mapped to \"x.{{left(1,1)}}\": invalid mapping destination: the only mapping function allowed for import transforms is {{Wildcard()}} in {{left(1,1)}}",
    ),
    (
        "accounts { A { mappings { a: [ {dest: b, weight: 101} ] } } }",
        "invalid weight",
    ),
    (
        "accounts { A { mappings { a: [ {dest: b} ] } } }",
        "requires a weight",
    ),
    (
        "accounts { A { mappings { a: [ {dest: b, weight: 60}, {dest: c, weight: 60} ] } } }",
        "total weight needs to be <= 100",
    ),
    (
        "accounts { A { limits { max_connection: 5 } } }",
        "did you mean \"max_connections\"?",
    ),
    (
        "accounts { A { slow_consumer: wait } }",
        "unknown slow consumer policy \"wait\"",
    ),
    ("accounts { A { top_subjects: 1001 } }", "1000"),
    (
        "accounts { A { msg_trace: {dest: \"a.*\"} } }",
        "trace destination \"a.*\" is not valid",
    ),
    (
        "accounts { A { users: [ {user: a} ] } }\nauthorization { token: b }",
        "cannot have both a token",
    ),
    // TLS.
    ("tls: 5", "\"tls\" must be a block"),
    (
        "tls { cert_file: a }",
        "missing 'key_file' in TLS configuration",
    ),
    (
        "tls { key_file: a }",
        "missing 'cert_file' in TLS configuration",
    ),
    (
        "tls { certfile: a }",
        "unknown field \"certfile\"; did you mean \"cert_file\"?",
    ),
    (
        "tls { min_version: \"1.1\" }",
        "min_version must be '1.2' or '1.3'",
    ),
    (
        "tls { min_version: 1.2 }",
        "\"min_version\" must be a string",
    ),
    ("tls { cipher_suites: [ X ] }", "unrecognized cipher X"),
    (
        "tls { cipher_suites: [] }",
        "\"cipher_suites\" cannot be empty",
    ),
    (
        "tls { cipher_suites: [ TLS_RSA_WITH_RC4_128_SHA ] }",
        "insecure cipher suites configured",
    ),
    (
        "tls { curve_preferences: [ X ] }",
        "unrecognized curve preference X",
    ),
    (
        "tls { pinned_certs: [ abc ] }",
        "\"pinned_certs\" holds \"abc\"",
    ),
    (
        "tls { handshake_first: soon }",
        "field \"handshake_first\"'s value \"soon\" is invalid",
    ),
    (
        "tls { verify_cert_and_check_known_urls: true }",
        "not supported for clients",
    ),
    (
        "tls { certs: [ {cert_file: a} ] }",
        "requires both 'cert_file' and 'key_file'",
    ),
    // Cluster.
    ("cluster: 5", "\"cluster\" must be a block"),
    (
        "cluster { name: \"a b\" }",
        "cluster name cannot contain spaces",
    ),
    ("cluster { routes: a }", "\"routes\" must be a list"),
    (
        "cluster { routes: [ nats://a:1, nats://a:1 ] }",
        "Duplicate route entry detected",
    ),
    (
        "cluster { authorization { token: a } }",
        "Cluster authorization does not support tokens",
    ),
    (
        "cluster { authorization { users: [] } }",
        "Cluster authorization does not allow multiple users",
    ),
    (
        "cluster { permissions { allow_responses: true } }",
        "cluster permissions do not support dynamic responses",
    ),
    (
        "cluster { permissions { export: \"a q\" } }",
        "is not a valid subject",
    ),
    (
        "cluster { port: 1, ping_interval: \"1m\" }",
        "will reset to 30s",
    ),
    (
        "cluster { compression: { mode: fast, x: 1 } }",
        "unknown field \"x\"",
    ),
];

/// nats-server finds these only when it starts, not with `-t`.
const REFUSED_WHEN_STARTED: &[(&str, &str)] = &[
    (
        "cluster { port: 1, compression: x }",
        "unsupported compression mode \"x\"",
    ),
    (
        "cluster { port: 1, compression: { mode: s2_auto, rtts: [ \"5ms\", \"3ms\" ] } }",
        "ascending order",
    ),
    (
        "cluster { port: 1, pool_size: -1, accounts: [A] }",
        "pool_size cannot be negative",
    ),
    (
        "cluster { port: 1, accounts: [A, A] }",
        "found duplicate account name \"A\"",
    ),
    (
        "max_payload: 2MB\nmax_pending: 1MB",
        "cannot be higher than max_pending (1048576)",
    ),
    (
        "lame_duck_grace_period: \"2m\"",
        "lame duck grace period (2m0s) should be strictly lower than lame duck duration (2m0s)",
    ),
    (
        "no_auth_user: a",
        "no_auth_user \"a\" present, but users/nkeys are not defined",
    ),
    (
        "authorization { users: [ {user: b} ] }\nno_auth_user: a",
        "no_auth_user \"a\" not present as user or nkey",
    ),
];

/// Files with options that only Midge knows.
const OWN: &[(&str, Check)] = &[
    ("memory_budget: 64MB", |o| {
        o.memory_budget == Some(64 * 1024 * 1024)
    }),
    ("memory_budget: 0", |o| o.memory_budget == Some(0)),
    ("lame_duck_on_term: true", |o| o.lame_duck_on_term),
    ("cluster { port: -1, lanes: true }", |o| {
        o.cluster.as_ref().unwrap().lanes
    }),
];

#[test]
fn options_mean_what_they_say() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    for (text, check) in TAKEN.iter().chain(OWN) {
        let path = write(folder.path(), "options.conf", text);
        match load_file_unsupported(&path) {
            Ok(loaded) if !check(&loaded.options) => wrong.push(format!("{text}: another meaning")),
            Ok(loaded) if loaded.warnings.is_empty() => {}
            Ok(loaded) => wrong.push(format!("{text}: {:?}", loaded.warnings)),
            Err(mistakes) => wrong.push(format!("{text}: {mistakes}")),
        }
        let is_own = OWN.iter().any(|(own, _)| own == text);
        if let Some(server) = nats_server()
            && !is_own
            && let Err(said) = test_with_nats_server(&server, &path)
        {
            wrong.push(format!("{text}: nats-server refuses: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_are_refused_as_by_nats_server() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let mut wrong = Vec::new();
    for (text, words) in REFUSED {
        let path = write(folder.path(), "options.conf", text);
        wrong.extend(unsaid(&path, text, words));
        if let Some(server) = nats_server()
            && test_with_nats_server(&server, &path).is_ok()
        {
            wrong.push(format!("{text}: nats-server takes it"));
        }
    }
    for (text, words) in REFUSED_WHEN_STARTED {
        let path = write(folder.path(), "options.conf", text);
        wrong.extend(unsaid(&path, text, words));
        if let Some(server) = nats_server()
            && let Err(said) = test_with_nats_server(&server, &path)
        {
            wrong.push(format!("{text}: nats-server finds it with -t too: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong if the words are neither in the mistakes nor in the warnings.
fn unsaid(path: &std::path::Path, text: &str, words: &str) -> Option<String> {
    let said = match load_file_unsupported(path) {
        Ok(loaded) => loaded
            .warnings
            .iter()
            .map(|w| w.to_string() + "\n")
            .collect(),
        Err(mistakes) => mistakes,
    };
    (!said.contains(words)).then(|| format!("{text}: {words:?} is not in {said:?}"))
}
