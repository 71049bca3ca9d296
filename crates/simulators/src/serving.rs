//! What both simulators need to be a server: a listening socket, a handle to stop it, a port file.
//! It knows no route.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use actix_web::dev::{Server, ServerHandle};
use tokio::task::JoinHandle;

/// How many connections may wait to be accepted: load tests open thousands at once.
const BACKLOG: u32 = 4_096;

/// A listening socket; `port` 0 asks for a free port. Must be called inside a tokio runtime.
pub(crate) fn bind(host: IpAddr, port: u16) -> io::Result<TcpListener> {
    let addr = SocketAddr::new(host, port);
    let socket = match addr {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Writes the bound port as decimal text; the file appears whole or not at all.
pub fn write_port_file(path: &Path, port: u16) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = std::fs::File::create(&partial)?;
    write!(file, "{port}")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

/// A server that runs until stopped or, when it listens to signals, until SIGTERM.
#[derive(Debug)]
pub(crate) struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Lets the server run in the background of the current runtime.
    #[expect(clippy::disallowed_methods, reason = "the task's handle is kept, and stop() and wait() join it")]
    pub(crate) fn launch(addr: SocketAddr, server: Server) -> Self {
        Self { addr, handle: server.handle(), task: tokio::spawn(server) }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes everything at once, streams included.
    pub(crate) async fn stop(self) -> io::Result<()> {
        self.handle.stop(false).await;
        self.wait().await
    }

    /// Waits until the server ends by itself.
    pub(crate) async fn wait(self) -> io::Result<()> {
        self.task.await.map_err(io::Error::other)?
    }
}
