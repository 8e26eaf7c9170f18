//! Network namespaces and the plumbing between them, by netlink alone: no `ip` tool is needed.

mod links;
mod netns;

pub(crate) use links::{Links, Wire};
pub use netns::Netns;

/// A network action that the kernel refused, as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel was built without what the lab needs, or its module is not loaded.
    #[error(
        "this kernel has no {what} ({source}): load the module `{module}` (`modprobe {module}`) or use another kernel"
    )]
    Missing {
        /// The feature.
        what: &'static str,
        /// The kernel module that provides it.
        module: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// Netlink refused.
    #[error("cannot {action} in network namespace {netns}: {source}")]
    Refused {
        /// What was attempted.
        action: String,
        /// Where.
        netns: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// A system call failed.
    #[error("cannot {action} in network namespace {netns}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Where.
        netns: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
}
