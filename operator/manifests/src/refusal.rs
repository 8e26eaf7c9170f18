//! Why a MetalLB resource cannot be deployed.

use metallb_api::metallb::UnknownBackend;

/// Why a MetalLB resource cannot be deployed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The back-end is none of the known ones.
    #[error(transparent)]
    UnknownBackend(#[from] UnknownBackend),
}

impl Refusal {
    /// Gives the reason for a condition, as one word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownBackend(_) => "InvalidSpec",
        }
    }
}
