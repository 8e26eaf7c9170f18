//! The MetalLB resource; its rules are in `metallb_config::metallb`.

use kube::{Resource, ResourceExt};
use metallb_api::{MetalLB, names};
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
    let mut errors = misplaced(&object.name_any(), &namespace, &rules.namespace);
    let mut warnings = Vec::new();
    // One that was there before the webhook was can be changed: neither name nor namespace can.
    if request.operation == Operation::Update {
        warnings.append(&mut errors);
    }
    if object.spec.image.is_some() {
        let reason = "image is deprecated and has no effect";
        warnings.push(Problem::new(Rule::O9, "spec.image", reason));
    }
    let backend = object.spec.backend().unwrap_or_default();
    warnings.extend(config::warnings(&object.spec, backend).into_iter().map(problem));
    let external = rules.frrk8s_external_namespace.as_deref();
    errors.extend(config::check(&object.spec, external).into_iter().map(problem));
    Ok(Verdict {
        errors,
        warnings,
        undecodable: false,
    })
}

/// Says that a resource has no effect. Upstream: told by the status (O-7), or not at all (O-8).
fn misplaced(name: &str, namespace: &str, right: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if name != names::METALLB_RESOURCE {
        let reason = format!("only the MetalLB named {} has an effect", names::METALLB_RESOURCE);
        problems.push(Problem::new(Rule::O7, "metadata.name", reason));
    }
    if namespace != right {
        let reason = format!("only a MetalLB in namespace {right} has an effect");
        problems.push(Problem::new(Rule::O8, "metadata.namespace", reason));
    }
    problems
}

fn problem(fault: config::Fault) -> Problem {
    Problem::new(fault.rule, fault.field, fault.reason)
}
