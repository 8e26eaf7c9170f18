//! Programs of our image that run beside FRR, in containers of FRR's own image; it is static, so it runs there.
//!
//! ```text
//!  speaker ──frr.conf, SIGHUP──► reloader ──vtysh, frr-reload.py──► zebra, bgpd, bfdd
//!     ▲                             │
//!     └── .status, .status-of, last-error
//! ```
//! The protocol is upstream's, so that either side works with upstream's other one; `.status-of` and, in this mode,
//! `last-error` are ours.

mod apply;
mod copy;
mod exporter;
mod files;
mod frr;
mod reloader;

pub use copy::main as cp_tool;
pub use exporter::main as frr_metrics;
pub use reloader::main as reloader;
