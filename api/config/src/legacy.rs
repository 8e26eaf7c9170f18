//! What a legacy pool says of its own announcements.

use metallb_api::{AddressPoolSpec, Protocol};

use crate::error::{Findings, ObjectRef};
use crate::rule::Rule;

/// What can be said about the advertisements of a legacy pool before it is accepted (AP-5, AP-9).
pub(crate) fn check(object: &ObjectRef, spec: &AddressPoolSpec, findings: &mut Findings) {
    let list = &spec.bgp_advertisements;
    if spec.protocol != Protocol::Bgp && !list.is_empty() {
        findings.refuse(
            Rule::Ap5,
            object,
            "spec.bgpAdvertisements",
            "bgpAdvertisements are only valid with protocol bgp",
        );
    }
    for (place, entry) in list.iter().enumerate() {
        if list[..place].contains(entry) {
            findings.refuse(
                Rule::Ap9,
                object,
                format!("spec.bgpAdvertisements[{place}]"),
                "duplicate definition of advertisement",
            );
        }
    }
}
