use metallb_api::MetalLBSpec;
use rstest::rstest;
use serde_json::{Value, json};

use super::check;

fn faults(spec: Value) -> Vec<String> {
    let spec: MetalLBSpec = serde_json::from_value(spec).unwrap();
    let told = |fault: super::Fault| format!("{} {}: {}", fault.rule, fault.field, fault.reason);
    check(&spec, None).into_iter().map(told).collect()
}

fn overriding(kind: &str, name: &str, patch: &Value) -> Vec<String> {
    faults(json!({ "overrides": [{ "kind": kind, "name": name, "patch": patch }] }))
}

fn of_pods(pod: &Value) -> Value {
    json!({ "spec": { "template": { "spec": pod } } })
}

fn of_container(mut container: Value) -> Value {
    container["name"] = json!("speaker");
    json!({ "containers": [container] })
}

#[rstest]
#[case(json!({ "hostPID": true }), "hostPID")]
#[case(json!({ "hostIPC": true }), "hostIPC")]
#[case(json!({ "hostNetwork": true }), "hostNetwork")]
#[case(json!({ "hostUsers": true }), "hostUsers")]
#[case(json!({ "shareProcessNamespace": true }), "shareProcessNamespace")]
#[case(json!({ "serviceAccountName": "manager-account" }), "serviceAccountName")]
#[case(json!({ "serviceAccount": "manager-account" }), "serviceAccount")]
#[case(json!({ "automountServiceAccountToken": true }), "automountServiceAccountToken")]
#[case(json!({ "runtimeClassName": "none" }), "runtimeClassName")]
#[case(json!({ "nodeName": "control-plane" }), "nodeName")]
#[case(json!({ "securityContext": { "runAsUser": 0 } }), "securityContext")]
#[case(json!({ "volumes": [{ "name": "root", "hostPath": { "path": "/" } }] }), "volumes")]
#[case(json!({ "resourceClaims": [{ "name": "a" }] }), "resourceClaims")]
#[case(json!({ "ephemeralContainers": [{ "name": "a", "image": "b" }] }), "ephemeralContainers")]
#[case(json!({ "containers": [{ "name": "mine", "resources": {} }] }), "containers[0].name")]
#[case(json!({ "initContainers": [{ "name": "mine" }] }), "initContainers[0].name")]
#[case(of_container(json!({ "image": "example.com/mine" })), "containers[0].image")]
#[case(of_container(json!({ "command": ["sh"] })), "containers[0].command")]
#[case(of_container(json!({ "args": ["--kubeconfig=/tmp/a"] })), "containers[0].args")]
#[case(of_container(json!({ "env": [{ "name": "BASH_ENV", "value": "$(id)" }] })), "containers[0].env")]
#[case(of_container(json!({ "envFrom": [{ "secretRef": { "name": "a" } }] })), "containers[0].envFrom")]
#[case(of_container(json!({ "securityContext": { "privileged": true } })), "containers[0].securityContext")]
#[case(of_container(json!({ "securityContext": { "procMount": "Unmasked" } })), "containers[0].securityContext")]
#[case(of_container(json!({ "volumeMounts": [{ "name": "a", "mountPath": "/" }] })), "containers[0].volumeMounts")]
#[case(of_container(json!({ "volumeDevices": [{ "name": "a", "devicePath": "/" }] })), "containers[0].volumeDevices")]
#[case(of_container(json!({ "lifecycle": { "preStop": { "exec": { "command": ["a"] } } } })), "containers[0].lifecycle")]
#[case(of_container(json!({ "livenessProbe": { "exec": { "command": ["a"] } } })), "containers[0].livenessProbe.exec")]
#[case(of_container(json!({ "startupProbe": { "httpGet": { "port": 1 } } })), "containers[0].startupProbe.httpGet")]
#[case(of_container(json!({ "ports": [{ "containerPort": 1, "hostPort": 1 }] })), "containers[0].ports")]
#[case(of_container(json!({ "resources": { "claims": [{ "name": "a" }] } })), "containers[0].resources.claims")]
fn what_could_give_rights_over_nodes_is_refused_by_its_path(#[case] pod: Value, #[case] path: &str) {
    for (kind, name) in [("DaemonSet", "speaker"), ("Deployment", "controller")] {
        let told = overriding(kind, name, &of_pods(&pod));
        let wanted = format!("K-16 spec.overrides[0].patch: spec.template.spec.{path} ");
        assert!(
            told.len() == 1 && told[0].starts_with(&wanted),
            "{told:?} lacks {wanted:?}"
        );
    }
}

#[rstest]
#[case("DaemonSet", json!({ "spec": { "minReadySeconds": 5, "template": {
    "metadata": { "labels": { "team": "net" }, "annotations": { "example.com/a": "b", "sidecar.istio.io/inject": "false" } },
    "spec": { "nodeSelector": { "a": "b" }, "tolerations": [{ "operator": "Exists" }], "priorityClassName": "high",
        "affinity": { "nodeAffinity": {} }, "dnsConfig": { "nameservers": ["192.0.2.1"] },
        "containers": [{ "name": "frr", "resources": { "limits": { "cpu": "1" } },
            "livenessProbe": { "periodSeconds": 5 } }],
        "initContainers": [{ "name": "cp-metrics", "resources": { "requests": { "cpu": "1" } } }] } } } }))]
