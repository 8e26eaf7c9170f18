//! Events and log lines.

use k8s_openapi::api::core::v1::ObjectReference;
use metallb_ipam::{EventKind, Key, Level};
use metallb_runtime::events::{EventType, Recorder};
use tracing::{debug, error, info, warn};

/// Leaves an event to be sent; never waits.
pub(super) fn tell(recorder: &Recorder, about: &ObjectReference, kind: EventKind, reason: &str, message: &str) {
    let kind = match kind {
        EventKind::Normal => EventType::Normal,
        EventKind::Warning => EventType::Warning,
    };
    recorder.emit(about, kind, reason, reason, message);
}

/// Writes a line of the engine in upstream's words.
pub(super) fn log(key: &Key, level: Level, event: &'static str, detail: &str) {
    let service = key.to_string();
    match (level, event) {
        (_, "ipAllocated") => info!(event, service, ip = detail, "IP address assigned by controller"),
        (_, "serviceDeleted") => info!(event, service, "service deleted"),
        (_, "deprecatedAnnotation") => warn!(event, service, annotation = detail, "deprecated annotation"),
        (_, "allocateIPs") => error!(op = event, service, error = detail, "IP allocation failed"),
        (_, "loadbalancerIP") => error!(event, service, error = detail, "invalid requested loadbalancer IPs"),
        (Level::Debug, _) => debug!(event, service, reason = detail),
        (Level::Info, _) => info!(event, service, reason = detail),
        (Level::Warn, _) => warn!(event, service, reason = detail),
        (Level::Error, _) => error!(event, service, reason = detail),
    }
}
