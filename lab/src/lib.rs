//! A cluster in a process, for trying and testing.

mod agent;
mod apply;
mod backend;
mod capabilities;
pub mod cli;
mod client;
mod cluster;
mod control_plane;
mod demo;
mod entry;
mod envtest;
pub mod faults;
pub mod harness;
mod home;
mod lab;
mod net;
mod products;
mod proxy;
mod real;
mod router;
mod sandbox;
mod steps;
mod topology;
mod workloads;

pub use agent::Programs;
pub use apply::apply;
pub use client::{HttpClient, Reply};
pub use control_plane::ControlPlaneKind;
pub use entry::{Inside, Launch, Role, entry, launch};
pub use envtest::{Extent, Kubernetes, audit, obstacle, prepare};
pub use lab::{Lab, Options};
pub use net::{NetError, Netns};
pub use real::Proxy;
pub use router::{Router, RouterKind};
pub use steps::{Addresses, Steps, wait_for};
pub use topology::{CLIENT, CLIENT_FAR, NodeNet, Topology};
