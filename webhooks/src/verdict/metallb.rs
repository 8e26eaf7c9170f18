//! The MetalLB resource: rules O-1 to O-5.

use std::str::FromStr;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use kube::{Resource, ResourceExt};
use metallb_api::metallb::ComponentConfig;
use metallb_api::{BgpBackend, MetalLB, MetalLBSpec, names};
use metallb_config::{Rule, metallb as config};

use super::{Operation, Problem, Request, Rules, Verdict};

pub(super) fn judge(request: &Request, rules: &Rules) -> serde_json::Result<Verdict> {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Verdict::default());
    }
    let object: MetalLB = serde_json::from_value(request.object.clone())?;
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Verdict::default());
    }
    let unchanged = serde_json::from_value::<MetalLB>(request.old.clone()).is_ok_and(|old| old.spec == object.spec);
    if request.operation == Operation::Update && unchanged {
        return Ok(Verdict::default());
    }
    let namespace = object
        .namespace()
        .or_else(|| request.namespace.clone())
        .unwrap_or_default();
    let mut warnings = Vec::new();
    // Upstream says so in the status only (O-7) or not at all (O-8); such objects must stay possible.
    if object.name_any() != names::METALLB_RESOURCE {
        let reason = format!("only the MetalLB named {} has an effect", names::METALLB_RESOURCE);
        warnings.push(Problem::new(Rule::O7, "metadata.name", reason));
    }
    if namespace != rules.namespace {
        let reason = format!("only a MetalLB in namespace {} has an effect", rules.namespace);
        warnings.push(Problem::new(Rule::O8, "metadata.namespace", reason));
    }
    if object.spec.image.is_some() {
        let reason = "image is deprecated and has no effect";
        warnings.push(Problem::new(Rule::O9, "spec.image", reason));
    }
    let backend = object.spec.backend().unwrap_or_default();
    warnings.extend(config::warnings(&object.spec, backend).into_iter().map(problem));
    let errors = check(&object.spec, rules.frrk8s_external_namespace.as_deref());
    Ok(Verdict {
        errors,
        warnings,
        undecodable: false,
    })
}

/// Lists everything that is wrong with the spec; the operator asks again before it deploys.
///
/// `external_namespace` is the operator's own setting of the namespace of an external frr-k8s.
#[must_use]
pub fn check(spec: &MetalLBSpec, external_namespace: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    tolerations("controllerTolerations", &spec.controller_tolerations, &mut problems);
    tolerations("speakerTolerations", &spec.speaker_tolerations, &mut problems);
    affinity("speakerConfig", spec.speaker_config.as_ref(), &mut problems);
    affinity("controllerConfig", spec.controller_config.as_ref(), &mut problems);
    let config = spec.frrk8s_config.as_ref();
    let namespace = config
        .and_then(|config| config.namespace.as_deref())
        .or(external_namespace)
        .unwrap_or_default();
    match spec.backend() {
        Err(error) => problems.push(Problem::new(Rule::O3, "spec.bgpBackend", error)),
        Ok(BgpBackend::FrrK8sExternal) if namespace.is_empty() => {
            let reason = "bgpBackend frr-k8s-external needs the namespace of the external frr-k8s";
            problems.push(Problem::new(Rule::O4, "spec.frrk8sConfig.namespace", reason));
        }
        Ok(_) => {}
    }
    for (place, entry) in config.map_or(&[][..], |config| &config.always_block).iter().enumerate() {
        if !is_cidr(entry.trim()) {
            let field = format!("spec.frrk8sConfig.alwaysBlock[{place}]");
            problems.push(Problem::new(
                Rule::O5,
                field,
                format!("invalid CIDR {entry} in AlwaysBlock"),
            ));
        }
    }
    problems.extend(config::check(spec).into_iter().map(problem));
    problems
}

fn problem(fault: config::Fault) -> Problem {
    Problem::new(fault.rule, fault.field, fault.reason)
}

/// As the API server will judge the Pods. Upstream lets zero and negative seconds pass.
fn tolerations(field: &str, list: &[Toleration], problems: &mut Vec<Problem>) {
    for (place, toleration) in list.iter().enumerate() {
        let effect = toleration.effect.as_deref().unwrap_or_default();
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let reason = format!("effect must be NoExecute when tolerationSeconds is set, not {effect:?}");
            problems.push(Problem::new(Rule::O1, format!("spec.{field}[{place}].effect"), reason));
        }
    }
}

fn affinity(field: &str, config: Option<&ComponentConfig>, problems: &mut Vec<Problem>) {
    let Some(affinity) = config.and_then(|config| config.affinity.as_ref()) else {
        return;
    };
    for (term, weight) in weights(affinity) {
        if !(1..=100).contains(&weight) {
            let reason = format!("weight {weight} must be in the range 1-100");
            let rule = if term.starts_with("podAntiAffinity") {
                Rule::W39
            } else {
                Rule::O2
            };
            problems.push(Problem::new(
                rule,
                format!("spec.{field}.affinity.{term}.weight"),
                reason,
            ));
        }
    }
}

/// The weights of all preferences, with their paths.
fn weights(affinity: &Affinity) -> Vec<(String, i32)> {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let path = |kind: &str, place: usize| format!("{kind}.{PREFERRED}[{place}]");
    let mut found = Vec::new();
    if let Some(node) = &affinity.node_affinity {
        let terms = node
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        found.extend(
            terms
                .enumerate()
                .map(|(place, term)| (path("nodeAffinity", place), term.weight)),
        );
    }
    if let Some(pod) = &affinity.pod_affinity {
        let terms = pod
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        found.extend(
            terms
                .enumerate()
                .map(|(place, term)| (path("podAffinity", place), term.weight)),
        );
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let terms = pod
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten();
        found.extend(
            terms
                .enumerate()
                .map(|(place, term)| (path("podAntiAffinity", place), term.weight)),
        );
    }
    found
}

fn is_cidr(text: &str) -> bool {
    // `first-last` is a range, not a prefix.
    !text.contains('-') && metallb_config::AddressRange::from_str(text).is_ok()
}
