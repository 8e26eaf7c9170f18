//! Why a MetalLB resource cannot be deployed.

use metallb_api::{BgpBackend, metallb::UnknownBackend};

/// Why a MetalLB resource cannot be deployed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The back-end is none of the known ones.
    #[error(transparent)]
    UnknownBackend(#[from] UnknownBackend),
    /// This operator cannot deploy the back-end.
    #[error("bgpBackend {0} is not supported by this operator")]
    UnsupportedBackend(BgpBackend),
}

impl Refusal {
    /// Gives the reason for a condition, as one word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownBackend(_) => "InvalidSpec",
            Self::UnsupportedBackend(_) => "UnsupportedBackend",
        }
    }
}
