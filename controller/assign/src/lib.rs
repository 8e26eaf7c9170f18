//! Every decision of the controller: which Service gets which address, and what is told of it.
//!
//! [`Pools`] makes pools in force of custom resources, and [`Engine`] turns events into actions. Neither has a client, a
//! task or a clock: the controller feeds them with what it watches and carries out what they say, and `kubectl metallb
//! plan` feeds them with a change that nobody has made yet.
#![warn(missing_docs)]

mod engine;
mod pools;
mod view;

pub use engine::{Accepted, Action, Announcers, Engine, Event, NOT_ANNOUNCEABLE, Reaches, is_of_a_write};
pub use pools::{Pools, Verdict, line};
