use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::listen;

/// Serves `router` over plain HTTP until `stop`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_plain(address: SocketAddr, router: Router, stop: CancellationToken) -> Result<(), Error> {
    let failed = |source| Error::Serve { address, source };
    let listener = listen::bind(address).and_then(tokio::net::TcpListener::from_std);
    let listener = listener.map_err(failed)?;
    // Nagle's algorithm holds back the end of an answer until the client acknowledges the rest.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(failed)
}