#[case("Deployment", json!({ "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
    "spec": { "replicas": 2, "revisionHistoryLimit": 3, "strategy": { "type": "Recreate" } } }))]
#[case("NetworkPolicy", json!({ "spec": { "egress": [{}] } }))]
#[case("PodDisruptionBudget", json!({ "spec": { "maxUnavailable": 2 } }))]
#[case("Service", json!({ "metadata": { "annotations": { "a": "b" } }, "spec": { "ipFamilyPolicy": "SingleStack" } }))]
#[case("ServiceAccount", json!({ "metadata": { "annotations": { "a": "b" } }, "imagePullSecrets": [{ "name": "a" }] }))]
fn what_overrides_are_for_is_accepted(#[case] kind: &str, #[case] patch: Value) {
    assert_eq!(overriding(kind, "any", &patch), [""; 0]);
}

#[rstest]
#[case("NetworkPolicy", json!({ "spec": { "podSelector": {} } }), "spec.podSelector")]
#[case("PodDisruptionBudget", json!({ "spec": { "selector": {} } }), "spec.selector")]
#[case("Service", json!({ "spec": { "externalIPs": ["192.0.2.1"] } }), "spec.externalIPs")]
#[case("Service", json!({ "spec": { "selector": { "a": "b" } } }), "spec.selector")]
#[case("ServiceAccount", json!({ "secrets": [{ "name": "a" }] }), "secrets")]
#[case("DaemonSet", json!({ "metadata": { "finalizers": ["a/b"] } }), "metadata.finalizers")]
fn other_kinds_reach_no_further_than_our_pods(#[case] kind: &str, #[case] patch: Value, #[case] path: &str) {
    let told = overriding(kind, "any", &patch);
    assert!(
        told.len() == 1 && told[0].contains(&format!("patch: {path} ")),
        "{told:?}"
    );
}

#[rstest]
fn annotations_that_runtimes_and_injectors_obey_are_refused_wherever_they_come_from(
    #[values(
        "container.apparmor.security.beta.kubernetes.io/speaker",
        "seccomp.security.alpha.kubernetes.io/pod",
        "container.seccomp.security.alpha.kubernetes.io/speaker",
        "io.kubernetes.cri-o.Devices",
        "seccomp-profile.kubernetes.cri-o.io",
        "io.katacontainers.config.hypervisor.path",
        "run.oci.hooks.stdout",
        "cdi.k8s.io/gpu",
        "devices.nri.io/container.speaker",
        "sidecar.istio.io/userVolume",
        "inject.istio.io/templates",
        "config.linkerd.io/proxy-image",
        "vault.hashicorp.com/agent-image",
        "org.systemd.property.ExecStartPre"
    )]
    name: &str,
) {
    let told = [
        overriding(
            "DaemonSet",
            "speaker",
            &json!({ "spec": { "template": { "metadata": { "annotations": { name: "" } } } } }),
        ),
        faults(json!({ "speakerConfig": { "annotations": { name: "" } } })),
        faults(json!({ "controllerConfig": { "annotations": { name: "" } } })),
    ];
    for told in told {
        assert!(
            told.len() == 1 && told[0].starts_with("K-16") && told[0].contains(name),
            "{told:?}"
        );
    }
}

// OpenShift puts the image that this annotation of a workload names into its pods.
#[test]
fn annotations_of_workloads_are_judged_as_those_of_their_pods() {
    for name in ["image.openshift.io/triggers", "sidecar.istio.io/proxyImage"] {
        let patch = json!({ "metadata": { "annotations": { name: "" } } });
        let told = overriding("Deployment", "controller", &patch);
        let wanted = format!("K-16 spec.overrides[0].patch: metadata.annotations has {name}");
        assert!(told.len() == 1 && told[0].starts_with(&wanted), "{told:?}");
    }
}

#[test]
fn a_refusal_says_where_else_the_same_can_be_said() {
    let told = overriding("DaemonSet", "speaker", &of_pods(&of_container(json!({ "env": [] }))));
    assert!(
        told[0].ends_with("; use speakerConfig.env or controllerConfig.env"),
        "{told:?}"
    );
    let told = overriding("DaemonSet", "speaker", &of_pods(&json!({ "hostPID": true })));
    assert!(told[0].ends_with("; remove it"), "{told:?}");
}

#[rstest]
#[case(json!({ "env": { "KUBECONFIG": "/etc/metallb/memberlist/a" } }), "K-8")]
#[case(json!({ "env": { "KUBERNETES_SERVICE_HOST": "192.0.2.1" } }), "K-8")]
#[case(json!({ "env": { "LD_PRELOAD": "/a" } }), "K-8")]
#[case(json!({ "extraArgs": ["--kubeconfig=/etc/metallb/memberlist/a"] }), "K-7")]
fn no_setting_sends_a_component_to_another_api_server(#[case] config: Value, #[case] rule: &str) {
    for component in ["controllerConfig", "speakerConfig"] {
        let told = faults(json!({ component: config }));
        assert!(told.len() == 1 && told[0].starts_with(rule), "{told:?}");
    }
}
