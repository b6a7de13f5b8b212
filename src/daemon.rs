//! A server as a process of its own: log, pid file, ports file, signals and exit code.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::changes::{Change, Effect};
use crate::config::{self, Loaded, Options};
use crate::logging::{self, Destination, LogFormat, LogHandle, LogOptions, PreparedLog};
use crate::monitor::monitoring_host;
use crate::process::{
    Ports, PortsFile, Progress, ServiceManager, listener_urls, raise_file_limit, write_pid_file,
};
use crate::server::{ClientTls, Server, ServerOptions};
use crate::signals::{ServerSignal, SignalStream};
use crate::system::ReloadRequest;

/// How long the last log lines may take to be written when the process ends.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Worker threads are taken from the number of processors; fewer than two would let one long turn
/// keep all other connections waiting.
const LEAST_WORKERS: usize = 2;

/// Runs a server until a signal ends it. The result is the exit code, and the text for standard error
/// where logging itself could not start.
pub fn run(loaded: Loaded) -> Result<u8, String> {
    raise_file_limit();
    let workers = std::thread::available_parallelism().map_or(LEAST_WORKERS, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(LEAST_WORKERS))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let log_options = log_options(&loaded.options);
    let log = logging::install(&log_options).map_err(|error| error.to_string())?;
    let code = runtime.block_on(serve(loaded, log.clone(), log_options));
    runtime.shutdown_background();
    let _ = log.flush(LOG_PATIENCE);
    Ok(code)
}

async fn serve(loaded: Loaded, log: LogHandle, log_options: LogOptions) -> u8 {
    let options = loaded.options;
    let started = start(&options, &loaded.warnings).await;
    let (server, signals) = match started {
        Ok(started) => started,
        Err(reasons) => {
            for reason in reasons {
                tracing::error!(fatal = true, "{reason}");
            }
            return 1;
        }
    };
    announce_listeners(&options, &server);
    tracing::info!("Server is ready");
    let ports_file = match write_ports(&options, &server) {
        Ok(ports_file) => ports_file,
        Err(reason) => {
            tracing::error!(fatal = true, "{reason}");
            return 1;
        }
    };
    let mut process = Process {
        server,
        manager: ServiceManager::from_environment(),
        options,
        log,
        log_options,
        ports_file,
    };
    process.manager.tell(Progress::Ready);
    process.obey(signals).await;
    if let Some(Err(reason)) = process.ports_file.map(PortsFile::remove) {
        tracing::error!("{reason}");
    }
    0
}

/// Binds the listener. Signals are caught from before that on.
async fn start(
    options: &Options,
    warnings: &[config::Warning],
) -> Result<(Server, SignalStream), Vec<String>> {
    let signals = SignalStream::new().map_err(|error| vec![error.to_string()])?;
    tracing::info!("Starting midge");
    tracing::info!("  Version:  {}", env!("CARGO_PKG_VERSION"));
    let compatible = crate::server::COMPATIBLE_VERSION;
    tracing::info!("  Protocol: nats-server {compatible}");
    if let Some(path) = &options.pid_file {
        write_pid_file(path).map_err(|reason| vec![reason])?;
    }
    let server_options = ServerOptions::from_config(options)?;
    warn(server_options.tls.as_deref());
    let server = Server::start(server_options)
        .await
        .map_err(|error| vec![error.to_string()])?;
    tracing::info!("  Name:     {}", server.name());
    tracing::info!("  ID:       {}", server.id());
    if let (Some(file), Some(digest)) = (&options.config_file, &options.config_digest) {
        tracing::info!("Using configuration file: {} ({digest})", file.display());
    }
    if let Some(bytes) = server.clients().broker.budget.limit() {
        tracing::info!("Memory budget for what waits to be sent: {bytes} bytes");
    }
    for warning in warnings {
        tracing::warn!("{}", warning.diagnostic);
    }
    Ok((server, signals))
}

/// Tells the log where the server can be reached.
fn announce_listeners(options: &Options, server: &Server) {
    if let Some(address) = server.monitoring_address() {
        let (host, scheme) = (bracketed(&monitoring_host(options)), scheme(options));
        tracing::info!("Starting {scheme} monitor on {host}:{}", address.port());
    }
    if options.listens_on_tcp {
        let (host, port) = (bracketed(&options.host), server.client_address().port());
        tracing::info!("Listening for client connections on {host}:{port}");
    }
    if let Some(socket) = &options.unix_socket {
        let path = socket.path.display();
        tracing::info!("Listening for client connections on unix:{path}");
    }
    if options.tls.is_some() && !options.allow_non_tls {
        tracing::info!("TLS required for client connections");
    }
}

/// Tells whoever waits for the ports file where the server can be reached.
fn write_ports(options: &Options, server: &Server) -> Result<Option<PortsFile>, String> {
    let Some(directory) = &options.ports_file_dir else {
        return Ok(None);
    };
    let mut urls = Vec::new();
    if options.listens_on_tcp {
        let scheme = if options.tls.is_some() { "tls" } else { "nats" };
        urls = listener_urls(scheme, server.client_address());
    }
    if let Some(socket) = &options.unix_socket {
        urls.push(format!("unix://{}", socket.path.display()));
    }
    let monitoring = |address| listener_urls(scheme(options), address);
    let ports = Ports {
        nats: urls,
        monitoring: server
            .monitoring_address()
            .map_or_else(Vec::new, monitoring),
        cluster: server
            .cluster()
            .map_or_else(Vec::new, |cluster| listener_urls("nats", cluster.address())),
        ..Ports::default()
    };
    PortsFile::write(directory, &ports).map(Some)
}

/// What in the listener's TLS deserves a word in the log.
fn warn(tls: Option<&ClientTls>) {
    for warning in tls.map(ClientTls::warnings).unwrap_or_default() {
        tracing::warn!("{warning}");
    }
}

