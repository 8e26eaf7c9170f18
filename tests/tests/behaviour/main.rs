//! Behaviour across crates that needs no lab.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod accepted;
mod admission;
mod alerts;
mod claims;
mod controller;
mod docs;
mod examples;
mod operator;
mod rotation;
mod security;
mod served;
mod validation;
