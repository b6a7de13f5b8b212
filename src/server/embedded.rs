//! What a program does with a server that runs within it.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::newcomer::Origin;
use super::{Cluster, LocalClient, Server, ServerBuilder, listener};

/// Between two looks at whether the server is ready.
const READY_PAUSE: Duration = Duration::from_millis(10);

impl Server {
    /// A server to be configured and started.
    ///
    /// ```
    /// # use midge::server::{Server, StartError};
    /// # async fn example() -> Result<(), StartError> {
    /// let configuration = "listen: \"127.0.0.1:-1\"\nmax_payload: 2MB";
    /// let server = Server::builder().configuration(configuration)?.start().await?;
    /// let client = server.local_client("$G");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Whether new clients can connect: from the start until the server begins to leave.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.monitor().is_ready()
    }

    /// Resolves with true once clients can connect and there are links to at least `servers` other servers of the
    /// cluster, and with false if the server leaves before.
    pub async fn ready(&self, servers: usize) -> bool {
        loop {
            if !self.is_ready() {
                return false;
            }
            if self.cluster().map_or(0, Cluster::remote_count) >= servers {
                return true;
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// A connection within the process, for clients that take a stream: they introduce themselves, log in and are
    /// limited and counted like any other, and see a server without TLS. It is one end of a pair of sockets, so
    /// that it serves clients on any runtime and those without one:
    ///
    /// ```no_run
    /// # fn example(server: &midge::server::Server) -> std::io::Result<()> {
    /// let stream = server.connect_in_process()?;
    /// stream.set_nonblocking(true)?;
    /// let stream = tokio::net::UnixStream::from_std(stream)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotConnected` when the server is ending, or if the system has no sockets to give.
    pub fn connect_in_process(&self) -> io::Result<UnixStream> {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let (own, other) = UnixStream::pair()?;
        own.set_nonblocking(true)?;
        let _in_its_runtime = inner.runtime.enter();
        let own = tokio::net::UnixStream::from_std(own)?;
        listener::serve_local(inner, own, Origin::InProcess);
        Ok(other)
    }

    /// A client within the process that publishes and subscribes by function calls, with every right in the
    /// account of that name, which is made if there is none; `$G` is that of clients without another one.
    #[must_use]
    pub fn local_client(&self, account: &str) -> LocalClient {
        LocalClient::new(self.clone(), account)
    }
}
