//! Somebody requests, and is answered one at a time, while many clients connect with TLS at once.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Outcome;
use crate::idle::{SPARE_DESCRIPTORS, allow_descriptors};
use crate::measure::{Measure, Sample};
use crate::process::{Server, address};
use crate::requests::{Requester, percentile, with_pair};
use crate::scenarios::Trial;
use crate::wire::{CONNECT, PATIENCE, answers_ping};

/// Threads of the storm; each drives its share of the clients all at once.
const CONNECTORS: usize = 2;
/// By how much those threads stand back.
const STORM_NICE: i32 = 10;
/// A client that failed waits this long and tries again, as client libraries do.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// All clients must be in within this time.
const STORM_LIMIT: Duration = Duration::from_secs(60);
/// Name in the certificate.
const NAME: &str = "localhost";

/// Requests in peace, then while `count` clients connect, each up to its first PONG; they stay until the end.
pub(crate) fn run(trial: &Trial<'_>, count: usize) -> Outcome<Vec<Sample>> {
    allow_descriptors(count as u64 + SPARE_DESCRIPTORS)?;
    let site = Site::new()?;
    let server = Server::start_with(trial.binary, &fs::read_to_string(&site.configuration)?)?;
    with_pair(&server, 1, |requester| {
        requester.run(trial.sizes.warm_up)?;
        let quiet = Requests::during(|| requester.run(trial.sizes.duration))?;
        let (stormy, storm) = weather(&server, requester, &site, count)?;
        Ok(vec![
            Measure::LatencyMedian.of(stormy.percentile(500)),
            Measure::Latency99.of(stormy.percentile(990)),
            Measure::Latency999.of(stormy.percentile(999)),
            Measure::UndisturbedMedian.of(quiet.percentile(500)),
            Measure::Undisturbed99.of(quiet.percentile(990)),
            Measure::LatencyGrowth.of(stormy.percentile(990) / quiet.percentile(990)),
            Measure::RateKept.of(stormy.rate() / quiet.rate()),
            Measure::ConnectTime.of(storm.seconds),
            Measure::FailedConnects.of(storm.failures as f64),
            Measure::PeakMemory.of(server.memory()?.peak),
        ])
    })
}

/// Round-trip times in nanoseconds, sorted, and how long they took together.
struct Requests {
    times: Vec<u32>,
    seconds: f64,
}

impl Requests {
    fn during(work: impl FnOnce() -> Outcome<Vec<u32>>) -> Outcome<Self> {
        let began = Instant::now();
        let mut times = work()?;
        let seconds = began.elapsed().as_secs_f64();
        times.sort_unstable();
        Ok(Self { times, seconds })
    }

    fn percentile(&self, per_thousand: usize) -> f64 {
        percentile(&self.times, per_thousand)
    }

    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }
}

/// What became of a storm.
struct Storm {
    /// Until the last client was in.
    seconds: f64,
    failures: usize,
}

/// Requests for as long as the storm lasts.
fn weather(
    server: &Server,
    requester: &mut Requester,
    site: &Site,
    count: usize,
) -> Outcome<(Requests, Storm)> {
    let port = server.port();
    thread::scope(|scope| {
        let began = Instant::now();
        let threads: Vec<_> = (0..CONNECTORS)
            .map(|number| {
                let share = (number..count).step_by(CONNECTORS).len();
                let config = Arc::clone(&site.client);
                scope.spawn(move || storm(port, &config, share))
            })
            .collect();
        let lasting = |_| threads.iter().any(|thread| !thread.is_finished());
        let requests = Requests::during(|| requester.run_while(lasting))?;
        let (mut last, mut failures, mut clients) = (began, 0, Vec::new());
        for thread in threads {
            let part = thread
                .join()
                .map_err(|_| "a thread of the storm panicked")??;
            last = last.max(part.ended);
            failures += part.failures;
            clients.extend(part.clients);
        }
        let seconds = last.duration_since(began).as_secs_f64();
        Ok((requests, Storm { seconds, failures }))
    })
}

/// What one thread of the storm did.
struct Part {
    ended: Instant,
    failures: usize,
    clients: Vec<Client>,
}

