//! The FRRConfiguration of a node: from what is desired of BGP and BFD to the object that frr-k8s reads, and whether that
//! is what the API server has.
//!
//! It writes no object and knows no API server. Equal desires give equal objects, whatever the order in which they came
//! about. The object is upstream's, field by field, so that a speaker of either kind takes over from the other one without a
//! write; beyond upstream's it has `sourceaddress` and `localASN`, which upstream leaves out.
//!
//! ```
//! use metallb_frr::{Endpoint, Neighbour, RemoteAs, Router};
//! use metallb_frr_k8s::{Desired, Session, is_settled, spec};
//!
//! let router = Router { asn: 64500, id: None, vrf: None };
//! let neighbour = Neighbour::new(Endpoint::Address("192.0.2.1".parse()?), RemoteAs::Asn(64501));
//! let mut session = Session {
//!     peer: "tor".to_owned(),
//!     session: metallb_frr::Session::new(router, neighbour),
//!     secret: None,
//! };
//! session.session.routes.insert("198.51.100.10/32".parse()?, Default::default());
//! let made = spec("node-a", &Desired { sessions: vec![session], bfd_profiles: vec![] });
//! let wanted = serde_json::to_value(&made.spec)?;
//! assert_eq!(wanted["bgp"]["routers"][0]["prefixes"][0], "198.51.100.10/32");
//!
//! let mut stored = wanted.clone();
//! stored["bgp"]["routers"][0]["neighbors"][0]["disableMP"] = false.into();
//! assert!(is_settled(&wanted, &stored), "the API server has filled in a default");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod drift;
mod limits;
mod spec;

pub use drift::{is_settled, left_out};
pub use spec::{Desired, Made, Session, spec};

#[cfg(test)]
mod tests;
