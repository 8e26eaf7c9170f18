//! The controller: assigns addresses to Services of type LoadBalancer.
//!
//! ```text
//!  Services ──► keys ──► queue ──► workers ──► Engine (one lock, no I/O) ──► actions
//!                          ▲          │ write, then event                        │
//!                          └──────────┴──────── woken Services ◄─────────────────┤
//!  pools, Communities, Namespaces ──► Pools (parser) ──► Engine                  └──► numbers ──► gauges, pool status
//!                                        └──► ConfigurationState, gauges
//! ```
//!
//! All replicas watch, parse and serve webhooks; the holder of the Lease assigns. What is
//! decided is decided by `metallb-assign`, which knows no client; this crate carries it out.
#![warn(missing_docs)]

mod args;
mod metrics;
mod program;
mod run;
mod secret;
mod shell;
mod tls_settings;

pub use args::{Args, WebhookMode};
pub use program::main;
pub use run::{run, run_with};
