use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Affinity, Container, PodSpec, ResourceRequirements, Toleration},
};
use metallb_api::{ComponentConfig, LogLevel, MetalLBSpec};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn environment() -> Environment {
    Environment::from_variables(|name| {
        let value = match name {
            "OPERATOR_NAMESPACE" => "metallb-system",
            "CONTROLLER_IMAGE" => "host:5000/controller:1",
            "SPEAKER_IMAGE" => "host:5000/speaker:1",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap()
}

fn backend(name: &str) -> MetalLBSpec {
    MetalLBSpec {
        bgp_backend: Some(name.to_owned()),
        ..MetalLBSpec::default()
    }
}

fn controller(spec: &MetalLBSpec, environment: &Environment) -> Deployment {
    let objects = desired(spec, environment).unwrap();
    objects
        .into_iter()
        .find_map(|object| {
            if let Object::Deployment(it) = object {
                Some(*it)
            } else {
                None
            }
        })
        .unwrap()
}

fn speaker(spec: &MetalLBSpec, environment: &Environment) -> DaemonSet {
    let objects = desired(spec, environment).unwrap();
    objects
        .into_iter()
        .find_map(|object| {
            if let Object::DaemonSet(it) = object {
                Some(*it)
            } else {
                None
            }
        })
        .unwrap()
}

fn controller_pod(spec: &MetalLBSpec) -> PodSpec {
    controller(spec, &environment()).spec.unwrap().template.spec.unwrap()
}

fn speaker_pod(spec: &MetalLBSpec) -> PodSpec {
    speaker(spec, &environment()).spec.unwrap().template.spec.unwrap()
}

fn env_names(container: &Container) -> Vec<&str> {
    container
        .env
        .iter()
        .flatten()
        .map(|variable| variable.name.as_str())
        .collect()
}

fn env_value<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    container
        .env
        .iter()
        .flatten()
        .find(|variable| variable.name == name)?
        .value
        .as_deref()
}

fn ports(container: &Container) -> Vec<(&str, i32, &str)> {
    let port = |port: &'_ k8s_openapi::api::core::v1::ContainerPort| port.container_port;
    container
        .ports
        .iter()
        .flatten()
        .map(|it| (it.name.as_deref().unwrap(), port(it), it.protocol.as_deref().unwrap()))
        .collect()
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn toleration(key: &str) -> Toleration {
    Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    }
}

// OP-12
#[test]
fn the_minimal_resource_gives_a_controller_and_speakers() {
    let objects = desired(&MetalLBSpec::default(), &environment()).unwrap();
    let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let wanted = [
        "ServiceAccount/controller",
        "ServiceAccount/speaker",
        "ConfigMap/metallb-excludel2",
        "Deployment/controller",
        "DaemonSet/speaker",
    ];
    assert_eq!(names, wanted);
    for object in &objects {
        let labels = object.metadata().labels.as_ref().unwrap();
        assert_eq!(labels["app"], "metallb");
        assert_eq!(labels[MANAGED_BY.0], MANAGED_BY.1);
        assert_eq!(object.metadata().namespace.as_deref(), Some("metallb-system"));
    }
}

// OP-12: the selectors are those of upstream, for they can never change.
#[test]
fn selectors_and_pod_labels_are_upstreams() {
    let spec = MetalLBSpec::default();
    for (component, selector, template) in [
        {
            let spec = controller(&spec, &environment()).spec.unwrap();
            ("controller", spec.selector, spec.template)
        },
        {
            let spec = speaker(&spec, &environment()).spec.unwrap();
            ("speaker", spec.selector, spec.template)
        },
    ] {
        let wanted = json!({ "app": "metallb", "component": component });
        assert_eq!(json(&selector), json!({ "matchLabels": wanted }));
        assert_eq!(json(&template.metadata), json!({ "labels": wanted }));
    }
}

// OP-31
#[test]
fn the_controller_container_is_as_tabulated() {
    let pod = controller_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("host:5000/controller:1"));
    assert_eq!(container.command, Some(vec!["/controller".to_owned()]));
    let args = [
        "--port=9120",
        "--health-probe-port=17472",
        "--log-level=info",
        "--webhook-mode=disabled",
    ];
    assert_eq!(container.args.as_deref().unwrap(), args);
    assert_eq!(ports(container), [("metricshttps", 9120, "TCP")]);
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 17472 }, "initialDelaySeconds": 10,
        "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 });
    assert_eq!(json(&container.liveness_probe), probe);
    assert_eq!(
        container
            .readiness_probe
            .as_ref()
            .unwrap()
            .http_get
            .as_ref()
            .unwrap()
            .path
            .as_deref(),
        Some("/readyz")
    );
    assert_eq!(
        json(&container.security_context),
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
    );
    assert_eq!(
        json(&pod.security_context),
        json!({ "runAsNonRoot": true, "runAsUser": 65534, "fsGroup": 65534,
            "seccompProfile": { "type": "RuntimeDefault" } })
    );
    assert_eq!(
        json(&pod.volumes),
        json!([{ "name": "cert", "secret": { "secretName": "metallb-webhook-cert", "defaultMode": 420 } }])
    );
    let mount = json!([{ "name": "cert", "mountPath": "/tmp/k8s-webhook-server/serving-certs", "readOnly": true }]);
    assert_eq!(json(&container.volume_mounts), mount);
    assert_eq!(json(&pod.node_selector), json!({ "kubernetes.io/os": "linux" }));
    assert_eq!(
        (pod.tolerations, pod.service_account_name.as_deref()),
        (None, Some("controller"))
    );
}

