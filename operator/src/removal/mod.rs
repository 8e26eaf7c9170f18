//! How what was deployed ends: announcements are withdrawn first, then everything goes, in order.

pub(crate) mod finalizer;
pub(crate) mod handover;
pub(crate) mod orphan;
pub(crate) mod teardown;
pub(crate) mod withdrawal;
