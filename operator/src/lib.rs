//! Turns the MetalLB resource into a running MetalLB, and keeps it so.
//!
//! ```text
//!  watches: MetalLB, an inventory of all that we deploy, what OpenShift says of itself
//!     │ changes → keys                    (every replica)
//!     ▼
//!  work queue ──► engine ──► plan (pure) ──► sync: apply, prune      (the leader)
//!                   │          │
//!                   │          └► readiness, diagnosis, conditions ──► status, events
//!                   └► teardown: withdraw, then delete
//!  webhook of the MetalLB kind, /healthz and /readyz           (every replica)
//! ```
//!
//! What to deploy is decided in `metallb-manifests`; this crate compares it with what is there and writes the
//! difference. In steady state nothing is written.

pub mod args;
mod definitions;
mod deployer;
mod engine;
mod olm;
mod openshift;
mod plan;
mod program;
mod reconcile;
mod removal;
mod rights;
mod run;
mod status;
mod sync;

pub use args::Args;
pub use deployer::Deployer;
pub use program::main;
pub use run::run;

/// How many questions to the API server are asked at a time.
const AT_A_TIME: usize = 8;
