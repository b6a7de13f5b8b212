//! Beginning and end of embedded servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use midge::config::load_text;
use midge::server::{RequestError, Server, StartError};
use rcgen::generate_simple_self_signed;
use tokio::runtime::{Builder, Runtime};

use crate::page::page;
use crate::wait::{PATIENCE, eventually};

/// A runtime as a program may have it.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn start(runtime: &Runtime, configuration: &str) -> Server {
    let configuration = format!("listen: \"127.0.0.1:-1\"\n{configuration}");
    let builder = Server::builder().configuration(&configuration).unwrap();
    runtime.block_on(builder.start()).unwrap()
}

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The INFO line of a server that answers a ping as well.
fn visit(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let info = lines.next().unwrap().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "PONG");
    info
}

/// Threads of this process that a server has started itself: those for handshakes.
fn handshake_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| {
        // A thread may end meanwhile.
        std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
    });
    names.filter(|name| name.starts_with("midge-tls-")).count()
}

/// Alone in a process of its own, whose threads can be counted.
#[test]
fn several_servers_live_side_by_side_and_leave_nothing_behind() {
    if std::env::var_os("MIDGE_TEST_ALONE").is_none() {
        let name = "servers::several_servers_live_side_by_side_and_leave_nothing_behind";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", name]).env("MIDGE_TEST_ALONE", "1");
        let output = alone.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("cert"), directory.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls =
        format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\nallow_non_tls: true");

    let runtime = runtime();
    let handle = runtime.handle().clone();
    assert_eq!(
        (handle.metrics().num_alive_tasks(), handshake_threads()),
        (0, 0)
    );
    let one = start(
        &runtime,
        "server_name: one\nmax_payload: 1000\nhttp: \"127.0.0.1:-1\"",
    );
    let other = start(
        &runtime,
        &format!(
            "server_name: other\nmax_payload: 2000\ncluster {{ listen: \"127.0.0.1:-1\" }}\n{tls}"
        ),
    );
    eventually("the thread for handshakes", || handshake_threads() == 1);
    let info = visit(one.client_address());
    assert!(info.contains("\"server_name\":\"one\"") && info.contains("\"max_payload\":1000"));
    let info = visit(other.client_address());
    assert!(info.contains("\"server_name\":\"other\"") && info.contains("\"max_payload\":2000"));
    // They share no subjects either.
    let (local, elsewhere) = (one.local_client("$G"), other.local_client("$G"));
    let mut heard = elsewhere.subscribe(">", None).unwrap();
    assert_eq!(runtime.block_on(local.publish("a", "from one")), Ok(0));
    assert_eq!(
        runtime.block_on(elsewhere.publish("a", "from other")),
        Ok(1)
    );
    let message = runtime.block_on(heard.next()).unwrap();
    assert_eq!(message.payload, b"from other");

    runtime.block_on(one.shutdown());
    assert!(!one.is_ready() && other.is_ready());
    assert!(TcpStream::connect(one.client_address()).is_err());
    assert!(TcpStream::connect(one.monitoring_address().unwrap()).is_err());
    visit(other.client_address());
    runtime.block_on(other.shutdown());
    // A second time is no mistake.
    runtime.block_on(other.shutdown());
    assert!(TcpStream::connect(other.client_address()).is_err());
    drop((local, elsewhere, heard, one, other));
    eventually("the end of all tasks and threads", || {
        handle.metrics().num_alive_tasks() == 0 && handshake_threads() == 0
    });
}

#[test]
fn listeners_may_be_bound_by_somebody_else() {
    let runtime = runtime();
    let (clients, client_address) = bound();
    let (monitoring, monitoring_address) = bound();
    // Whoever comes before the server is there waits for it.
    let early = std::thread::spawn(move || visit(client_address));
    let builder = Server::builder()
        .clients_on(clients)
        .monitoring_on(monitoring);
    let server = runtime.block_on(builder.start()).unwrap();
    assert_eq!(server.client_address(), client_address);
    assert_eq!(server.monitoring_address(), Some(monitoring_address));
    let info = early.join().unwrap();
    let port = format!("\"port\":{}", client_address.port());
    assert!(info.contains(&port), "{info}");
    let page = page(monitoring_address, "/varz");
    assert!(page.starts_with("HTTP/1.0 200"), "{page}");
    runtime.block_on(server.shutdown());
    for address in [client_address, monitoring_address] {
        eventually("closed listeners", || TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_lame_duck_is_not_ready() {
    let runtime = runtime();
    let server = start(
        &runtime,
        "lame_duck_duration: 30s\nlame_duck_grace_period: 1ms",
    );
    assert!(runtime.block_on(server.ready(0)));
    // There is no cluster to wait for: the wait ends with the server.
    let waiting = runtime.spawn({
        let server = server.clone();
        async move { server.ready(1).await }
    });
    runtime.block_on(server.lame_duck());
    assert!(!runtime.block_on(waiting).unwrap());
    assert!(!runtime.block_on(server.ready(0)));
}

#[test]
fn what_makes_no_sense_does_not_start() {
    let mistakes = |text: &str| match Server::builder().configuration(text) {
        Err(StartError::Options(mistakes)) => mistakes.join("\n"),
        other => panic!("{other:?}"),
    };
    let said = mistakes("port: nonsense\nmax_payload: [");
    assert!(said.contains("configuration:"), "{said}");
    assert!(mistakes("no_such_option: 1").contains("no_such_option"));
    // What shows only when the parts are put together.
    let runtime = runtime();
    let text = "http_port: 8222\nhttps_port: 8223";
    let builder = Server::builder().configuration(text).unwrap();
    let error = runtime.block_on(builder.start()).unwrap_err();
    assert!(matches!(error, StartError::Options(_)), "{error}");
    let (_taken, address) = bound();
    let text = format!("listen: \"{address}\"");
    let builder = Server::builder().configuration(&text).unwrap();
    let error = runtime.block_on(builder.start()).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    eventually("the end of all tasks", || {
        runtime.handle().metrics().num_alive_tasks() == 0
    });
}

/// Local clients of different servers reach each other once the servers have.
#[test]
fn a_cluster_is_ready_when_its_servers_have_found_each_other() {
    let runtime = runtime();
    let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\"";
    let one = start(&runtime, &format!("{cluster} }}"));
    let port = one.cluster().unwrap().address().port();
    let routes = format!("{cluster}, routes: [ \"nats://127.0.0.1:{port}\" ] }}");
    let other = start(&runtime, &routes);
    runtime.block_on(async {
        for server in [&one, &other] {
            let ready = tokio::time::timeout(PATIENCE, server.ready(1)).await;
            assert_eq!(ready, Ok(true));
        }
        let (asking, answering) = (one.local_client("$G"), other.local_client("$G"));
        let nobody = asking.request("question", "", PATIENCE).await;
        assert_eq!(nobody.unwrap_err(), RequestError::NoResponders);
        let mut questions = answering.subscribe("question", None).unwrap();
        let serving = tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let reply = question.reply.unwrap();
                answering.publish(&reply, "answer").await.unwrap();
            }
        });
        // Nobody waits for the news of a subscription to arrive.
        let answer = loop {
            match asking.request("question", "", PATIENCE).await {
                Err(RequestError::NoResponders) => tokio::task::yield_now().await,
                outcome => break outcome.unwrap(),
            }
        };
        assert_eq!(answer.payload, b"answer");
        other.shutdown().await;
        one.shutdown().await;
        serving.await.unwrap();
    });
}

#[test]
fn reloads_at_the_same_time_come_one_after_the_other() {
    let runtime = runtime();
    let server = start(&runtime, "max_payload: 1");
    let changed = |most: usize| {
        let text = format!("listen: \"127.0.0.1:-1\"\nmax_payload: {most}");
        let options = load_text(&text, "text", false).unwrap().options;
        let server = &server;
        async move {
            let changes = server.reload(&options).await.unwrap();
            let change = changes.iter().find(|change| change.option == "max_payload");
            let change = change.unwrap();
            (change.old.clone(), change.new.clone())
        }
    };
    let outcomes = runtime.block_on(async {
        let (two, three, four) = tokio::join!(changed(2), changed(3), changed(4));
        [two, three, four]
    });
    let mut order = vec!["1".to_owned()];
    while let Some((_, new)) = outcomes.iter().find(|(old, _)| Some(old) == order.last()) {
        order.push(new.clone());
    }
    assert_eq!(order.len(), 4, "{outcomes:?}");
}
