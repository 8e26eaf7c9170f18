//! What only tests use: labs on a real control plane and on real nodes, a proxy that makes faults, and a harness that runs
//! tests in the lab's namespaces.
//!
//! What tests need of the lab itself is here, too, so that they have one door: [`Lab`] is the lab with everything above.

mod envtest;
pub mod faults;
pub mod harness;
mod image;
mod kind;
mod lab;
mod on_kubernetes;
mod real;
mod stages;

pub use envtest::{Extent, Kubernetes, audit, obstacle, prepare};
pub use kind::ClusterKind;
pub use lab::{Lab, Options};
pub use metallb_lab::{
    Addresses, CLIENT, CLIENT_FAR, Families, HttpClient, Inside, Launch, NetError, Netns, NodeNet, Programs, Reply,
    Role, Router, RouterKind, Steps, Topology, apply, wait_for,
};
pub use on_kubernetes::OnKubernetes;
pub use real::Proxy;
pub use stages::{entry, launch};

/// Runs `metallb-lab` with real Kubernetes among its choices. Must be called first thing in `main`.
#[must_use]
pub fn lab_main() -> std::process::ExitCode {
    metallb_lab::cli::main::<OnKubernetes>()
}
