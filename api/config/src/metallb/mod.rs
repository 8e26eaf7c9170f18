//! What upstream's MetalLB resource cannot say: rules K-1 to K-13.

mod component;
mod network;

use metallb_api::{
    BgpBackend, GoDuration, MetalLBSpec,
    metallb::{OverriddenKind, Override},
};
use serde_json::Value;

use crate::Rule;

/// A field of a MetalLB resource that is wrong or odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The rule that it is wrong by.
    pub rule: Rule,
    /// Path of the field.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl Fault {
    fn new(rule: Rule, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            rule,
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// Lists everything for which a spec is refused.
#[must_use]
pub fn check(spec: &MetalLBSpec) -> Vec<Fault> {
    let mut faults = Vec::new();
    network::check(spec, &mut faults);
    component::check(spec, &mut faults);
    for (place, change) in spec.overrides.iter().enumerate() {
        faults.extend(forbidden(change).map(|what| {
            let reason = format!("{what} of an object cannot be changed");
            Fault::new(Rule::K5, format!("spec.overrides[{place}].patch"), reason)
        }));
    }
    let config = spec.frrk8s_config.as_ref();
    if let Some(Err(error)) = config
        .and_then(|config| config.status_poll_interval.as_ref())
        .map(GoDuration::parse)
    {
        let field = "spec.frrk8sConfig.statusPollInterval";
        faults.push(Fault::new(Rule::K12, field, error.to_string()));
    }
    faults
}

/// Lists what is accepted and can hardly be meant, in a back-end.
#[must_use]
pub fn warnings(spec: &MetalLBSpec, backend: BgpBackend) -> Vec<Fault> {
    let mut faults = Vec::new();
    if backend != BgpBackend::Native {
        let reason = format!("the speaker of this release does not run with bgpBackend {backend} yet");
        faults.push(Fault::new(Rule::K13, "spec.bgpBackend", reason));
    }
    let mut idle = |field: &str, set: bool, of: &[BgpBackend]| {
        if set && !of.contains(&backend) {
            let reason = format!("has no effect with bgpBackend {backend}");
            faults.push(Fault::new(Rule::K14, field, reason));
        }
    };
    let frr_k8s = spec.frrk8s_config.as_ref();
    let external = &[BgpBackend::FrrK8sExternal];
    let bundled = &[BgpBackend::FrrK8s];
    let with_frr = &[BgpBackend::Frr, BgpBackend::FrrK8s];
    let all_frr = &[BgpBackend::Frr, BgpBackend::FrrK8s, BgpBackend::FrrK8sExternal];
    idle("spec.frrConfig", spec.frr_config.is_some(), with_frr);
    idle("spec.bgpDebounceTimeout", spec.bgp_debounce_timeout.is_some(), all_frr);
    idle(
        "spec.frrk8sConfig.alwaysBlock",
        frr_k8s.is_some_and(|it| !it.always_block.is_empty()),
        bundled,
    );
    idle(
        "spec.frrk8sConfig.acceptIncomingBGPConnections",
        frr_k8s.is_some_and(|it| it.accept_incoming_bgp_connections),
        bundled,
    );
    idle(
        "spec.frrk8sConfig.secretPassthrough",
        frr_k8s.is_some_and(|it| it.secret_passthrough),
        external,
    );
    faults
}

/// Names what a patch may not touch: by it the object is found, or it can never change.
fn forbidden(change: &Override) -> Option<&'static str> {
    let of = |path: &[&str]| {
        let mut value = change.patch.get(path[0]);
        for step in &path[1..] {
            value = value.and_then(|value: &Value| value.get(step));
        }
        value.is_some()
    };
    let workload = matches!(change.kind, OverriddenKind::DaemonSet | OverriddenKind::Deployment);
    let rows: [(&[&str], &'static str); 7] = [
        (&["apiVersion"], "apiVersion"),
        (&["kind"], "kind"),
        (&["status"], "status"),
        (&["metadata", "name"], "the name"),
        (&["metadata", "namespace"], "the namespace"),
        (&["metadata", "ownerReferences"], "the owner"),
        (&["spec", "selector"], "the selector"),
    ];
    let mut rows = rows.into_iter().filter(|(path, _)| workload || path[0] != "spec");
    rows.find(|(path, _)| of(path)).map(|(_, what)| what)
}
