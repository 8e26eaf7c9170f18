use super::*;

const SERVICES: Monitors = Monitors::Services;

fn monitored(monitors: Monitors, spec: Value, openshift: bool) -> Vec<Object> {
    let environment = Environment {
        monitors,
        alerts: true,
        ..platform(openshift)
    };
    rendered(spec, &environment)
}

// OP-29
#[test]
fn service_monitors_select_services_that_select_real_pods() {
    let objects = monitored(SERVICES, json!({ "bgpBackend": "frr-k8s" }), false);
    for (component, workload) in [
        ("controller", "Deployment/controller"),
        ("speaker", "DaemonSet/speaker"),
        ("frr-k8s", "DaemonSet/frr-k8s"),
    ] {
        let monitor = find(&objects, &format!("ServiceMonitor/{component}-monitor"));
        let service = find(&objects, &format!("Service/{component}-monitor-service"));
        let wanted = monitor["spec"]["selector"]["matchLabels"]["name"].as_str().unwrap();
        assert_eq!(service["metadata"]["labels"]["name"], wanted);
        assert_eq!(service["spec"]["clusterIP"], "None");
        let workload = find(&objects, workload);
        let pods = workload["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
        for (name, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(pods.get(name), Some(value), "{component}");
        }
        let ports = names_in(&service["spec"]["ports"]);
        for endpoint in monitor["spec"]["endpoints"].as_array().unwrap() {
            assert!(ports.contains(&endpoint["port"].as_str().unwrap()));
            assert_eq!(
                (&endpoint["scheme"], &endpoint["honorLabels"]),
                (&json!("https"), &json!(true))
            );
        }
    }
}

// OP-29
#[test]
fn pod_monitors_select_real_pods() {
    let objects = monitored(Monitors::Pods, json!({}), false);
    for (component, workload) in [
        ("controller", "Deployment/controller"),
        ("speaker", "DaemonSet/speaker"),
    ] {
        let monitor = find(&objects, &format!("PodMonitor/{component}"));
        let pods = &find(&objects, workload)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&monitor["spec"]["selector"]["matchLabels"], pods);
    }
}

/// The endpoints of all monitors, of which there must be some.
fn endpoints(objects: &[Object]) -> Vec<Value> {
    let monitors = objects
        .iter()
        .filter(|it| it.to_string().contains("Monitor/"))
        .map(json);
    let lists = monitors.flat_map(|it| ["endpoints", "podMetricsEndpoints"].map(|list| it["spec"][list].clone()));
    let all: Vec<_> = lists.filter_map(|list| list.as_array().cloned()).flatten().collect();
    assert!(!all.is_empty(), "no monitors");
    all
}

// A Prometheus for what users run refuses whatever names a file of its own.
#[rstest]
fn monitors_bring_their_token_and_name_no_file_of_prometheus(
    #[values(SERVICES, Monitors::Pods)] monitors: Monitors,
    #[values("native", "frr", "frr-k8s")] backend: &str,
    #[values(false, true)] openshift: bool,
) {
    let spec = json!({ "bgpBackend": backend });
    let objects = monitored(monitors, spec, openshift);
    for endpoint in endpoints(&objects) {
        let text = endpoint.to_string();
        for file in ["bearerTokenFile", "caFile", "certFile", "keyFile"] {
            assert!(!text.contains(file), "{text}");
        }
        let credentials = &endpoint["authorization"]["credentials"];
        let secret = find(&objects, &format!("Secret/{}", credentials["name"].as_str().unwrap()));
        let account = &secret["metadata"]["annotations"]["kubernetes.io/service-account.name"];
        find(&objects, &format!("ServiceAccount/{}", account.as_str().unwrap()));
    }
}

#[test]
fn the_resource_decides_about_monitors_before_the_environment() {
    let kinds = |monitor: &str| {
        let spec = json!({ "metrics": { "monitor": monitor, "interval": "15s", "labels": { "release": "p" } } });
        monitored(SERVICES, spec, false)
    };
    assert!(!names(&kinds("None")).iter().any(|name| name.contains("Monitor/")));
    let monitor = find(&kinds("PodMonitor"), "PodMonitor/speaker");
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["interval"], "15s");
}

