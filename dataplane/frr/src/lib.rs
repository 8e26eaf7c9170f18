//! Renders the desired BGP and BFD state as the text of `frr.conf`.
//!
//! It touches no files, starts no programs and knows nothing of Kubernetes. Equal states give equal texts, in whatever order
//! they were built. Names of route-maps and prefix lists are upstream's, because users' own lines (`bgpextras`) refer to
//! them.
//!
//! ```
//! use metallb_frr::{Desired, Endpoint, Neighbour, RemoteAs, Router, Session};
//!
//! let mut desired = Desired::default();
//! let router = Router { asn: 64500, id: None, vrf: None };
//! let neighbour = Neighbour::new(Endpoint::Address("192.0.2.1".parse()?), RemoteAs::Asn(64501));
//! let mut session = Session::new(router, neighbour);
//! session.routes.insert("198.51.100.10/32".parse()?, Default::default());
//! desired.sessions.push(session);
//! let text = desired.render();
//! assert!(text.as_str().contains("neighbor 192.0.2.1 remote-as 64501\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every text that a user can choose has a type of [`word`], which cannot hold a line break and so cannot add a line.
#![deny(missing_docs)]

mod community;
mod filters;
mod level;
mod lines;
mod model;
mod render;
mod routers;
mod sequence;
mod shortcut;
mod verdict;
pub mod word;

pub use community::Community;
pub use level::Level;
pub use lines::{Text, digest};
pub use model::{
    Attributes, BfdProfile, Desired, Endpoint, Extras, Neighbour, RemoteAs, Router, Routes, Session, Timers,
};
pub use shortcut::shortcut;
pub use verdict::{NoOutcome, Outcome, Verdict};

#[cfg(test)]
mod tests;
