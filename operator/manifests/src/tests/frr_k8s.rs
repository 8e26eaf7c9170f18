use super::*;

fn objects(more: &Value) -> Vec<Object> {
    let mut spec = json!({ "bgpBackend": "frr-k8s" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let environment = Environment {
        frr_image: Some("frr:9".parse().unwrap()),
        frr_k8s_image: Some("frr-k8s:1".parse().unwrap()),
        ..environment()
    };
    rendered(spec, &environment)
}

// OP-31, OP-13
#[test]
fn the_daemon_set_is_as_tabulated() {
    let daemon_set = find(&objects(&json!({})), "DaemonSet/frr-k8s");
    let selector = json!({ "matchLabels": { "app": "frr-k8s", "app.kubernetes.io/component": "frr-k8s" } });
    assert_eq!(daemon_set["spec"]["selector"], selector);
    let pod = pod(&daemon_set);
    assert_eq!(
        (&pod["hostNetwork"], &pod["shareProcessNamespace"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(pod["serviceAccountName"], "frr-k8s-daemon");
    assert_eq!(
        names_in(&pod["containers"]),
        ["controller", "frr", "reloader", "frr-metrics", "frr-status"]
    );
    assert_eq!(
        names_in(&pod["initContainers"]),
        ["cp-frr-files", "cp-reloader", "cp-metrics", "cp-frr-status"]
    );
    for (name, image) in [
        ("controller", "frr-k8s:1"),
        ("cp-frr-status", "frr-k8s:1"),
        ("frr-status", "frr:9"),
    ] {
        assert_eq!(container(pod, name)["image"], image, "{name}");
    }
    let controller = container(pod, "controller");
    assert_eq!(
        texts(&controller["args"]),
        [
            "--node-name=$(NODE_NAME)",
            "--namespace=$(NAMESPACE)",
            "--metrics-bind-address=0.0.0.0:9140",
            "--log-level=info",
        ]
    );
    let probe = &controller["livenessProbe"]["httpGet"];
    assert_eq!((&probe["host"], &probe["port"]), (&json!("127.0.0.1"), &json!(7572)));
    assert_eq!(
        controller["securityContext"]["capabilities"],
        json!({ "add": ["NET_RAW"], "drop": ["ALL"] })
    );
    assert_eq!(container(pod, "frr")["livenessProbe"]["httpGet"]["port"], 9141);
    let status = texts(&container(pod, "frr-status")["args"]);
    assert_eq!(status.last(), Some(&"--poll-interval=2m"));
}

// OP-31
#[test]
fn the_cleaner_serves_the_webhook_and_is_never_there_twice_on_a_node() {
    let objects = objects(&json!({}));
    let cleaner = find(&objects, "Deployment/statuscleaner");
    assert_eq!(cleaner["spec"]["strategy"], json!({ "type": "Recreate" }));
    let only = container(pod(&cleaner), "frr-k8s-statuscleaner");
    assert_eq!(
        texts(&only["args"]),
        [
            "--webhook-port=19443",
            "--log-level=info",
            "--restart-on-rotator-secret-refresh=true",
            "--namespace=$(NAMESPACE)",
        ]
    );
    assert_eq!(only["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
    let service = find(&objects, "Service/frr-k8s-webhook-service");
    let labels = cleaner["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
    for (name, value) in service["spec"]["selector"].as_object().unwrap() {
        assert_eq!(labels.get(name), Some(value));
    }
    let webhooks = find(
        &objects,
        "ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration",
    );
    assert!(webhooks["metadata"]["namespace"].is_null());
    assert_eq!(
        webhooks["webhooks"][0]["matchConditions"][0]["name"],
        "not-being-deleted"
    );
    assert_eq!(
        webhooks["webhooks"][0]["clientConfig"]["service"]["namespace"],
        "metallb-system"
    );
}

// OP-26
#[test]
fn blocked_prefixes_are_sorted_and_joined() {
    let config = json!({ "frrk8sConfig": { "alwaysBlock": ["fd00::/8", " 10.0.0.0/8", "172.16.0.0/12"] } });
    let daemon_set = find(&objects(&config), "DaemonSet/frr-k8s");
    let args = texts(&container(pod(&daemon_set), "controller")["args"]);
    assert_eq!(args.last(), Some(&"--always-block=10.0.0.0/8,172.16.0.0/12,fd00::/8"));
}

// OP-15, OP-16, OP-18, OP-20, OP-21
#[test]
fn settings_of_the_speaker_hold_for_all_pods_of_frr_k8s() {
    let more = json!({
        "nodeSelector": { "zone": "a" },
        "speakerTolerations": [{ "key": "k", "operator": "Exists" }],
        "logLevel": "debug",
        "speakerConfig": { "priorityClassName": "high", "annotations": { "a": "b" },
            "affinity": { "nodeAffinity": {} }, "resources": { "requests": { "cpu": "1" } } },
    });
    let objects = objects(&more);
    for (workload, first) in [
        ("DaemonSet/frr-k8s", "controller"),
        ("Deployment/statuscleaner", "frr-k8s-statuscleaner"),
    ] {
        let workload = find(&objects, workload);
        assert_eq!(workload["spec"]["template"]["metadata"]["annotations"]["a"], "b");
        let pod = pod(&workload);
        assert_eq!(pod["nodeSelector"], json!({ "kubernetes.io/os": "linux", "zone": "a" }));
        assert_eq!(pod["tolerations"].as_array().unwrap().last().unwrap()["key"], "k");
        assert_eq!(
            (&pod["priorityClassName"], &pod["affinity"]),
            (&json!("high"), &json!({ "nodeAffinity": {} }))
        );
        assert!(texts(&container(pod, first)["args"]).contains(&"--log-level=debug"));
        for other in pod["containers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["name"] != "controller")
        {
            assert!(other["resources"].is_null(), "{other}");
        }
    }
}

#[test]
fn frr_listens_only_if_told_to() {
    let bgpd = |more: &Value| {
        let map = find(&objects(more), "ConfigMap/frr-k8s-frr-startup");
        let daemons = map["data"]["daemons"].as_str().unwrap().to_owned();
        assert!(daemons.contains("-K 120"));
        daemons.contains("-p 0")
    };
    assert!(bgpd(&json!({})));
    assert!(!bgpd(
        &json!({ "frrk8sConfig": { "acceptIncomingBGPConnections": true } })
    ));
}
