//! The Unix socket for clients and its file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixSocket as Socket, UnixStream};

use crate::config::options::unix_socket::UnixSocket;

/// Connections that the system completes before they are accepted; it may allow fewer.
const BACKLOG: u32 = 4096;

/// A socket that nobody can find yet.
#[derive(Debug)]
pub(super) struct HiddenSocket {
    socket: Socket,
    file: HiddenFile,
    /// Where clients will look for it.
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// The file of a hidden socket, which is removed when this is dropped.
#[derive(Debug)]
struct HiddenFile(PathBuf);

impl Drop for HiddenFile {
    fn drop(&mut self) {
        // It may have got its name.
        let _ = fs::remove_file(&self.0);
    }
}

/// A bound socket. Its file is removed when this is dropped, unless somebody has put another one there.
#[derive(Debug)]
pub(super) struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Makes a socket. It gets its permissions and its owner under another name and before it listens, so that there is
/// no moment in which it could be reached by somebody who may not, whatever the process's umask. One that takes over
/// may replace a socket that is listened on.
pub(super) fn bind(options: &UnixSocket, takes_over: bool) -> io::Result<HiddenSocket> {
    let path = &options.path;
    if !takes_over {
        refuse_taken(path)?;
    }
    let hidden = hidden_name(path);
    match fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new_stream()?;
    // On Linux the file begins with the permissions of the socket: none for others. Elsewhere this does nothing.
    let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    socket.bind(&hidden)?;
    let file = HiddenFile(hidden);
    chown(&file.0, options.owner, options.group)?;
    fs::set_permissions(&file.0, Permissions::from_mode(options.mode))?;
    let metadata = fs::metadata(&file.0)?;
    Ok(HiddenSocket {
        socket,
        file,
        path: path.clone(),
        identity: (metadata.dev(), metadata.ino()),
    })
}

/// What a server left behind that died is replaced; a socket that somebody listens on is not, nor is any other file.
fn refuse_taken(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        let text = "a file that is no socket is in the way";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "somebody listens on it already",
        )),
    }
}

fn hidden_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

impl HiddenSocket {
    /// Puts it in the place of whatever has its name, and listens.
    pub(super) fn appear(self) -> io::Result<BoundSocket> {
        let Self {
            socket,
            file,
            path,
            identity,
        } = self;
        // First this: once the file has its name, those who come are not refused.
        let listener = socket.listen(BACKLOG)?;
        fs::rename(&file.0, &path)?;
        Ok(BoundSocket {
            listener,
            path,
            identity,
        })
    }
}

impl BoundSocket {
    /// The next client, and who it is as the system vouches for it.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, UCred)> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?;
        Ok((stream, peer))
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let present = fs::symlink_metadata(&self.path);
        if present.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as BlockingStream;

    use super::*;

    #[tokio::test]
    async fn nobody_can_connect_before_the_socket_has_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("midge.sock");
        let options = UnixSocket {
            path: path.clone(),
            mode: 0o620,
            owner: None,
            group: None,
        };
        let hidden = bind(&options, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&hidden.file.0), 0o620);
        let refused = BlockingStream::connect(&hidden.file.0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(!path.exists());
        let socket = hidden.appear().unwrap();
        assert_eq!(mode(&path), 0o620);
        let (accepted, connected) = tokio::join!(socket.accept(), UnixStream::connect(&path));
        assert!(accepted.is_ok() && connected.is_ok());
    }
}