// OP-33
#[test]
fn the_controller_knows_the_secret_and_its_deployment() {
    let pod = controller_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    let names = [
        "METALLB_POD_NAME",
        "METALLB_ML_SECRET_NAME",
        "METALLB_DEPLOYMENT",
        "METALLB_BGP_TYPE",
    ];
    assert_eq!(env_names(container), names);
    assert_eq!(
        env_value(container, "METALLB_ML_SECRET_NAME"),
        Some("metallb-memberlist")
    );
    assert_eq!(env_value(container, "METALLB_DEPLOYMENT"), Some("controller"));
}

// OP-31
#[test]
fn the_speaker_container_is_as_tabulated() {
    let pod = speaker_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("host:5000/speaker:1"));
    assert_eq!(container.command, Some(vec!["/speaker".to_owned()]));
    assert_eq!(
        container.args.as_deref().unwrap(),
        ["--port=9120", "--health-probe-port=17472", "--log-level=info"]
    );
    let wanted = [
        ("metricshttps", 9120, "TCP"),
        ("memberlist-tcp", 7946, "TCP"),
        ("memberlist-udp", 7946, "UDP"),
    ];
    assert_eq!(ports(container), wanted);
    for probe in [&container.liveness_probe, &container.readiness_probe] {
        assert_eq!(
            probe.as_ref().unwrap().http_get.as_ref().unwrap().host.as_deref(),
            Some("127.0.0.1")
        );
    }
    assert_eq!(
        json(&container.security_context),
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "add": ["NET_RAW"], "drop": ["ALL"] } })
    );
    assert_eq!(
        json(&pod.security_context),
        json!({ "seccompProfile": { "type": "RuntimeDefault" } })
    );
    assert_eq!(
        (pod.host_network, pod.service_account_name.as_deref()),
        (Some(true), Some("speaker"))
    );
    assert_eq!(
        json(&pod.volumes),
        json!([
            { "name": "memberlist", "secret": { "secretName": "metallb-memberlist", "defaultMode": 420 } },
            { "name": "metallb-excludel2", "configMap": { "name": "metallb-excludel2", "defaultMode": 256 } },
            { "name": "memberlist-config",
              "configMap": { "name": "metallb-memberlist-config", "defaultMode": 420, "optional": true } },
        ])
    );
    let paths: Vec<_> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| mount.mount_path.as_str())
        .collect();
    assert_eq!(paths, ["/etc/ml_secret_key", "/etc/metallb", "/etc/metallb/memberlist"]);
}

