//! What this node announces: the one owner of all state that decisions depend on.
//!
//! [`Engine::handle`] takes what was seen in the cluster and returns what to do about it. Each Service is judged on its
//! own by `metallb-announce`, so that none waits for another, and only if something changed that its verdict depends
//! on. Effects carry what changed, never whole sets. Nothing is announced before the first picture is complete, and
//! nothing is withdrawn because news stop coming.
//!
//! It opens no socket, reads no clock, and knows neither who performs the effects nor where the events come from.

#![deny(missing_docs)]

mod addresses;
mod announced;
mod change;
mod configuration;
mod contest;
mod contributions;
mod effect;
mod engine;
mod event;
mod interner;
mod judge;
mod member;
mod nodes;
mod owners;
mod partners;
mod peers;
mod standing;
mod tenure;
#[cfg(test)]
mod tests;

pub use effect::{ConfigReport, Effect, EventKind, Peers, Protocol, RouteChange, ServiceKey, StatusContent};
pub use engine::{Engine, Settings};
pub use event::{Claim, Conflict, Event, Families, Links, ServiceFacts, Slice};
pub use member::{Interface, Mac, Member};
pub use metallb_announce::Failback;
pub use standing::Standing;
pub use tenure::{Tenure, TenureConfig};
