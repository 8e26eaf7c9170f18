//! `kubectl metallb`: tells people why a Service is as it is, and what is wrong with a configuration.
//!
//! One flow for every command: objects are read into [`Facts`], from a cluster or from files; a pure function makes a report
//! of them; the report is printed as text, JSON or YAML. What is decided about addresses, owners and routes is decided by
//! the crates that controller and speaker decide with (`metallb-ipam`, `metallb-announce`, `metallb-config`), and what
//! admission would say by `metallb-verdict`.
//!
//! It changes nothing in a cluster, and reads no Secrets.

mod args;
mod ask;
mod bgp;
mod completion;
mod explain;
mod facts;
mod input;
mod l2;
mod lint;
mod plan;
mod program;
mod report;
mod sent;
mod sessions;
mod status;
mod table;
mod version;
mod world;

pub use args::Args;
pub use ask::{Asked, Heard};
pub use facts::{Facts, Read};
pub use program::{main, run};

#[cfg(test)]
mod schemas;
