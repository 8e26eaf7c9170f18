//! What people are told of it: conditions, events, metrics.

pub(crate) mod conditions;
pub(crate) mod diagnosis;
pub(crate) mod failure;
pub(crate) mod metrics;
pub(crate) mod readiness;
pub(crate) mod tell;
pub(crate) mod workload;
