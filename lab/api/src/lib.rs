//! A small in-memory Kubernetes API server for the lab.
//!
//! It holds what the product's binaries and everyday `kubectl` need, and no more; `README.md` lists what is imitated.
//! It does **not** enforce RBAC, run workload controllers, schedule, or keep anything across a restart.

mod accept;
mod admission;
mod apply;
mod auth;
mod body;
mod call;
mod convert;
mod crd;
mod defaults;
mod delete;
mod discovery;
mod dispatch;
mod error;
mod gc;
mod meta;
mod patch;
mod read;
mod request;
mod resource;
mod router;
mod schema;
mod selector;
mod server;
mod service;
mod shape;
mod state;
mod store;
mod strategic;
mod table;
mod tls;
mod view;
mod watch;
mod webhook;
mod write;

pub use server::{ApiServer, Options, start};
