use super::*;

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
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsUser": 0,
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
            { "name": "memberlist", "secret": { "secretName": "metallb-memberlist", "defaultMode": 420, "optional": true } },
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
        "METALLB_ML_SECRET_NAME",
    ];
    assert_eq!(env_names(container), wanted);
    assert_eq!(
        env_value(container, "METALLB_ML_SECRET_NAME"),
        Some("metallb-memberlist")
    );
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
