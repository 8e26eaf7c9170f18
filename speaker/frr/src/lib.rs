//! Programs of our image that run in containers of FRR's image; ours is static, so they run there.
//!
//! ```text
//!  speaker ──frr.conf, SIGHUP──► reloader ──vtysh, frr-reload.py──► zebra, bgpd, bfdd
//!     ▲                             │
//!     └── .status, .status-of, last-error
//! ```
//! The protocol is upstream's, so our reloader works with upstream's speaker and the other way round. `.status-of` and, in
//! this mode, `last-error` are additions of ours.

mod apply;
mod copy;
mod exporter;
mod files;
mod frr;
mod reloader;

pub use copy::main as cp_tool;
pub use exporter::main as frr_metrics;
pub use reloader::main as reloader;