// OP-32
#[test]
fn the_order_of_the_speakers_variables_is_kept() {
    let pod = speaker_pod(&MetalLBSpec::default());
    let container = &pod.containers[0];
    let wanted = [
        "METALLB_NODE_NAME",
        "METALLB_HOST",
        "METALLB_ML_BIND_ADDR",
        "METALLB_ML_LABELS",
        "METALLB_ML_BIND_PORT",
        "METALLB_ML_SECRET_KEY_PATH",
        "METALLB_BGP_TYPE",
        "METALLB_POD_NAME",
    ];
    assert_eq!(env_names(container), wanted);
    assert_eq!(
        env_value(container, "METALLB_ML_LABELS"),
        Some("app=metallb,component=speaker")
    );
    assert_eq!(env_value(container, "METALLB_ML_BIND_PORT"), Some("7946"));
    assert_eq!(
        env_value(container, "METALLB_ML_SECRET_KEY_PATH"),
        Some("/etc/ml_secret_key")
    );
}

// OP-22; unlike upstream the variable is set in native mode too, so that nobody depends on a default.
#[test]
fn native_mode_is_said_aloud() {
    for pod in [
        controller_pod(&MetalLBSpec::default()),
        speaker_pod(&MetalLBSpec::default()),
    ] {
        assert_eq!(pod.containers.len(), 1);
        assert_eq!(env_value(&pod.containers[0], "METALLB_BGP_TYPE"), Some("native"));
    }
}

// OP-15
#[test]
fn node_selectors_are_added_to_linux() {
    let user = [("zone".to_owned(), "a".to_owned())];
    let spec = MetalLBSpec {
        node_selector: user.clone().into(),
        controller_node_selector: [("role".to_owned(), "infra".to_owned())].into(),
        ..MetalLBSpec::default()
    };
    assert_eq!(
        json(&speaker_pod(&spec).node_selector),
        json!({ "kubernetes.io/os": "linux", "zone": "a" })
    );
    assert_eq!(
        json(&controller_pod(&spec).node_selector),
        json!({ "kubernetes.io/os": "linux", "role": "infra" })
    );
}

// OP-16, OP-17
#[test]
fn tolerations_follow_the_built_in_ones_of_the_speaker_only() {
    let spec = MetalLBSpec {
        speaker_tolerations: vec![toleration("b"), toleration("a")],
        controller_tolerations: vec![toleration("c")],
        ..MetalLBSpec::default()
    };
    let keys = |pod: PodSpec| -> Vec<_> { pod.tolerations.unwrap().into_iter().filter_map(|it| it.key).collect() };
    let wanted = [
        "node-role.kubernetes.io/master",
        "node-role.kubernetes.io/control-plane",
        "b",
        "a",
    ];
    assert_eq!(keys(speaker_pod(&spec)), wanted);
    assert_eq!(keys(controller_pod(&spec)), ["c"]);
}

// OP-18, OP-19
#[rstest]
#[case(None, None, "--log-level=info", None)]
#[case(
    Some(LogLevel::Debug),
    Some("example.com/lb"),
    "--log-level=debug",
    Some("--lb-class=example.com/lb")
)]
fn log_level_and_class_reach_both(
    #[case] log_level: Option<LogLevel>,
    #[case] class: Option<&str>,
    #[case] level_arg: &str,
    #[case] class_arg: Option<&str>,
) {
    let spec = MetalLBSpec {
        log_level,
        load_balancer_class: class.map(str::to_owned),
        ..MetalLBSpec::default()
    };
    for pod in [controller_pod(&spec), speaker_pod(&spec)] {
        let args = pod.containers[0].args.clone().unwrap();
        assert_eq!(args[2], level_arg);
        assert_eq!(
            args.get(3)
                .map(String::as_str)
                .filter(|arg| arg.starts_with("--lb-class")),
            class_arg
        );
    }
}

