//! Admission and conversion: verdicts, server, certificates.
//!
//! [`verdict`] and [`convert`] are pure functions. [`run`] serves them over TLS until it is stopped, keeps its
//! certificate (own CA in a Secret, or files that somebody else writes) and the `caBundle` of whoever calls.
//!
//! ```no_run
//! # async fn example(client: kube::Client, stop: metallb_runtime::CancellationToken) -> anyhow::Result<()> {
//! use std::sync::Arc;
//! use metallb_webhooks::verdict::Kind;
//! use metallb_webhooks::{Certificates, Lists, Readiness, Rules, Webhooks};
//!
//! let rules = Rules { namespace: "metallb-system".into(), ..Rules::default() };
//! let webhooks = Webhooks {
//!     listen: ([0, 0, 0, 0], 9443).into(),
//!     certificates: Certificates::of_configuration("metallb-system"),
//!     tls: Default::default(),
//!     rules: Webhooks::fixed(rules),
//!     reader: Arc::new(Lists::new(client.clone(), "metallb-system")),
//!     first: Kind::IpAddressPool,
//!     metrics: None,
//! };
//! let ready = Readiness::default(); // for /readyz
//! metallb_webhooks::run(webhooks, client, ready, stop).await
//! # }
//! ```

pub mod certs;
pub mod fuzz;
mod metrics;
mod proof;
mod reader;
mod readiness;
pub mod review;
mod run;
pub mod server;

pub use metallb_verdict::{self as verdict, convert};

pub use certs::inject::Target;
pub use certs::rotate::Rotation;
pub use metrics::Metrics;
pub use reader::{Lists, ReadError, Reader};
pub use readiness::Readiness;
pub use run::{Certificates, Webhooks, run};
pub use server::TlsSettings;
pub use verdict::Rules;
