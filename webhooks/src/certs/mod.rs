//! Certificates: our own CA in a Secret, or files that somebody else writes.

pub mod bundle;
pub mod files;
pub mod inject;
pub mod rotate;
