//! Sockets and tasks of the announcing protocols; knows no Kubernetes.

pub mod bfd;
pub mod bgp;
pub mod l2;
mod mailbox;
pub mod members;