// OP-20, OP-21
#[test]
fn component_settings_reach_their_component_only() {
    let resources = ResourceRequirements {
        claims: Some(vec![]),
        ..ResourceRequirements::default()
    };
    let config = ComponentConfig {
        priority_class_name: Some("high".to_owned()),
        runtime_class_name: Some("runc".to_owned()),
        affinity: Some(Affinity::default()),
        annotations: [("a".to_owned(), "b".to_owned())].into(),
        resources: Some(resources.clone()),
        ..ComponentConfig::default()
    };
    let spec = MetalLBSpec {
        speaker_config: Some(config),
        ..MetalLBSpec::default()
    };
    let template = speaker(&spec, &environment()).spec.unwrap().template;
    assert_eq!(json(&template.metadata.unwrap().annotations), json!({ "a": "b" }));
    let pod = template.spec.unwrap();
    assert_eq!(
        (pod.priority_class_name.as_deref(), pod.runtime_class_name.as_deref()),
        (Some("high"), Some("runc"))
    );
    assert_eq!(
        (pod.affinity, &pod.containers[0].resources),
        (Some(Affinity::default()), &Some(resources))
    );
    assert_eq!(controller_pod(&spec), controller_pod(&MetalLBSpec::default()));
}

// OP-27
#[test]
fn ports_follow_the_environment() {
    let ports_wanted = Ports {
        memberlist: 1,
        metrics: 2,
        health: 3,
        ..Ports::default()
    };
    let environment = Environment {
        ports: ports_wanted,
        ..environment()
    };
    let pod = speaker(&MetalLBSpec::default(), &environment)
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    let container = &pod.containers[0];
    assert_eq!(
        container.args.as_ref().unwrap()[..2],
        ["--port=2", "--health-probe-port=3"]
    );
    assert_eq!(
        ports(container).into_iter().map(|port| port.1).collect::<Vec<_>>(),
        [2, 1, 1]
    );
    assert_eq!(env_value(container, "METALLB_ML_BIND_PORT"), Some("1"));
}

#[test]
fn tls_settings_come_last() {
    let tls = TlsSettings {
        min_version: "VersionTLS12".to_owned(),
        ..TlsSettings::default()
    };
    let environment = Environment { tls, ..environment() };
    for pod in [
        controller(&MetalLBSpec::default(), &environment)
            .spec
            .unwrap()
            .template
            .spec
            .unwrap(),
        speaker(&MetalLBSpec::default(), &environment)
            .spec
            .unwrap()
            .template
            .spec
            .unwrap(),
    ] {
        let args = pod.containers[0].args.clone().unwrap();
        assert_eq!(args.last().map(String::as_str), Some("--tls-min-version=VersionTLS12"));
    }
}

#[test]
fn the_excluded_interfaces_are_a_yaml_list() {
    let objects = desired(&MetalLBSpec::default(), &environment()).unwrap();
    let text = objects.iter().find_map(|object| match object {
        Object::ConfigMap(map) => map.data.as_ref()?.get("excludel2.yaml"),
        _ => None,
    });
    assert!(
        text.unwrap()
            .starts_with("announcedInterfacesToExclude:\n- ^docker.*\n")
    );
}

#[test]
fn an_unknown_back_end_is_refused() {
    let refusal = desired(&backend("foo"), &environment()).unwrap_err();
    assert_eq!(refusal.reason(), "InvalidSpec");
    assert!(
        refusal.to_string().contains("native, frr, frr-k8s, frr-k8s-external"),
        "{refusal}"
    );
}

// OP-45
#[test]
fn only_what_may_vanish_has_an_owner() {
    let owner = k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference::default();
    for mut object in desired(&MetalLBSpec::default(), &environment()).unwrap() {
        object.own(owner.clone());
        let owned = object.metadata().owner_references.is_some();
        assert_eq!(owned, !matches!(object, Object::ServiceAccount(_)), "{object}");
    }
}