// OP-69
#[test]
fn alerts_wait_and_know_both_names_of_a_session() {
    let spec = json!({ "metrics": { "prometheusRule": { "excludePools": "a\"b" } } });
    let rule = find(&monitored(Monitors::None, spec, false), "PrometheusRule/metallb");
    let alerts = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let names: Vec<_> = alerts.iter().map(|it| it["alert"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "MetalLBStaleConfig",
            "MetalLBConfigNotLoaded",
            "MetalLBAddressPoolExhausted",
            "MetalLBAddressPoolUsage75Percent",
            "MetalLBAddressPoolUsage85Percent",
            "MetalLBAddressPoolUsage95Percent",
            "MetalLBBGPSessionDown",
            "MetalLBServicesPending",
            "MetalLBPoolFullSoon",
            "MetalLBSplitBrain",
            "MetalLBMembershipSplit",
            "MetalLBAddressConflict",
            "MetalLBAddressNotAnnounced",
            "MetalLBSlowFailover",
            "MetalLBBFDSessionDown",
            "MetalLBObjectsRejected",
            "MetalLBStatusWritesFailing",
            "MetalLBNoLeader",
        ]
    );
    assert!(alerts[..7].iter().all(|it| it["for"] == "1m"));
    let session = alerts[6]["expr"].as_str().unwrap();
    assert!(session.contains("metallb_bgp_session_up") && session.contains("frrk8s_bgp_session_up"));
    assert!(
        alerts[2]["expr"].as_str().unwrap().contains(r#"pool!~"a\"b""#),
        "{}",
        alerts[2]["expr"]
    );
}

// CLI-70
#[test]
fn the_dashboard_is_one_that_can_be_read() {
    let dashboard = crate::dashboard();
    assert_eq!(
        (&dashboard["uid"], &dashboard["schemaVersion"]),
        (&json!("metallb-rs"), &json!(39))
    );
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    let (rows, panels): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    assert!(rows.len() == 6 && panels.len() <= 35, "{} panels", panels.len());
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let mut places = std::collections::BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        let defaults = &panel["fieldConfig"]["defaults"];
        for text in [title, &panel["description"], &defaults["unit"], &defaults["noValue"]] {
            assert!(is_text(text), "{title}");
        }
        assert!(places.insert(panel["gridPos"].to_string()), "{title} lies upon another");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                is_text(&target["legendFormat"]) && target["datasource"] == source,
                "{title}"
            );
            // Every selector has the matcher, and no other braces are left.
            let selectors = expression.matches('{').count();
            assert!(selectors > 0 && !expression.contains("{$"), "{title}: {expression}");
            assert_eq!(
                expression.matches(r#"{namespace="$namespace""#).count(),
                selectors,
                "{title}: {expression}"
            );
            // Others span what they say.
            let count = |part: &str| expression.matches(part).count();
            assert_eq!(
                count("[$__rate_interval]") + count("[1h]"),
                count("rate(") + count("increase("),
                "{title}: {expression}"
            );
        }
    }
}

// OP-56
#[test]
fn on_openshift_certificates_of_the_platform_are_used_and_checked() {
    let objects = monitored(SERVICES, json!({}), true);
    let service = find(&objects, "Service/speaker-monitor-service");
    let secret = &service["metadata"]["annotations"]["service.beta.openshift.io/serving-cert-secret-name"];
    assert_eq!(secret, "speaker-certs-secret");
    let tls = &find(&objects, "ServiceMonitor/speaker-monitor")["spec"]["endpoints"][0]["tlsConfig"];
    assert_eq!(
        (&tls["insecureSkipVerify"], &tls["serverName"]),
        (&json!(false), &json!("speaker-monitor-service.metallb-system.svc"))
    );
    let authority = json!({ "configMap": { "name": "openshift-service-ca.crt", "key": "service-ca.crt" } });
    assert_eq!(tls["ca"], authority);
    for (workload, name) in [
        ("Deployment/controller", "controller"),
        ("DaemonSet/speaker", "speaker"),
    ] {
        let workload = find(&objects, workload);
        let args = texts(&container(pod(&workload), name)["args"]);
        assert_eq!(args.last(), Some(&"--metrics-cert-dir=/etc/metrics"));
    }
}