fn storm(port: u16, config: &Arc<ClientConfig>, count: usize) -> Outcome<Part> {
    // The crowd's own handshakes take as long as the server's. On machines of their own they would not compete
    // with the requester for processors, so here this thread stands back, whichever server it is for.
    rustix::process::nice(STORM_NICE)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (clients, failures) = runtime.block_on(async {
        let mut connecting = JoinSet::new();
        for _ in 0..count {
            let config = Arc::clone(config);
            connecting.spawn(persist(port, config));
        }
        let (mut clients, mut failures) = (Vec::with_capacity(count), 0);
        while let Some(outcome) = connecting.join_next().await {
            let (client, failed) = outcome??;
            clients.push(client);
            failures += failed;
        }
        Outcome::Ok((clients, failures))
    })?;
    Ok(Part {
        ended: Instant::now(),
        failures,
        clients,
    })
}

/// Connects until it succeeds; also how often it failed.
async fn persist(port: u16, config: Arc<ClientConfig>) -> Outcome<(Client, usize)> {
    let (began, mut failures) = (Instant::now(), 0);
    loop {
        let attempt = timeout(PATIENCE, Client::connect(port, Arc::clone(&config))).await;
        match attempt.map_err(Into::into).flatten() {
            Ok(client) => return Ok((client, failures)),
            Err(failure) if began.elapsed() > STORM_LIMIT => return Err(failure),
            Err(_) => {
                failures += 1;
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// A client past its handshake and its first PONG.
struct Client {
    socket: TcpStream,
    session: ClientConnection,
}

impl Client {
    async fn connect(port: u16, config: Arc<ClientConfig>) -> Outcome<Self> {
        let socket = TcpStream::connect(address(port)).await?;
        socket.set_nodelay(true)?;
        await_info(&socket).await?;
        let session = ClientConnection::new(config, ServerName::try_from(NAME)?)?;
        let mut client = Self { socket, session };
        client.send().await?;
        while client.session.is_handshaking() {
            client.receive().await?;
        }
        client.session.writer().write_all(CONNECT)?;
        client.send().await?;
        let mut answer = Vec::new();
        while !answers_ping(&answer) {
            client.receive().await?;
            match client.session.reader().read_to_end(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    outcome?;
                    return Err("the server closed the connection".into());
                }
            }
        }
        Ok(client)
    }

    /// Writes what the session has to say.
    async fn send(&mut self) -> Outcome<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Unblocked(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    /// Reads once and answers what the session answers by itself.
    async fn receive(&mut self) -> Outcome<()> {
        loop {
            self.socket.readable().await?;
            match self.session.read_tls(&mut Unblocked(&self.socket)) {
                Ok(0) => return Err("the server closed the connection".into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        self.session.process_new_packets()?;
        self.send().await
    }
}

/// Reads INFO, which the server says nothing after.
async fn await_info(socket: &TcpStream) -> Outcome<()> {
    let mut info = Vec::with_capacity(1024);
    while !info.ends_with(b"\r\n") {
        socket.readable().await?;
        match socket.try_read_buf(&mut info) {
            Ok(0) => return Err("the server closed the connection".into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => drop(outcome?),
        }
    }
    if info.starts_with(b"INFO ") {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&info).into())
    }
}

/// A socket as the session wants it, without waiting.
struct Unblocked<'a>(&'a TcpStream);

impl Read for Unblocked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Unblocked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A certificate, a server's configuration with it, and clients that trust it.
struct Site {
    configuration: PathBuf,
    client: Arc<ClientConfig>,
    /// Holds the files.
    _directory: TempDir,
}

impl Site {
    /// The key is ECDSA P-256, the cheapest one for both sides. The clients resume no sessions.
    fn new() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?;
        let certificate_file = directory.path().join("certificate.pem");
        let key_file = directory.path().join("key.pem");
        let configuration = directory.path().join("server.conf");
        fs::write(&certificate_file, certificate.pem())?;
        fs::write(&key_file, key.serialize_pem())?;
        // The pair that requests does without, and measures the server instead of the sealing of its messages.
        let text = format!(
            "tls {{ cert_file: {certificate_file:?}, key_file: {key_file:?} }}\nallow_non_tls: true\n"
        );
        fs::write(&configuration, text)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Ok(Self {
            configuration,
            client: Arc::new(client),
            _directory: directory,
        })
    }
}
