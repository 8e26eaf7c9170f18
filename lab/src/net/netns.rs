//! One network namespace: making it, working in it, sockets in it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{Links, NetError};

/// A network namespace; the last clone to go takes it (and every socketless interface in it) away.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    file: File,
    pinned: PathBuf,
}

impl Netns {
    /// Makes a namespace with nothing but a loopback device, pinned at `dir/name` for other processes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(dir: &Path, name: &str) -> Result<Self, NetError> {
        let path = dir.join(name);
        let made = std::thread::scope(|scope| {
            scope
                .spawn(|| make(&path))
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        let file = made.map_err(|source| io_error("create it", name, source))?;
        Ok(Self(Arc::new(Inner {
            name: name.into(),
            file,
            pinned: path,
        })))
    }

    /// The namespace of the calling thread, pinned at `dir/name`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn current(dir: &Path, name: &str) -> Result<Self, NetError> {
        let path = dir.join(name);
        let file = pin(&path).map_err(|source| io_error("open it", name, source))?;
        Ok(Self(Arc::new(Inner {
            name: name.into(),
            file,
            pinned: path,
        })))
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A path that `setns` accepts after opening, from any process that shares the mount namespace.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.pinned
    }

    /// Runs `work` inside. It must be short: the caller waits. A tokio runtime may be used from it, and
    /// what it makes there (sockets, watches) stays in this namespace for good.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.0.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                let _guard = runtime.as_ref().map(tokio::runtime::Handle::enter);
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        })
    }

    /// Netlink in this namespace.
    ///
    /// # Errors
    /// When no netlink socket can be had.
    pub(crate) fn links(&self) -> Result<Links, NetError> {
        let made = self.run(|| {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            Ok(handle)
        });
        let handle = made
            .and_then(|made| made)
            .map_err(|source| io_error("open netlink", self.name(), source))?;
        Ok(Links::new(self.clone(), handle))
    }

    /// Sets `net.<key>` (dots or slashes) to `value`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub(crate) fn sysctl(&self, key: &str, value: &str) -> Result<(), NetError> {
        let path = Path::new("/proc/sys/net").join(key);
        self.run(|| fs::write(&path, value))
            .and_then(|written| written)
            .map_err(|source| io_error(&format!("set {} to {value}", path.display()), self.name(), source))
    }

    /// Listens on `address` in this namespace.
    ///
    /// # Errors
    /// When the address is taken or not local.
    pub fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.socket(address, Type::STREAM)?;
        socket.set_reuse_address(true)?;
        // Lets a proxy listen on an address a moment before its route is there.
        if address.is_ipv4() {
            socket
                .set_ip_transparent_v4(true)
                .or_else(|_| socket.set_freebind_v4(true))?;
        }
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    }

    /// Connects from `source` (any when `None`) in this namespace.
    ///
    /// # Errors
    /// Those of `connect`, and `TimedOut`.
    pub async fn connect(&self, source: Option<IpAddr>, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        let socket = self.socket(to, Type::STREAM)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        let connecting = tokio::net::TcpSocket::from_std_stream(socket.into()).connect(to);
        tokio::time::timeout(patience, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    pub(super) fn file(&self) -> &File {
        &self.0.file
    }

    /// A non-blocking socket of the family of `address`.
    pub(crate) fn socket(&self, address: SocketAddr, kind: Type) -> io::Result<Socket> {
        self.run(|| {
            let socket = Socket::new(Domain::for_address(address), kind, None::<Protocol>)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = umount2(&self.pinned, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.pinned);
    }
}

/// Runs on a thread of its own, which it spoils.
fn make(path: &Path) -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    pin(path)
}

fn pin(path: &Path) -> io::Result<File> {
    File::create(path)?;
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    File::open(path)
}

fn io_error(action: &str, netns: &str, source: io::Error) -> NetError {
    NetError::Io {
        action: action.into(),
        netns: netns.into(),
        source,
    }
}
