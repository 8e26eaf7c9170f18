use super::*;

fn both(spec: Value) -> (Value, Value) {
    let objects = rendered(spec, &environment());
    (
        find(&objects, "Deployment/controller"),
        find(&objects, "DaemonSet/speaker"),
    )
}

fn speaker_args(spec: Value) -> Vec<String> {
    let (_, speaker) = both(spec);
    texts(&container(pod(&speaker), "speaker")["args"])
        .iter()
        .map(ToString::to_string)
        .collect()
}

// W-23: flags of the speaker, in upstream's order.
#[rstest]
#[case(json!({ "ignoreExcludeLB": true }), &["--ignore-exclude-lb"])]
#[case(json!({ "bgpDebounceTimeout": 500 }), &["--bgp-debounce-timeout=500"])]
#[case(json!({ "speakerGratuitousARPInterval": "90s" }), &["--gratuitous-arp-interval=90"])]
#[case(json!({ "speakerGratuitousARPInterval": "1m30s" }), &["--gratuitous-arp-interval=90"])]
#[case(json!({ "speakerGratuitousARPInterval": "2147483647s" }), &["--gratuitous-arp-interval=2147483647"])]
#[case(json!({ "speakerGratuitousARPInterval": "0s" }), &[])]
#[case(json!({ "speakerLayer2": {} }), &[])]
#[case(json!({ "speakerLayer2": { "fastFailover": false, "checkAddresses": true } }),
    &["--l2-check-addresses=true", "--l2-fast-failover=false"])]
#[case(json!({ "speakerLayer2": { "failback": "delayed", "failbackDelay": "1m30s" } }),
    &["--l2-failback=delayed", "--l2-failback-delay=90"])]
#[case(json!({ "speakerBGP": {} }), &[])]
#[case(json!({ "speakerBGP": { "drain": [] } }), &[])]
#[case(json!({ "speakerBGP": { "drain": ["cordon", "taint"], "drainWait": "0s", "restartTime": "5m" } }),
    &["--bgp-drain=cordon,taint", "--bgp-drain-wait=0", "--bgp-restart-time=300"])]
#[case(json!({ "memberlist": { "wan": true } }), &["--ml-wan-config"])]
#[case(json!({ "tls": { "minVersion": "VersionTLS12", "curvePreferences": [29, 23] } }),
    &["--tls-curve-preferences=29,23", "--tls-min-version=VersionTLS12"])]
fn a_setting_becomes_its_flag(#[case] spec: Value, #[case] flags: &[&str]) {
    let basis = speaker_args(json!({}));
    let args = speaker_args(spec);
    assert_eq!(args[..basis.len()], basis);
    assert_eq!(args[basis.len()..], *flags);
}

#[rstest]
#[case(json!({}), "false")]
#[case(json!({ "ignoreExcludeLB": true }), "true")]
fn the_controller_knows_whether_speakers_heed_the_exclude_label(#[case] spec: Value, #[case] said: &str) {
    let (controller, _) = both(spec);
    let controller = container(pod(&controller), "controller");
    let variables = controller["env"].as_array().unwrap();
    let own = variables
        .iter()
        .find(|it| it["name"] == "METALLB_IGNORE_EXCLUDE_LB")
        .unwrap();
    assert_eq!(own["value"], said);
}

