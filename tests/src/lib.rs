//! Behaviour across crates: integration, interop, end to end.

pub mod tools;
