//! The MetalLB resource, which the operator judges.

use super::*;

const fn metallb(
    rule: Rule,
    meaning: &'static str,
    bad: &'static str,
    good: &'static str,
    words: &'static str,
) -> Entry {
    Entry {
        at: ADMITTED,
        ..entry(rule, &[METALLB], meaning, bad, good, words)
    }
}

pub(super) const RULES: &[&Entry] = &[
    &metallb(
        Rule::O1,
        "has a toleration with tolerationSeconds and another effect than NoExecute",
        "{speakerTolerations: [{tolerationSeconds: 5, effect: NoSchedule}]}",
        "{speakerTolerations: [{tolerationSeconds: 5, effect: NoExecute}]}",
        "effect must be NoExecute when tolerationSeconds is set",
    ),
    &metallb(
        Rule::O2,
        "has an affinity preference with a weight outside 1 to 100",
        "{speakerConfig: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {}}]}}}}",
        "{speakerConfig: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {}}]}}}}",
        "weight 101 must be in the range 1-100",
    ),
    &metallb(
        Rule::O3,
        "has an unknown bgpBackend",
        "{bgpBackend: bird}",
        "{bgpBackend: native}",
        "native, frr, frr-k8s, frr-k8s-external",
    ),
    &metallb(
        Rule::O4,
        "has the bgpBackend frr-k8s-external without the namespace of the external frr-k8s",
        "{bgpBackend: frr-k8s-external}",
        "{bgpBackend: frr-k8s-external, frrk8sConfig: {namespace: frr-k8s-system}}",
        "needs the namespace of the external frr-k8s",
    ),
    &metallb(
        Rule::O5,
        "has an alwaysBlock entry that is no CIDR",
        "{frrk8sConfig: {alwaysBlock: [10.0.0.1]}}",
        "{frrk8sConfig: {alwaysBlock: [10.0.0.0/8]}}",
        "invalid CIDR 10.0.0.1 in AlwaysBlock",
    ),
    &metallb(
        Rule::W39,
        "has a podAntiAffinity preference with a weight outside 1 to 100",
        "{controllerConfig: {affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: zone}}]}}}}",
        "{controllerConfig: {affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: zone}}]}}}}",
        "weight 0 must be in the range 1-100",
    ),
    &Entry {
        at: WARNED,
        ..metallb(
            Rule::O7,
            "has another name than metallb",
            "{metadata: {name: other}, spec: {}}",
            "{metadata: {name: metallb}, spec: {}}",
            "only the MetalLB named metallb has an effect",
        )
    },
    &Entry {
        at: WARNED,
        ..metallb(
            Rule::O8,
            "is in another namespace than the operator",
            "{metadata: {name: metallb, namespace: default}, spec: {}}",
            "{metadata: {name: metallb}, spec: {}}",
            "only a MetalLB in namespace metallb-system has an effect",
        )
    },
    &Entry {
        at: WARNED,
        ..metallb(
            Rule::O9,
            "sets image, which is deprecated",
            "{metadata: {name: metallb}, spec: {image: example.com/metallb}}",
            "{metadata: {name: metallb}, spec: {}}",
            "image is deprecated and has no effect",
        )
    },
];
