//! What all admission webhooks have in common.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

/// Leaves alone what is being deleted: whoever takes a finalizer away must not wait for a server that may be gone.
pub(crate) fn not_being_deleted() -> MatchCondition {
    MatchCondition {
        name: "not-being-deleted".to_owned(),
        expression: "!has(object.metadata.deletionTimestamp)".to_owned(),
    }
}
