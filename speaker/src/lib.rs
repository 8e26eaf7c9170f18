//! The speaker: announces service addresses from the node it runs on.
//!
//! ```text
//!  API server ══watch══► inputs ──Event──► engine ──Effect──► shell ──► data plane (ARP, BGP)
//!  membership ───────────────────────────►   │                  ├─────► events, status objects, ConfigurationState
//!  interfaces ───────────────────────────────┘                  └─────► metrics
//! ```
//! `metallb-engine` decides and is a plain struct; everything else carries news to it and its wishes away. An API server that
//! cannot be reached brings no news, and so changes nothing.

pub mod args;
mod backend;
mod bfd;
mod bgp_args;
mod data_plane;
mod decide;
mod departure;
mod drain;
mod exclude;
mod failovers;
mod fast;
mod frr;
mod frr_k8s;
mod gateway;
mod inputs;
mod inspect;
mod key;
mod membership;
mod metrics;
mod native;
mod program;
mod retry;
mod run;
mod sessions;
mod shell;
mod state;
mod status;
mod timing;

pub use program::main;
pub use run::run;
