//! Behaviour across crates: what several test targets share, and the judges with them.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

pub mod ask;
pub mod faults;
pub mod graceful;
pub mod memberless;
pub mod metrics;
pub mod monitoring;
pub mod namespace;
pub mod path;
pub mod rule_examples;
pub mod schemas;
pub mod table;
pub mod tls;
pub mod visible;

use std::future::Future;
use std::pin::Pin;

/// How a test in the lab ends.
pub type Outcome = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;
