//! Tells the service manager that started the process how it fares: systemd's notification protocol, which
//! other managers speak as well. Without `NOTIFY_SOCKET` in the environment there is nobody to tell.

use std::ffi::{OsStr, OsString};
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The server accepts clients, or goes on to do so after a reload.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It ends, promptly or as a lame duck.
    Stopping,
}

impl Progress {
    fn message(self) -> String {
        match self {
            Self::Ready => "READY=1".to_owned(),
            // systemd tells this reload from others by its time (`Type=notify-reload`).
            Self::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
                format!("RELOADING=1\nMONOTONIC_USEC={microseconds}")
            }
            Self::Stopping => "STOPPING=1".to_owned(),
        }
    }
}

/// Whoever started the process and wants to hear of its progress, if anybody.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    /// Path of its socket; one that begins with `@` is a name in the kernel's abstract space.
    socket: Option<OsString>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET").unwrap_or_default())
    }

    /// The one that listens at this path; nobody if it is empty.
    #[must_use]
    pub fn at(socket: OsString) -> Self {
        Self {
            socket: Some(socket).filter(|socket| !socket.is_empty()),
        }
    }

    /// Tells it. A manager that cannot be told does not keep the server from its work: the log says so.
    pub fn tell(&self, progress: Progress) {
        if let Some(socket) = &self.socket
            && let Err(error) = send(socket, &progress.message())
        {
            tracing::warn!("Cannot tell the service manager {progress:?}: {error}");
        }
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagrams = UnixDatagram::unbound()?;
    // The manager's queue may be full; a server does not wait for it.
    datagrams.set_nonblocking(true)?;
    datagrams.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn it_is_told_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        ServiceManager::at(path.into()).tell(Progress::Ready);
        assert_eq!(received(&by_path), "READY=1");

        let name = format!("midge-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager::at(format!("@{name}").into());
        manager.tell(Progress::Stopping);
        assert_eq!(received(&by_name), "STOPPING=1");
        manager.tell(Progress::Reloading);
        let reloading = received(&by_name);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    }

    #[test]
    fn nobody_and_somebody_who_is_gone_are_no_mistake() {
        ServiceManager::default().tell(Progress::Ready);
        ServiceManager::at(OsString::new()).tell(Progress::Ready);
        ServiceManager::at("/nonexistent/notify".into()).tell(Progress::Ready);
        let long = OsStr::from_bytes(&[b'x'; 300]).to_owned();
        ServiceManager::at(long).tell(Progress::Ready);
    }
}
