//! From options or a configuration text to a running server, in one expression.

use std::net::TcpListener;

use super::{GivenListeners, Server, ServerOptions, StartError};
use crate::config::{self, Options};

/// A server about to start; see [`Server::builder`].
#[derive(Debug, Default)]
pub struct ServerBuilder {
    options: Options,
    given: GivenListeners,
}

impl ServerBuilder {
    /// Starts with these options in place of nats-server's defaults.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Starts with what a configuration in the language of `nats.conf` says. It cannot include files, and its
    /// variables have no values but its own.
    ///
    /// # Errors
    /// [`StartError::Options`] with every mistake and its place.
    pub fn configuration(self, text: &str) -> Result<Self, StartError> {
        let loaded = config::load_text(text, "configuration", false).map_err(|mistakes| {
            StartError::Options(mistakes.iter().map(ToString::to_string).collect())
        })?;
        Ok(self.options(loaded.options))
    }

    /// Serves clients on a listener that is bound already, such as one that a service manager has handed over,
    /// in place of the configured address.
    #[must_use]
    pub fn clients_on(mut self, listener: TcpListener) -> Self {
        self.given.clients = Some(listener);
        self
    }

    /// Serves monitoring on a listener that is bound already: over HTTPS if `https_port` is configured, over HTTP
    /// otherwise.
    #[must_use]
    pub fn monitoring_on(mut self, listener: TcpListener) -> Self {
        self.given.monitoring = Some(listener);
        self
    }

    /// Starts the server on the current Tokio runtime, which must have its timers and sockets enabled. Clients can
    /// connect when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind then, but given listeners are closed.
    pub async fn start(self) -> Result<Server, StartError> {
        let Self { mut options, given } = self;
        let address = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map_err(|source| StartError::Listen {
                address: "the given listener".to_owned(),
                source,
            })
        };
        if let Some(listener) = &given.clients {
            let address = address(listener)?;
            options.listens_on_tcp = true;
            (options.host, options.port) = (address.ip().to_string(), address.port());
        }
        if let Some(listener) = &given.monitoring {
            let address = address(listener)?;
            let monitoring = &mut options.monitoring;
            monitoring.host = Some(address.ip().to_string());
            match &mut monitoring.https_port {
                Some(port) => *port = address.port(),
                None => monitoring.http_port = Some(address.port()),
            }
        }
        let mut options = ServerOptions::from_config(&options).map_err(StartError::Options)?;
        options.given = given;
        Server::start(options).await
    }
}
