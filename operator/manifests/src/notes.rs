//! What users should know about a deployment that works as told.

use metallb_api::MetalLBSpec;

use crate::{
    Environment, Monitors, Refusal,
    context::{Context, Door},
};

/// Lists what is accepted and yet has no or not all of the effect that one would expect, for the status and the log.
///
/// # Errors
/// As [`crate::desired`].
pub fn notes(spec: &MetalLBSpec, environment: &Environment) -> Result<Vec<String>, Refusal> {
    let context = Context::new(spec, environment, Door::Operator)?;
    let mut notes: Vec<String> = environment.warnings.iter().map(|&it| it.to_owned()).collect();
    // Those of the environment are in the log of the operator, and not the user's business.
    let suites = spec.tls.as_ref().is_some_and(|tls| !tls.cipher_suites.is_empty());
    if suites && context.tls().cipher_suites.is_empty() {
        notes.push("spec.tls.cipherSuites has no effect: TLS 1.3, the minimum version, leaves no choice".to_owned());
    }
    let absent = |wanted: bool, served: bool, kind: &str| {
        (wanted && !served).then(|| format!("no {kind} is deployed: the cluster does not serve that kind"))
    };
    let platform = environment.platform;
    let monitors = context.wanted_monitors();
    notes.extend(absent(monitors == Monitors::Pods, platform.pod_monitors, "PodMonitor"));
    notes.extend(absent(
        monitors == Monitors::Services,
        platform.service_monitors,
        "ServiceMonitor",
    ));
    notes.extend(absent(
        context.wants_alerts(),
        platform.prometheus_rules,
        "PrometheusRule",
    ));
    Ok(notes)
}
