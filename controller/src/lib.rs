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
//! All replicas watch, parse and serve webhooks; the holder of the Lease assigns. [`engine`] and
//! [`pools`] decide and know no client; the rest carries out.
#![warn(missing_docs)]

mod args;
pub mod engine;
mod metrics;
pub mod pools;
mod program;
mod run;
mod secret;
mod shell;
mod tls_settings;
mod view;

pub use args::{Args, WebhookMode};
pub use program::main;
pub use run::{run, run_with};
