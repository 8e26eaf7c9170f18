//! The one parser from custom resources to configuration.
//!
//! Admission, controller, speaker, command line and lab all call [`parse`], so what admission
//! accepts every component understands. It is a pure function: no client, no clock, no files.

#![deny(missing_docs)]

mod advertisement;
mod age;
mod announcement;
mod bfd;
mod choice;
mod community;
mod context;
mod error;
mod fitting;
mod legacy;
mod meeting;
pub mod metallb;
mod model;
mod nearby;
mod overlap;
mod parse;
mod peer;
mod pool;
mod range;
mod resources;
mod rule;
mod selector;
mod session;
mod settled;
#[cfg(test)]
mod tests;

pub use community::CommunityError;
pub use error::{ObjectRef, Refused, Warning};
pub use model::*;
pub use parse::{Judged, Parsed, judge_change, parse};
pub use range::{AddressError, AddressRange};
pub use resources::{Backend, Change, MyAsnScope, Options, Resources, Secrets, View};
pub use rule::Rule;
pub use secrecy::ExposeSecret;
pub use selector::{Labels, Selector, SelectorError};
pub use settled::Settled;
