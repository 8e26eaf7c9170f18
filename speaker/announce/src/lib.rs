//! Decides which node announces which service address, over which protocol, and with what.
//!
//! Everything here is a pure function of what was read from the cluster: no clock, no socket, no Kubernetes client.
//! The speaker feeds [`Inputs`] and a [`ServiceView`]; [`decide`] answers with a [`Decision`]: for each protocol either
//! what to announce or the [`Reason`] why not. All speakers that see the same inputs reach the same verdict, which is
//! what makes layer-2 ownership unique without any talk between them.
//!
//! It does **not** announce, remember what was announced, or know whether a BGP session is up.
//!
//! ```
//! use metallb_announce::{Inputs, decide};
//! # use metallb_announce::{Endpoints, ServiceView};
//! # use metallb_config::Pool;
//! # fn run(inputs: &Inputs<'_>, pool: Option<&Pool>, service: &ServiceView, endpoints: &Endpoints) {
//! let decision = decide(inputs, pool, service, endpoints);
//! match decision.layer2 {
//!     Ok(l2) => println!("answer ARP for {:?} on {:?}", l2.addresses, l2.interfaces),
//!     Err(reason) => println!("not over layer 2: {reason}"),
//! }
//! # }
//! ```

mod bgp;
mod case;
mod compact;
mod decide;
pub mod election;
mod layer2;
pub mod reach;
mod reason;
mod standing;
mod view;

pub use bgp::{Path, Route};
pub use case::{BgpCase, Layer2Case, Out, Rank, bgp_case, layer2_case};
pub use compact::{Labels, Names};
pub use decide::{Decision, Inputs, Layer2, decide, has_candidate, outranks, place};
pub use reason::Reason;
pub use standing::{Extension, Failback, Standing};
pub use view::{Endpoint, Endpoints, NodeView, ServiceView, is_drained};
