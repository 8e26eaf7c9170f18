//! ARP responder and gratuitous ARP, sans-IO.

mod interfaces;

pub use interfaces::Interfaces;
