//! A small in-memory Kubernetes API server for the lab.
//!
//! It holds what the product's binaries and everyday `kubectl` need, and no more; `README.md` lists what is imitated.
//! It does **not** enforce RBAC, run workload controllers, schedule, or keep anything across a restart.
//!
//! ```no_run
//! # async fn example() -> Result<(), metallb_lab_api::StartError> {
//! let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
//! let server = metallb_lab_api::start(metallb_lab_api::Options {
//!     listeners: vec![listener],
//!     dir: "/tmp/lab".into(),
//!     ..Default::default()
//! })
//! .await?;
//! let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::all(server.client());
//! println!("export KUBECONFIG={}", server.kubeconfig_path().display());
//! # drop(pods);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod accept;
mod admission;
mod apply;
mod auth;
mod call;
mod convert;
mod crd;
mod defaults;
mod delete;
mod discovery;
mod error;
mod gc;
mod meta;
mod patch;
mod protobuf;
mod read;
mod request;
mod resource;
mod router;
mod scale;
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
mod typed;
mod view;
mod watch;
mod webhook;
mod write;

pub use server::{ApiServer, Options, StartError, start};
