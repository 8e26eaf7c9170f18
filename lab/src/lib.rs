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
mod home;
mod lab;
mod net;
pub mod platform;
mod products;
mod proxy;
mod router;
mod sandbox;
mod steps;
mod topology;
mod workloads;

pub use agent::Programs;
pub use apply::{apply, parse};
pub use client::{HttpClient, Reply};
pub use control_plane::embedded;
pub use entry::{BACKEND, Inside, Launch, Role, entry, entry_then, launch, stage};
pub use lab::{Lab, Options, prepare_ground};
pub use net::{NetError, Netns};
pub use router::{Router, RouterKind};
pub use steps::{Addresses, NAMESPACE, OPERATOR, Steps, wait_for};
pub use topology::{API_ADDRESS, CLIENT, CLIENT_FAR, Families, LAB, LAB_SIX, NodeNet, Topology};
pub use workloads::nodes::{arch, is_ready};
