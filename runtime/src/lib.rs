//! Kubernetes plumbing that the binaries share.
//!
//! Watches, a keyed work queue, server-side apply, events, leader election, health and metrics servers, logs, TLS and
//! orderly shutdown. It makes no decision about load balancing and knows no MetalLB resource.
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! use k8s_openapi::api::core::v1::Service;
//! use metallb_runtime::{client, shutdown, tasks, telemetry, tls, watch, work};
//!
//! telemetry::init("metallb-example", "info")?;
//! tls::install_crypto_provider();
//! let stop = shutdown::signal()?;
//! let client = client::connect("metallb-example").await?;
//! let tasks = tasks::Tasks::new(stop);
//! let services = kube::Api::<Service>::all(client);
//! let mut services = watch::watch(services, watch::Config::default(), &tasks.spawner());
//! let queue = work::Queue::new(work::Backoff::default());
//! while let Some(change) = services.changes.recv().await {
//!     if let Some(object) = change.object() {
//!         queue.add(object.metadata.name.clone());
//!     }
//! }
//! # Ok(()) }
//! ```

pub mod admin;
pub mod apply;
pub mod cause;
pub mod cert_files;
pub mod client;
pub mod events;
pub mod files;
pub mod flags;
pub mod lease;
pub mod listen;
pub mod namespace;
pub mod serve;
pub mod shutdown;
pub mod start;
pub mod tasks;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod watch;
pub mod work;

pub use tokio_util::sync::CancellationToken;
