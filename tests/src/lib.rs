//! Behaviour across crates: integration, interop, end to end.

pub mod tls;
pub mod tools;
