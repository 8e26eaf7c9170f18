//! Admission and conversion: verdicts, server, certificates.
//!
//! [`verdict`] and [`convert`] are pure functions. [`run`] serves them over TLS until it is stopped, keeps its
//! certificate (own CA in a Secret, or files that somebody else writes) and the `caBundle` of whoever calls.

pub mod convert;
pub mod verdict;
