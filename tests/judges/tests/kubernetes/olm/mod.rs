//! The operator from its bundle.

pub(crate) mod installed;
mod lifecycle;
