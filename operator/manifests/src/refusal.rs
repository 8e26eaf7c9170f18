//! Why a MetalLB resource cannot be deployed.

use metallb_api::metallb::UnknownBackend;

/// Why a MetalLB resource cannot be deployed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The back-end is none of the known ones.
    #[error(transparent)]
    UnknownBackend(#[from] UnknownBackend),
    /// A patch of the user does not fit the object.
    #[error("spec.overrides[{place}].patch does not fit {object}: {reason}")]
    Override {
        /// Which of the patches.
        place: usize,
        /// The object.
        object: String,
        /// What does not fit.
        reason: String,
    },
}

impl Refusal {
    /// Gives the reason for a condition, as one word.
    pub const fn reason(&self) -> &'static str {
        "InvalidSpec"
    }
}
