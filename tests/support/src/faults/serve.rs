//! Listening, as long as the script lets us.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::forward::Forwarder;

/// How the proxy meets connections.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// With this certificate.
    Open(Arc<ServerConfig>),
    /// Nobody listens.
    Closed,
    /// Connections are accepted, and nothing is ever said.
    Deaf,
}

/// Serves `address` until `stop`; a change of the door resets all connections.
pub(super) async fn run<C: Connect + Clone + Send + Sync + 'static>(
    address: SocketAddr,
    mut listener: Option<TcpListener>,
    mut door: watch::Receiver<Door>,
    forwarder: Arc<Forwarder<C>>,
    stop: CancellationToken,
) {
    let mut epoch = CancellationToken::new();
    loop {
        // The epoch ends with the door's state: its connections are reset.
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = door.changed() => {
                if changed.is_err() {
                    return;
                }
                std::mem::take(&mut epoch).cancel();
                let closed = matches!(*door.borrow_and_update(), Door::Closed);
                listener = if closed { None } else { listen(address, listener).await };
            }
            accepted = accepted => if let Ok((stream, _)) = accepted {
                let now = door.borrow().clone();
                tokio::spawn(connection(stream, now, forwarder.clone(), epoch.clone(), stop.clone()));
            },
        }
    }
}

async fn listen(address: SocketAddr, listener: Option<TcpListener>) -> Option<TcpListener> {
    if listener.is_some() {
        return listener;
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!(%error, "the fault proxy cannot listen again");
            None
        }
    }
}

async fn connection<C: Connect + Clone + Send + Sync + 'static>(
    stream: TcpStream,
    door: Door,
    forwarder: Arc<Forwarder<C>>,
    epoch: CancellationToken,
    stop: CancellationToken,
) {
    let Ok(handle) = Connection::new(&stream) else { return };
    // What is written after the tail of a watch must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let end = handle.end.clone();
    let serving = async {
        let Door::Open(config) = door else {
            let _silent = stream;
            return std::future::pending().await;
        };
        // Who does not like our certificate goes away, and says so itself.
        let Ok(tls) = TlsAcceptor::from(config).accept(stream).await else {
            return;
        };
        let answer = service_fn(|asked| forwarder.answer(asked, handle.clone()));
        // Clients come and go.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), answer).await;
    };
    tokio::select! {
        () = serving => {}
        () = end.cancelled() => {}
        () = epoch.cancelled() => handle.reset(),
        () = stop.cancelled() => {}
    }
}
