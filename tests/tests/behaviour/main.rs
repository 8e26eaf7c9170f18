//! Behaviour across crates that needs no lab.

mod admission;
mod controller;
mod examples;
mod rotation;
mod validation;
