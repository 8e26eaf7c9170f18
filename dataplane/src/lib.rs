//! Sockets and tasks of the announcing protocols; knows no Kubernetes.

pub mod bfd;
pub mod bgp;
pub mod l2;
pub mod members;
