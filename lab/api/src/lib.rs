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

mod server;
mod tls;

pub use server::{ApiServer, Options, StartError, start};
