//! What upstream's MetalLB resource can say, too: rules O-1 to O-5.

use std::str::FromStr;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use metallb_api::metallb::ComponentConfig;
use metallb_api::{BgpBackend, MetalLBSpec};

use super::Fault;
use crate::{AddressRange, Rule};

/// `external_namespace` is the operator's own setting of the namespace of an external frr-k8s.
pub(super) fn check(spec: &MetalLBSpec, external_namespace: Option<&str>, faults: &mut Vec<Fault>) {
    tolerations("controllerTolerations", &spec.controller_tolerations, faults);
    tolerations("speakerTolerations", &spec.speaker_tolerations, faults);
    affinity("speakerConfig", spec.speaker_config.as_ref(), faults);
    affinity("controllerConfig", spec.controller_config.as_ref(), faults);
    let config = spec.frrk8s_config.as_ref();
    let namespace = config
        .and_then(|config| config.namespace.as_deref())
        .or(external_namespace)
        .unwrap_or_default();
    match spec.backend() {
        Err(error) => faults.push(Fault::new(Rule::O3, "spec.bgpBackend", error.to_string())),
        Ok(BgpBackend::FrrK8sExternal) if namespace.is_empty() => {
            let reason = "bgpBackend frr-k8s-external needs the namespace of the external frr-k8s";
            faults.push(Fault::new(Rule::O4, "spec.frrk8sConfig.namespace", reason));
        }
        Ok(_) => {}
    }
    for (place, entry) in config.map_or(&[][..], |config| &config.always_block).iter().enumerate() {
        if !is_cidr(entry.trim()) {
            let field = format!("spec.frrk8sConfig.alwaysBlock[{place}]");
            faults.push(Fault::new(
                Rule::O5,
                field,
                format!("invalid CIDR {entry} in AlwaysBlock"),
            ));
        }
    }
}

/// As the API server will judge the Pods. Upstream lets zero and negative seconds pass.
fn tolerations(field: &str, list: &[Toleration], faults: &mut Vec<Fault>) {
    for (place, toleration) in list.iter().enumerate() {
        let effect = toleration.effect.as_deref().unwrap_or_default();
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let reason = format!("effect must be NoExecute when tolerationSeconds is set, not {effect:?}");
            faults.push(Fault::new(Rule::O1, format!("spec.{field}[{place}].effect"), reason));
        }
    }
}

fn affinity(field: &str, config: Option<&ComponentConfig>, faults: &mut Vec<Fault>) {
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
            faults.push(Fault::new(rule, format!("spec.{field}.affinity.{term}.weight"), reason));
        }
    }
}

/// The weights of all preferences, with their paths.
fn weights(affinity: &Affinity) -> Vec<(String, i32)> {
    let node = affinity.node_affinity.as_ref();
    let node = node.map(|a| &a.preferred_during_scheduling_ignored_during_execution);
    let pod = affinity.pod_affinity.as_ref();
    let pod = pod.map(|a| &a.preferred_during_scheduling_ignored_during_execution);
    let anti = affinity.pod_anti_affinity.as_ref();
    let anti = anti.map(|a| &a.preferred_during_scheduling_ignored_during_execution);
    let mut found = paths("nodeAffinity", node, |term| term.weight);
    found.extend(paths("podAffinity", pod, |term| term.weight));
    found.extend(paths("podAntiAffinity", anti, |term| term.weight));
    found
}

fn paths<T>(kind: &str, terms: Option<&Option<Vec<T>>>, weight: fn(&T) -> i32) -> Vec<(String, i32)> {
    let path = |place: usize| format!("{kind}.preferredDuringSchedulingIgnoredDuringExecution[{place}]");
    let terms = terms.into_iter().flatten().flatten().enumerate();
    terms.map(|(place, term)| (path(place), weight(term))).collect()
}

fn is_cidr(text: &str) -> bool {
    // `first-last` is a range, not a prefix.
    !text.contains('-') && AddressRange::from_str(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn problems(spec: &Value, external_namespace: Option<&str>) -> Vec<String> {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let mut found = Vec::new();
        check(&spec, external_namespace, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    fn is_fine(spec: &Value) -> bool {
        problems(spec, None).is_empty()
    }

    // OP-4
    #[rstest]
    fn seconds_are_tolerated_only_of_no_execute(
        #[values("controllerTolerations", "speakerTolerations")] field: &str,
        #[values("NoSchedule", "PreferNoSchedule", "")] effect: &str,
    ) {
        let with = |effect: &str| json!({ field: [{ "key": "x", "tolerationSeconds": 30, "effect": effect }] });
        assert!(problems(&with(effect), None)[0].contains(&format!("spec.{field}[0].effect")));
        assert!(is_fine(&with("NoExecute")));
    }

    // OP-5
    #[rstest]
    fn weights_are_from_1_to_100(
        #[values("controllerConfig", "speakerConfig")] component: &str,
        #[values("nodeAffinity", "podAffinity", "podAntiAffinity")] kind: &str,
    ) {
        let with = |weight: i32| {
            let term = match kind {
                "nodeAffinity" => json!({ "weight": weight, "preference": {} }),
                _ => json!({ "weight": weight, "podAffinityTerm": { "topologyKey": "zone" } }),
            };
            json!({ component: { "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": [term] } } } })
        };
        for weight in [0, 101] {
            assert!(problems(&with(weight), None)[0].contains(&format!("spec.{component}.affinity.{kind}")));
        }
        assert!(is_fine(&with(1)) && is_fine(&with(100)));
    }

    // OP-6
    #[test]
    fn an_unknown_back_end_is_told_the_four_names() {
        let told = &problems(&json!({ "bgpBackend": "foo" }), None)[0];
        for name in ["native", "frr", "frr-k8s", "frr-k8s-external"] {
            assert!(told.contains(name), "{told}");
            assert!(problems(&json!({ "bgpBackend": name }), Some("frr")).is_empty());
        }
    }

    // OP-7
    #[test]
    fn blocked_prefixes_are_of_either_family() {
        let with = |entry: &str| json!({ "frrk8sConfig": { "alwaysBlock": ["192.0.2.0/24", entry] } });
        for entry in ["not-a-cidr", "10.0.0.1", "10.0.0.1-10.0.0.2", "2001:db8::/129"] {
            assert!(problems(&with(entry), None)[0].contains(&format!("invalid CIDR {entry} in AlwaysBlock")));
        }
        assert!(is_fine(&with("2001:db8::/32")) && is_fine(&with(" 10.0.0.0/8 ")));
    }

    // OP-8
    #[test]
    fn an_external_frr_k8s_needs_a_namespace_from_either_side() {
        let bare = json!({ "bgpBackend": "frr-k8s-external" });
        let told = json!({ "bgpBackend": "frr-k8s-external", "frrk8sConfig": { "namespace": "frr" } });
        assert!(problems(&bare, None)[0].contains("spec.frrk8sConfig.namespace"));
        assert!(problems(&bare, Some("frr")).is_empty() && problems(&told, None).is_empty());
    }
}