/// A host as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// How monitoring is served.
fn scheme(options: &Options) -> &'static str {
    if options.monitoring.https_port.is_some() {
        "https"
    } else {
        "http"
    }
}

/// The next request to reload; never one where there are none.
async fn next_request(
    requests: &mut Option<mpsc::Receiver<ReloadRequest>>,
) -> Option<ReloadRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// The running process and what signals may change of it.
#[derive(Debug)]
struct Process {
    server: Server,
    /// Whoever started the process and wants to know how it fares.
    manager: ServiceManager,
    options: Options,
    log: LogHandle,
    log_options: LogOptions,
    ports_file: Option<PortsFile>,
}

impl Process {
    /// Does what signals ask for until the server has ended.
    async fn obey(&mut self, mut signals: SignalStream) {
        let mut reloads = self.server.reload_requests();
        loop {
            let signal = tokio::select! {
                () = self.server.stopped() => return,
                signal = signals.next() => signal,
                Some(outcome) = next_request(&mut reloads) => {
                    // Whoever asked may have gone by now.
                    let _ = outcome.send(self.reload().await);
                    continue;
                }
            };
            tracing::info!("Trapped {:?} signal", signal.to_string());
            match signal {
                ServerSignal::Stop => return self.stop().await,
                // A lame duck goes on with what it has begun.
                ServerSignal::Terminate if self.server.is_lame_duck() => {}
                ServerSignal::Terminate if self.options.lame_duck_on_term => self.leave(),
                ServerSignal::Terminate => return self.stop().await,
                ServerSignal::Reopen => self.log.reopen(&self.log_options),
                ServerSignal::LameDuck => self.leave(),
                ServerSignal::Reload => {
                    // The log says what came of it.
                    let _ = self.reload().await;
                }
            }
        }
    }

    async fn stop(&self) {
        self.manager.tell(Progress::Stopping);
        self.server.shutdown().await;
    }

    /// Enters lame duck mode, which ends with the end of the server.
    fn leave(&self) {
        self.manager.tell(Progress::Stopping);
        let server = self.server.clone();
        tokio::spawn(async move { server.lame_duck().await });
    }

    /// Reads the configuration again. A bad one changes nothing.
    async fn reload(&mut self) -> Result<(), String> {
        self.manager.tell(Progress::Reloading);
        let outcome = self.apply_again().await;
        self.manager.tell(Progress::Ready);
        match &outcome {
            Ok(()) => {
                let digest = self.options.config_digest.as_deref().unwrap_or_default();
                tracing::info!("Reloaded server configuration ({digest})");
            }
            Err(reason) => tracing::error!("Failed to reload server configuration: {reason}"),
        }
        outcome
    }

    /// Makes everything ready first; what comes then cannot fail.
    async fn apply_again(&mut self) -> Result<(), String> {
        if self.options.config_file.is_none() {
            return Err(
                "can only reload config when a file is provided using -c or --config".to_owned(),
            );
        }
        let environment = |name: &str| std::env::var(name).ok();
        let loaded = config::load(&self.options.layers, &environment).map_err(|mistakes| {
            mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        let options = loaded.options;
        let prepared = self.server.prepare_reload(&options).await?;
        let log_options = log_options(&options);
        let log = (log_options != self.log_options).then(|| PreparedLog::open(&log_options));
        let log = log.transpose().map_err(|error| error.to_string())?;
        if options.pid_file != self.options.pid_file
            && let Some(path) = &options.pid_file
        {
            write_pid_file(path)?;
        }
        let changes = prepared.changes().to_vec();
        for change in &changes {
            tracing::info!("{}", change.notice());
        }
        for warning in prepared.warnings() {
            tracing::warn!("{warning}");
        }
        for warning in &loaded.warnings {
            tracing::warn!("{}", warning.diagnostic);
        }
        if let Some(log) = log {
            self.log.switch(log);
        }
        self.server.apply_reload(prepared).await;
        self.log_options = log_options;
        self.options = options;
        self.tell_new_places(&changes);
        Ok(())
    }

    /// Tells the log and the ports file of listeners that have moved.
    fn tell_new_places(&mut self, changes: &[Change]) {
        let moved = |change: &Change| change.effect == Effect::Moves || change.option == "tls";
        let moved = changes.iter().any(moved);
        if moved {
            announce_listeners(&self.options, &self.server);
        }
        let elsewhere = changes
            .iter()
            .any(|change| change.option == "ports_file_dir");
        if elsewhere && let Some(Err(reason)) = self.ports_file.take().map(PortsFile::remove) {
            tracing::error!("{reason}");
        }
        if moved || elsewhere {
            match write_ports(&self.options, &self.server) {
                Ok(ports_file) => self.ports_file = ports_file,
                Err(reason) => tracing::error!("{reason}"),
            }
        }
    }
}

fn log_options(options: &Options) -> LogOptions {
    let log = &options.log;
    let destination = if let Some(path) = &log.file {
        Destination::File {
            path: path.clone(),
            size_limit: log.size_limit.unwrap_or(0),
            max_files: log
                .max_files
                .map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX)),
        }
    } else if let Some(url) = &log.remote_syslog {
        Destination::RemoteSyslog { url: url.clone() }
    } else if log.syslog {
        Destination::Syslog { socket: None }
    } else {
        Destination::Stderr
    };
    LogOptions {
        destination,
        format: match log.format {
            config::options::LogFormat::Text => LogFormat::Text,
            config::options::LogFormat::Json => LogFormat::Json,
        },
        timestamps: log.logtime,
        utc: log.logtime_utc,
        debug: log.debug,
        trace: log.trace,
        trace_verbose: log.trace_verbose,
    }
}
