//! Turns the MetalLB resource into a running MetalLB, and keeps it so.
//!
//! ```text
//!  watches: MetalLB, DaemonSet, Deployment, ConfigMap, ServiceAccount
//!     │ changes → keys                    (every replica)
//!     ▼
//!  work queue ──► engine ──► plan (pure) ──► apply, prune      (the leader)
//!                              │
//!                              └► readiness, conditions (pure) ──► status, events
//!  webhook of the MetalLB kind, /healthz and /readyz           (every replica)
//! ```
//!
//! What to deploy is decided in `metallb-manifests`; this crate compares it with what is there and writes the
//! difference. In steady state nothing is written.

pub mod args;
mod conditions;
mod drift;
mod engine;
mod metrics;
mod plan;
mod readiness;
mod run;
mod sync;

pub use args::Args;
pub use run::run;
