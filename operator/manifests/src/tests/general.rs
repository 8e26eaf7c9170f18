use super::*;

// OP-12
#[test]
fn the_minimal_resource_gives_a_controller_and_speakers() {
    let objects = desired(&MetalLBSpec::default(), &environment()).unwrap();
    let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let wanted = [
        "ServiceAccount/controller",
        "ServiceAccount/speaker",
        "ConfigMap/metallb-excludel2",
        "NetworkPolicy/controller",
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
        (speaker_pod(&MetalLBSpec::default()).affinity, &Some(resources))
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
