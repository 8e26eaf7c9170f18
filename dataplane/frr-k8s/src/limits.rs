//! What frr-k8s does not do, or does otherwise than it is told.

use metallb_frr::Neighbour;

/// The greatest port that the definition of the kind takes.
const MAX_PORT: u16 = 16_384;
/// The greatest local preference that it takes: it declares the field as 32 bits with a sign.
const MAX_LOCAL_PREF: u32 = i32::MAX.unsigned_abs();
/// What frr-k8s takes for unset, in seconds: it then leaves the choice to FRR.
const HOLD: u16 = 180;
const KEEPALIVE: u16 = 60;
const CONNECT: u16 = 60;

/// Why there can be no session, if so. The API server would refuse the whole object.
pub(crate) fn obstacle(neighbour: &Neighbour) -> Option<String> {
    let port = neighbour.port;
    (port > MAX_PORT).then(|| format!("frr-k8s takes no peerPort above {MAX_PORT}, not {port}"))
}

/// What a session does otherwise than it is told, one sentence each.
///
/// Another value instead would contradict FRRConfigurations of users, who repeat the timers of our neighbors.
pub(crate) fn doubts(neighbour: &Neighbour) -> Vec<String> {
    let mut doubts = Vec::new();
    // FRR has one statement for both, which is left out if one of them is.
    let half = |timers: metallb_frr::Timers| (timers.hold == HOLD) != (timers.keepalive == KEEPALIVE);
    if neighbour.timers.is_some_and(half) {
        doubts.push(format!(
            "frr-k8s takes a holdTime of {HOLD}s or a keepaliveTime of {KEEPALIVE}s alone for none of both, so that FRR uses \
             {HOLD}s and {KEEPALIVE}s"
        ));
    }
    if neighbour.connect == Some(CONNECT) {
        doubts.push(format!(
            "frr-k8s takes a connectTime of {CONNECT}s for none, so that FRR uses 120s"
        ));
    }
    doubts
}

/// The local preference that can be told instead, if it is too great.
pub(crate) fn local_pref(wanted: u32) -> (u32, bool) {
    (wanted.min(MAX_LOCAL_PREF), wanted > MAX_LOCAL_PREF)
}

/// What is said of that.
pub(crate) fn local_pref_doubt() -> String {
    format!("frr-k8s takes no localPref above {MAX_LOCAL_PREF}, so that routes are told with that one")
}
