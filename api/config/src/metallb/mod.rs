//! The MetalLB resource: what upstream's can say, too (rules O-1 to O-5), and what it cannot (K-1 to K-16).

mod component;
mod network;
pub mod overrides;
pub mod privileges;
mod upstream;

use std::fmt;

use metallb_api::{BgpBackend, GoDuration, MetalLBSpec, SpeakerLayer2};

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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// Lists everything for which a spec is refused; the operator asks again before it deploys.
///
/// `external_namespace` is the operator's own setting of the namespace of an external frr-k8s.
#[must_use]
pub fn check(spec: &MetalLBSpec, external_namespace: Option<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    upstream::check(spec, external_namespace, &mut faults);
    network::check(spec, &mut faults);
    component::check(spec, &mut faults);
    overrides::check(&spec.overrides, &mut faults);
    let config = spec.frrk8s_config.as_ref();
    if let Some(Err(error)) = config
        .and_then(|config| config.status_poll_interval.as_ref())
        .map(GoDuration::parse)
    {
        let field = "spec.frrk8sConfig.statusPollInterval";
        faults.push(Fault::new(Rule::K12, field, error.to_string()));
    }
    if let Err(reason) = spec.gratuitous_arp_seconds() {
        faults.push(Fault::new(Rule::K12, "spec.speakerGratuitousARPInterval", reason));
    }
    if let Some(Err(reason)) = spec.speaker_layer2.as_ref().map(SpeakerLayer2::failback_seconds) {
        faults.push(Fault::new(Rule::K12, "spec.speakerLayer2.failbackDelay", reason));
    }
    if let Some(bgp) = &spec.speaker_bgp {
        let times = [
            ("spec.speakerBGP.restartTime", bgp.restart_seconds()),
            ("spec.speakerBGP.drainWait", bgp.drain_wait_seconds()),
        ];
        let wrong = times
            .into_iter()
            .filter_map(|(field, seconds)| Some((field, seconds.err()?)));
        faults.extend(wrong.map(|(field, reason)| Fault::new(Rule::K12, field, reason)));
    }
    faults
}

/// Lists what is accepted and can hardly be meant, in a back-end.
#[must_use]
pub fn warnings(spec: &MetalLBSpec, backend: BgpBackend) -> Vec<Fault> {
    let mut faults = Vec::new();
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
        "spec.speakerBGP.restartTime",
        spec.speaker_bgp.as_ref().is_some_and(|it| it.restart_time.is_some()),
        &[BgpBackend::Native],
    );
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

#[cfg(test)]
mod tests;
