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
    &metallb(
        Rule::O7,
        "has another name than metallb; one that exists may be changed, with a warning",
        "{metadata: {name: other}, spec: {}}",
        "{metadata: {name: metallb}, spec: {}}",
        "only the MetalLB named metallb has an effect",
    ),
    &metallb(
        Rule::O8,
        "is in another namespace than the operator; one that exists may be changed, with a warning",
        "{metadata: {name: metallb, namespace: default}, spec: {}}",
        "{metadata: {name: metallb}, spec: {}}",
        "only a MetalLB in namespace metallb-system has an effect",
    ),
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
    &metallb(
        Rule::K1,
        "has a pattern of interfaces to exclude that is no regular expression",
        "{excludeInterfaces: {patterns: ['eth(']}}",
        "{excludeInterfaces: {patterns: ['^eth1$']}}",
        "is not a regular expression",
    ),
    &metallb(
        Rule::K2,
        "has a bindAddress of the membership that is no address",
        "{memberlist: {bindAddress: eth0}}",
        "{memberlist: {bindAddress: 'fd00::1'}}",
        "is not an address",
    ),
    &metallb(
        Rule::K3,
        "switches the membership off while some nodes have no speaker",
        "{memberlist: {enabled: false}, nodeSelector: {role: edge}}",
        "{memberlist: {enabled: false}}",
        "while nodeSelector leaves nodes without a speaker",
    ),
    &metallb(
        Rule::K4,
        "has TLS settings that the components do not know",
        "{tls: {cipherSuites: [TLS_NULL_WITH_NULL_NULL]}}",
        "{tls: {cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}",
        "unknown cipher suite \"TLS_NULL_WITH_NULL_NULL\"",
    ),
    &metallb(
        Rule::K5,
        "overrides the name, namespace, owner or selector of an object",
        "{overrides: [{kind: DaemonSet, name: speaker, patch: {metadata: {name: other}}}]}",
        "{overrides: [{kind: DaemonSet, name: speaker, patch: {metadata: {labels: {team: net}}}}]}",
        "the name of an object cannot be changed",
    ),
    &metallb(
        Rule::K6,
        "sets for one component what only the other has",
        "{speakerConfig: {replicas: 2}}",
        "{controllerConfig: {replicas: 2}}",
        "speakers run once on each node",
    ),
    &metallb(
        Rule::K7,
        "has an extra argument that is no flag, or one that the operator sets",
        "{speakerConfig: {extraArgs: ['--port=1']}}",
        "{speakerConfig: {extraArgs: ['--namespace=metallb-system']}}",
        "the operator sets --port itself",
    ),
    &metallb(
        Rule::K8,
        "has a variable without a proper name, or one that the operator sets",
        "{controllerConfig: {env: {METALLB_BGP_TYPE: frr}}}",
        "{controllerConfig: {env: {RUST_BACKTRACE: '1'}}}",
        "the operator sets METALLB_BGP_TYPE itself",
    ),
    &metallb(
        Rule::K9,
        "sets a label by which pods are selected",
        "{controllerConfig: {labels: {app: mine}}}",
        "{controllerConfig: {labels: {team: net}}}",
        "selects the pods and cannot be set",
    ),
    &metallb(
        Rule::K10,
        "gives one port of the speaker to two purposes",
        "{metrics: {port: 9000}, memberlist: {port: 9000}}",
        "{metrics: {port: 9000}, memberlist: {port: 9001}}",
        "port 9000 is in use by the speaker for something else",
    ),
    &Entry {
        at: &[(Stage::Schema, Effect::Refused), (Stage::Admission, Effect::Refused)],
        ..metallb(
            Rule::K11,
            "has a number that is out of its range",
            "{bgpDebounceTimeout: 600001}",
            "{bgpDebounceTimeout: 600000}",
            "600001 must be in the range 1-600000",
        )
    },
    &metallb(
        Rule::K12,
        "has an interval that is no duration, or that its program does not take",
        "{speakerGratuitousARPInterval: 500ms}",
        "{speakerGratuitousARPInterval: 1m30s}",
        "\"500ms\" is no whole number of seconds",
    ),
    &Entry {
        at: WARNED,
        ..metallb(
            Rule::K14,
            "sets what has no effect in its back-end",
            "{metadata: {name: metallb}, spec: {bgpDebounceTimeout: 500}}",
            "{metadata: {name: metallb}, spec: {bgpBackend: frr, bgpDebounceTimeout: 500}}",
            "has no effect with bgpBackend native",
        )
    },
    &metallb(
        Rule::K15,
        "overrides what objects of that kind cannot have",
        "{overrides: [{kind: Deployment, name: controller, patch: {spec: {replicsa: 2}}}]}",
        "{overrides: [{kind: Deployment, name: controller, patch: {spec: {replicas: 2}}}]}",
        "does not fit Deployment/controller: unknown field spec.replicsa",
    ),
    &metallb(
        Rule::K16,
        "overrides what could give a pod, or by it whoever edits the resource, more rights than MetalLB needs; or sets a pod annotation that could",
        "{overrides: [{kind: DaemonSet, name: speaker, patch: {spec: {template: {spec: {hostPID: true}}}}}]}",
        "{overrides: [{kind: DaemonSet, name: speaker, patch: {spec: {template: {spec: {priorityClassName: high}}}}}]}",
        "spec.template.spec.hostPID cannot be overridden",
    ),
];