#[test]
fn without_membership_nothing_of_it_is_left() {
    let (controller, speaker) = both(json!({ "memberlist": { "enabled": false, "wan": true } }));
    for workload in [controller, speaker] {
        let text = workload.to_string();
        for word in ["METALLB_ML", "memberlist", "--ml-wan-config"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}

#[test]
fn port_and_address_of_the_membership_can_be_chosen() {
    let (_, speaker) = both(json!({ "memberlist": { "port": 7000, "bindAddress": "192.0.2.1" } }));
    let speaker = container(pod(&speaker), "speaker");
    let value = |name: &str| {
        let variables = speaker["env"].as_array().unwrap();
        variables.iter().find(|it| it["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(
        (value("METALLB_ML_BIND_ADDR"), value("METALLB_ML_BIND_PORT")),
        (json!("192.0.2.1"), json!("7000"))
    );
    assert_eq!(speaker["ports"][1]["containerPort"], 7000);
}

#[test]
fn metrics_can_move_and_go() {
    let (controller, speaker) = both(json!({ "metrics": { "port": 9999 } }));
    for (workload, name) in [(&controller, "controller"), (&speaker, "speaker")] {
        assert_eq!(texts(&container(pod(workload), name)["args"])[0], "--port=9999");
    }
    let (controller, _) = both(json!({ "metrics": { "enabled": false } }));
    let controller = container(pod(&controller), "controller");
    assert_eq!(texts(&controller["args"])[0], "--port=0");
    assert!(controller["ports"].is_null());
}

// W-21
#[rstest]
#[case(json!({ "patterns": ["^eth9$"] }), true, true)]
#[case(json!({ "patterns": ["^eth9$"], "replace": true }), false, true)]
#[case(json!({}), true, false)]
fn interfaces_to_leave_alone_are_added_or_replaced(#[case] config: Value, #[case] built_in: bool, #[case] own: bool) {
    let objects = rendered(json!({ "excludeInterfaces": config }), &environment());
    let map = find(&objects, "ConfigMap/metallb-excludel2");
    let text = map["data"]["excludel2.yaml"].as_str().unwrap();
    assert_eq!(text.contains("- ^veth.*\n"), built_in, "{text}");
    assert_eq!(text.contains("- \"^eth9$\"\n"), own, "{text}");
}

// W-21
#[test]
fn no_interface_needs_to_be_left_alone() {
    let objects = rendered(json!({ "excludeInterfaces": { "enabled": false } }), &environment());
    assert!(!names(&objects).contains(&"ConfigMap/metallb-excludel2".to_owned()));
    assert!(!find(&objects, "DaemonSet/speaker").to_string().contains("excludel2"));
}

#[test]
fn images_are_pulled_as_told_everywhere() {
    let spec = json!({ "bgpBackend": "frr-k8s", "imagePullPolicy": "Always", "imagePullSecrets": [{ "name": "s" }] });
    let objects = rendered(spec, &environment());
    let workloads = [
        "Deployment/controller",
        "DaemonSet/speaker",
        "DaemonSet/frr-k8s",
        "Deployment/statuscleaner",
    ];
    for name in workloads {
        let workload = find(&objects, name);
        let pod = pod(&workload);
        assert_eq!(pod["imagePullSecrets"], json!([{ "name": "s" }]), "{name}");
        for list in ["containers", "initContainers"] {
            for container in pod[list].as_array().into_iter().flatten() {
                assert_eq!(container["imagePullPolicy"], "Always", "{name}: {}", container["name"]);
            }
        }
    }
}

#[test]
fn several_controllers_are_kept_while_nodes_are_drained() {
    let one = rendered(json!({}), &environment());
    assert!(!names(&one).contains(&"PodDisruptionBudget/controller".to_owned()));
    let spread = json!([{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }]);
    let config = json!({ "replicas": 3, "hostNetwork": true, "topologySpreadConstraints": spread,
        "updateStrategy": { "maxSurge": 0, "maxUnavailable": "50%" } });
    let objects = rendered(json!({ "controllerConfig": config }), &environment());
    let controller = find(&objects, "Deployment/controller");
    assert_eq!(controller["spec"]["replicas"], 3);
    assert_eq!(
        controller["spec"]["strategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "50%" } })
    );
    assert_eq!(
        (
            &pod(&controller)["hostNetwork"],
            &pod(&controller)["topologySpreadConstraints"]
        ),
        (&json!(true), &spread)
    );
    let budget = find(&objects, "PodDisruptionBudget/controller");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"], controller["spec"]["selector"]);
}

#[test]
fn pods_and_processes_take_what_the_component_says() {
    let config = json!({ "labels": { "team": "net", "app": "never" }, "serviceAccountAnnotations": { "role": "arn" },
        "extraArgs": ["--namespace=x"], "env": { "A": "b" }, "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 30, "updateStrategy": { "type": "OnDelete" },
        "livenessProbe": { "failureThreshold": 9 } });
    let objects = rendered(json!({ "speakerConfig": config }), &environment());
    let speaker = find(&objects, "DaemonSet/speaker");
    let labels = json!({ "app": "metallb", "component": "speaker", "team": "net" });
    assert_eq!(speaker["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(speaker["spec"]["updateStrategy"], json!({ "type": "OnDelete" }));
    let pod = pod(&speaker);
    assert_eq!(
        (&pod["dnsPolicy"], &pod["terminationGracePeriodSeconds"]),
        (&json!("Default"), &json!(30))
    );
    let only = container(pod, "speaker");
    assert_eq!(texts(&only["args"]).last(), Some(&"--namespace=x"));
    assert_eq!(names_in(&only["env"]).last(), Some(&"A"));
    assert_eq!(
        (
            &only["livenessProbe"]["failureThreshold"],
            &only["readinessProbe"]["failureThreshold"]
        ),
        (&json!(9), &json!(3))
    );
    let account = find(&objects, "ServiceAccount/speaker");
    assert_eq!(account["metadata"]["annotations"], json!({ "role": "arn" }));
}
