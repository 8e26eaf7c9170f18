//! The charts, judged by Helm itself: what they render, what they refuse, and that it is what the operator deploys.
//!
//! Helm is built once, by Go; without Go these tests say so and pass.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod alerts;
#[path = "../olm/judges.rs"]
mod bundle;
#[path = "../olm/catalog.rs"]
mod catalog;
mod helm;
mod installer;
mod names;
mod operator;
mod refusals;
mod users;
#[path = "../../../operator/manifests/tests/users/judge.rs"]
mod users_judge;
mod values;
mod whole;
