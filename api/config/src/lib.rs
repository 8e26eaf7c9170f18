//! The one parser from custom resources to configuration.
//!
//! Admission, controller, speaker, command line and lab all call [`parse`], so what admission
//! accepts every component understands. It is a pure function: no client, no clock, no files.

mod community;
mod model;
mod range;
mod selector;

pub use community::CommunityError;
pub use model::*;
pub use range::{AddressError, AddressRange};
pub use secrecy::ExposeSecret;
pub use selector::{Selector, SelectorError};
