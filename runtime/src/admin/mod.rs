//! The servers for people and machines that look after the process: health and metrics.

mod access;
mod glass;
mod health;
mod metrics;
mod plain;

pub use access::{Access, Authorizer};
pub use health::{Health, serve_health};
pub use metrics::{MetricsOptions, Scraped, register_panics, register_process, serve_metrics};
pub use plain::serve_plain;

/// Failure to serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be bound, or the server failed.
    #[error("cannot serve on {address}")]
    Serve {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS options or certificate.
    #[error("cannot serve metrics over TLS")]
    Tls(#[from] crate::tls::Error),
}
