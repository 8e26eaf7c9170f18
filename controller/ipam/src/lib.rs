//! The address allocator: which Service gets which address, and when it has to let go.
//!
//! Pure: no clock, no sockets, no client. It does not watch, write or log; it decides.
//!
//! - [`Allocator`] owns the state: pools, addresses in use, and who waits for what.
//! - [`Assigner`] takes one Service at a time and says what to write to it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use metallb_config::{AddressRange, Pool};
//! use metallb_ipam::{Assigner, Key, Service};
//!
//! let mut assigner = Assigner::default();
//! let pool = Pool {
//!     name: "pool".into(),
//!     entries: vec![AddressRange::parse("192.0.2.0/30").unwrap()],
//!     auto_assign: true,
//!     ..Pool::default()
//! };
//! // Start: hand over the pools, import every Service that holds an address, then converge all.
//! let touched = assigner.set_pools(&BTreeMap::from([("pool".into(), pool)]));
//! assert!(touched.is_empty());
//! let service = Service { load_balancer: true, cluster_ips: vec!["10.0.0.1".into()], ..Service::new(Key::new("default", "web")) };
//! assigner.import(&service);
//! let outcome = assigner.converge(&service);
//! assert_eq!(outcome.ingress().unwrap(), ["192.0.2.0".parse::<std::net::IpAddr>().unwrap()]);
//! // Afterwards: converge whoever is named here too.
//! assert!(assigner.take_woken().is_empty());
//! ```
#![warn(missing_docs)]

mod allocator;
mod assigner;
mod catalog;
mod family;
mod key;
mod object;
mod pool;
mod refusal;
mod request;
mod service;
mod space;
mod waiters;

pub use allocator::{Allocation, Allocator, Clash, Explanation, Neighbour, Trial};
pub use assigner::{Action, Assigner, EventKind, Level, Outcome, Standing};
pub use family::{Families, Family, FamilyPolicy};
pub use key::{Key, PoolName};
pub use object::{is_of_class, seniority};
pub use pool::Counters;
pub use refusal::{Refusal, RequestError, Why};
pub use request::{Backend, Port, Protocol, Request, Sharing};
pub use service::{Ingress, Service};
