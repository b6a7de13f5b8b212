//! One listener's TLS configuration, and its renewal.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::files::{self, Fingerprint};
use super::resolver::FirstFitting;
use super::suites;
use super::{TlsError, TlsOptions, TlsVersion};

/// Sessions of TLS 1.2 that can be resumed without a ticket.
const SESSION_LIMIT: usize = 256;

/// Tickets that a client of TLS 1.3 gets: each resumption needs one and brings a new one.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// The TLS configuration of one listener.
///
/// Tickets are sealed with keys that only this listener has, and that are new after each change: a session made
/// under other rules for clients' certificates cannot be resumed here.
#[derive(Debug)]
pub struct TlsListener {
    options: TlsOptions,
    warnings: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// The state of the files when they were last looked at, whether or not they could be used.
    seen: Fingerprint,
}

/// The outcome of [`TlsListener::refresh`].
#[derive(Debug)]
pub enum Refresh {
    /// The files are those of the last look.
    Unchanged,
    /// The files have changed and are in use.
    Renewed,
    /// The files have changed and cannot be used; what was in use still is.
    Failed(TlsError),
}

impl TlsListener {
    /// Reads the files and prepares the configuration.
    ///
    /// # Errors
    /// If a file cannot be used or a name is not known.
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        let seen = Fingerprint::of(&options);
        let (config, warnings) = build(&options)?;
        Ok(Self {
            options,
            warnings,
            state: Mutex::new(State { config, seen }),
        })
    }

    /// What in the options has no effect here, for the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The configuration for the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(
            &self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .config,
        )
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// If they cannot be used; what was in use still is.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.renew(Fingerprint::of(&self.options))
    }

    /// Reads the files again if they have changed since the last look. Cheap if not: one `stat` for each file. To
    /// be called every few seconds, where it may block.
    pub fn refresh(&self) -> Refresh {
        let present = Fingerprint::of(&self.options);
        if self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen
            == present
        {
            return Refresh::Unchanged;
        }
        match self.renew(present) {
            Ok(()) => Refresh::Renewed,
            Err(error) => Refresh::Failed(error),
        }
    }

    fn renew(&self, present: Fingerprint) -> Result<(), TlsError> {
        let built = build(&self.options);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = present;
        state.config = built?.0;
        Ok(())
    }
}

fn build(options: &TlsOptions) -> Result<(Arc<ServerConfig>, Vec<String>), TlsError> {
    let (provider, warnings) = suites::provider(options)?;
    let certificates = files::certificates(options, &provider)?;
    let with_tls12 = options.min_version == TlsVersion::Tls12
        && provider
            .cipher_suites
            .iter()
            .any(|suite| suite.tls13().is_none());
    let provider = Arc::new(provider);
    let verifier = match (&options.ca_file, options.verify) {
        (_, false) => Arc::new(NoClientAuth),
        (None, true) => return Err(TlsError::NoAuthorities),
        (Some(file), true) => {
            let authorities = Arc::new(files::authorities(file)?);
            let provider = Arc::<CryptoProvider>::clone(&provider);
            WebPkiClientVerifier::builder_with_provider(authorities, provider)
                .build()
                .map_err(|error| TlsError::Authorities(error.to_string()))?
        }
    };
    let versions: &[_] = if with_tls12 {
        &[&TLS13, &TLS12]
    } else {
        &[&TLS13]
    };
    let library = |error: rustls::Error| TlsError::Library(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(library)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(FirstFitting::new(certificates)));
    config.ticketer = Ticketer::new().map_err(library)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSION_LIMIT);
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    Ok((Arc::new(config), warnings))
}
