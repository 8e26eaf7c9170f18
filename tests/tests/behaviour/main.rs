//! Behaviour across crates that needs no lab.

mod examples;
