use std::net::SocketAddr;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::listen;
use crate::serve::{Settings, serve};

/// Serves `router` over plain HTTP until `stop`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_plain(address: SocketAddr, router: Router, stop: CancellationToken) -> Result<(), Error> {
    let failed = |source| Error::Serve { address, source };
    let listener = listen::bind(address).map_err(failed)?;
    serve(listener, Settings::default(), router, stop).await.map_err(failed)
}
