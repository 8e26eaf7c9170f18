//! Alerts, monitors and scrape annotations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::helm::{metallb, names, strings};

/// All alerts but those of our own.
fn alerts(values: &str) -> BTreeMap<String, Value> {
    let mut alerts = all_alerts(values);
    for own in metallb_manifests::own_alerts("", "") {
        alerts.remove(own["alert"].as_str().unwrap());
    }
    alerts
}

fn all_alerts(values: &str) -> BTreeMap<String, Value> {
    let objects = metallb()
        .set("prometheus.prometheusRule.enabled=true")
        .set(values)
        .objects();
    let group = &objects.get("PrometheusRule/metallb")["spec"]["groups"][0];
    assert_eq!(group["name"], "metallb.rules");
    let rules = group["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule.clone()))
        .collect()
}

// CLI-70
pub(crate) fn our_own_alerts_are_those_of_the_operator() {
    let namespace = metallb().objects().get("Deployment/metallb-controller")["metadata"]["namespace"].clone();
    let namespace = namespace.as_str().unwrap();
    let excluded = r#"lab"\\a"#;
    let chart = metallb()
        .set("prometheus.prometheusRule.enabled=true,prometheus.prometheusRule.moreAlerts.except={MetalLBNoLeader}")
        .json(&format!(
            "prometheus.prometheusRule.addressPoolUsage.excludePools={}",
            json!(excluded)
        ));
    let objects = chart.objects();
    let rules = objects.get("PrometheusRule/metallb")["spec"]["groups"][0]["rules"].clone();
    let rules = rules.as_array().unwrap();
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        promql_parser::parser::parse(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
    }
    let mut own = metallb_manifests::own_alerts(namespace, excluded);
    assert_eq!(own.pop().unwrap()["alert"], "MetalLBNoLeader");
    assert_eq!(rules[7..], own);
    let none = "prometheus.prometheusRule.moreAlerts.enabled=false";
    assert_eq!(all_alerts(none), alerts("rbac.create=true"));
}

// CLI-70
pub(crate) fn the_dashboard_is_that_of_the_file() {
    assert!(!metallb().objects().keys().iter().any(|key| key.contains("dashboard")));
    let chart = metallb().set("prometheus.dashboard.enabled=true,prometheus.dashboard.annotations.grafana_folder=Net");
    let objects = chart.objects();
    let map = objects.get("ConfigMap/metallb-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "Net");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/grafana-dashboard.json");
    assert_eq!(map["data"]["metallb.json"], std::fs::read_to_string(file).unwrap());
}

// OP-69, W-34
pub(crate) fn every_alert_waits_a_minute_and_has_upstreams_severity() {
    let alerts = alerts("rbac.create=true");
    let severities: Vec<(&str, &str)> = alerts
        .iter()
        .map(|(name, rule)| (name.as_str(), rule["labels"]["severity"].as_str().unwrap()))
        .collect();
    assert_eq!(
        severities,
        [
            ("MetalLBAddressPoolExhausted", "critical"),
            ("MetalLBAddressPoolUsage75Percent", "warning"),
            ("MetalLBAddressPoolUsage85Percent", "warning"),
            ("MetalLBAddressPoolUsage95Percent", "critical"),
            ("MetalLBBGPSessionDown", "critical"),
            ("MetalLBConfigNotLoaded", "warning"),
            ("MetalLBStaleConfig", "warning"),
        ]
    );
    for (name, rule) in &alerts {
        assert_eq!(rule["for"], "1m", "{name}");
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(rule["annotations"][annotation].is_string(), "{name}: {annotation}");
        }
    }
}

// OP-69, W-34
pub(crate) fn a_lost_session_is_reported_whoever_speaks() {
    let alerts = alerts("frrk8s.external=true,frrk8s.namespace=x");
    let expression = alerts["MetalLBBGPSessionDown"]["expr"].as_str().unwrap();
    assert_eq!(
        expression,
        r#"(metallb_bgp_session_up{job=~"metallb.*"} == 0) or (frrk8s_bgp_session_up == 0)"#
    );
}

// OP-69
pub(crate) fn expressions_are_upstreams_with_the_users_exceptions() {
    let alerts = alerts("prometheus.prometheusRule.addressPoolUsage.excludePools=lab.*");
    let expression = |name: &str| alerts[name]["expr"].as_str().unwrap().to_owned();
    assert_eq!(
        expression("MetalLBStaleConfig"),
        r#"metallb_k8s_client_config_stale_bool{job=~"metallb.*"} == 1"#
    );
    assert_eq!(
        expression("MetalLBConfigNotLoaded"),
        r#"metallb_k8s_client_config_loaded_bool{job=~"metallb.*"} == 0"#
    );
    assert_eq!(
        expression("MetalLBAddressPoolExhausted"),
        r#"metallb_allocator_addresses_in_use_total{pool!~""} >= metallb_allocator_addresses_total"#
    );
    assert_eq!(
        expression("MetalLBAddressPoolUsage85Percent"),
        r#"( metallb_allocator_addresses_in_use_total{pool!~"lab.*"} / metallb_allocator_addresses_total ) * 100 > 85"#
    );
}

/// Monitors make `job` the chart's name; upstream's alerts look for the release's and stay silent.
pub(crate) fn alerts_find_their_metrics_whatever_the_release_is_called() {
    let chart = metallb();
    let objects = chart
        .release("prod")
        .set("prometheus.prometheusRule.enabled=true")
        .objects();
    let rules = &objects.get("PrometheusRule/prod-metallb")["spec"]["groups"][0]["rules"];
    let expression = rules[0]["expr"].as_str().unwrap();
    assert!(
        expression.contains(r#"job=~"(prod-metallb|metallb).*""#),
        "{expression}"
    );
}

pub(crate) fn every_expression_is_promql() {
    let alerts = alerts("prometheus.prometheusRule.addressPoolUsage.excludePools=a|b");
    for (name, rule) in alerts {
        promql_parser::parser::parse(rule["expr"].as_str().unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

pub(crate) fn an_alert_can_be_left_out_and_others_added() {
    let alerts = alerts(
        "prometheus.prometheusRule.staleConfig.enabled=false,prometheus.prometheusRule.addressPoolUsage.enabled=false,\
         prometheus.prometheusRule.extraAlerts[0].alert=Mine,prometheus.prometheusRule.extraAlerts[0].expr=vector(1)",
    );
    assert!(!alerts.contains_key("MetalLBStaleConfig"));
    assert!(!alerts.keys().any(|name| name.contains("Usage")));
    assert_eq!(alerts["Mine"]["expr"], "vector(1)");
}

const PROMETHEUS: &str = "prometheus.serviceAccount=prometheus-k8s,prometheus.namespace=monitoring";

// OP-68, FRR-46
pub(crate) fn pod_monitors_scrape_with_a_token_of_their_own() {
    let chart = metallb();
    let objects = chart
        .set("prometheus.podMonitor.enabled=true")
        .set(PROMETHEUS)
        .objects();
    for component in ["controller", "speaker"] {
        let spec = &objects.get(&format!("PodMonitor/metallb-{component}"))["spec"];
        assert_eq!(
            spec["selector"]["matchLabels"]["app.kubernetes.io/component"],
            component
        );
        let endpoint = &spec["podMetricsEndpoints"][0];
        assert_eq!(endpoint["port"], "metricshttps");
        assert_eq!(endpoint["scheme"], "https");
        let token = json!({"name": "metallb-metrics-token", "key": "token"});
        assert_eq!(endpoint["authorization"]["credentials"], token);
    }
    // FRR's exporter has a port of its own, in the same pod.
    let with_frr = metallb()
        .set("prometheus.podMonitor.enabled=true,speaker.frr.enabled=true")
        .set(PROMETHEUS)
        .objects();
    let endpoints = &with_frr.get("PodMonitor/metallb-speaker")["spec"]["podMetricsEndpoints"];
    let ports: Vec<_> = endpoints.as_array().unwrap().iter().map(|it| &it["port"]).collect();
    assert_eq!(ports, ["frrmetricshttps", "metricshttps"]);
    let account = objects.get("ServiceAccount/metallb-metrics-reader");
    assert_eq!(account["automountServiceAccountToken"], false);
    let rules = &objects.get("ClusterRole/metallb-metrics-reader")["rules"];
    assert_eq!(rules, &json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]));
    objects.get("ClusterRoleBinding/metallb-metrics-reader");
    let subject = &objects.get("RoleBinding/metallb-prometheus")["subjects"][0];
    assert_eq!(
        (&subject["name"], &subject["namespace"]),
        (&json!("prometheus-k8s"), &json!("monitoring"))
    );
}

// OP-68, FRR-46
pub(crate) fn service_monitors_select_headless_services_with_the_metrics_ports() {
    let chart = metallb();
    let objects = chart
        .set("prometheus.serviceMonitor.enabled=true,speaker.frr.enabled=true")
        .set(PROMETHEUS)
        .objects();
    for (component, ports) in [
        ("controller", &["metricshttps"][..]),
        ("speaker", &["frrmetricshttps", "metricshttps"]),
    ] {
        let name = format!("metallb-{component}-monitor-service");
        let monitor = &objects.get(&format!("ServiceMonitor/metallb-{component}-monitor"))["spec"];
        assert_eq!(monitor["selector"]["matchLabels"], json!({"name": name}));
        let endpoints = monitor["endpoints"].as_array().unwrap().iter();
        let scraped: Vec<&str> = endpoints.map(|endpoint| endpoint["port"].as_str().unwrap()).collect();
        assert_eq!(scraped, ports);
        let service = objects.get(&format!("Service/{name}"));
        assert_eq!(service["metadata"]["labels"]["name"], name.as_str());
        assert!(service["metadata"]["annotations"].is_null());
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(names(&service["spec"]["ports"]), ports);
    }
    assert_eq!(
        strings(&objects.get("Role/metallb-prometheus")["rules"][0]["verbs"]),
        ["get", "list", "watch"]
    );
}

// OP-68, W-35
pub(crate) fn annotations_for_scraping_name_the_scheme() {
    let chart = metallb();
    let objects = chart.set("prometheus.scrapeAnnotations=true").objects();
    let expected =
        json!({"prometheus.io/scrape": "true", "prometheus.io/scheme": "https", "prometheus.io/port": "9120"});
    for workload in ["Deployment/metallb-controller", "DaemonSet/metallb-speaker"] {
        assert_eq!(
            objects.get(workload)["spec"]["template"]["metadata"]["annotations"],
            expected
        );
    }
    let monitors = "prometheus.serviceMonitor.enabled=true,frrk8s.enabled=true,frr-k8s.prometheus.serviceMonitor.enabled=true,\
                    prometheus.serviceMonitor.speaker.annotations.mine=a";
    for (wanted, scrape) in [(true, json!("true")), (false, Value::Null)] {
        let chart = metallb();
        let chart = chart.set(monitors).set(PROMETHEUS);
        let objects = chart.set(&format!("prometheus.scrapeAnnotations={wanted}")).objects();
        for service in [
            "metallb-controller-monitor-service",
            "metallb-speaker-monitor-service",
            "metallb-frr-k8s-frr-k8s-monitor-service",
        ] {
            let annotations = &objects.get(&format!("Service/{service}"))["metadata"]["annotations"];
            assert_eq!(annotations["prometheus.io/scrape"], scrape, "{service}");
        }
        let speaker = objects.get("Service/metallb-speaker-monitor-service");
        assert_eq!(speaker["metadata"]["annotations"]["mine"], "a");
    }
}

// A Prometheus for what users run refuses whatever names a file of its own.
pub(crate) fn service_monitors_bring_their_token_and_name_no_file() {
    let both =
        "prometheus.serviceMonitor.enabled=true,frrk8s.enabled=true,frr-k8s.prometheus.serviceMonitor.enabled=true";
    for values in [
        both,
        "frrk8s.enabled=true,frr-k8s.prometheus.serviceMonitor.enabled=true",
    ] {
        let chart = metallb();
        let objects = chart.set(values).set(PROMETHEUS).objects();
        let monitors: Vec<_> = objects.0.iter().filter(|it| it["kind"] == "ServiceMonitor").collect();
        assert_eq!(monitors.len(), if values == both { 3 } else { 1 });
        for endpoint in monitors
            .iter()
            .flat_map(|it| it["spec"]["endpoints"].as_array().unwrap())
        {
            let token = json!({"name": "metallb-metrics-token", "key": "token"});
            assert_eq!(endpoint["authorization"]["credentials"], token);
            assert!(!endpoint.to_string().contains("File"), "{endpoint}");
        }
        for object in [
            "ServiceAccount/metallb-metrics-reader",
            "Secret/metallb-metrics-token",
            "ClusterRole/metallb-metrics-reader",
            "ClusterRoleBinding/metallb-metrics-reader",
        ] {
            objects.get(object);
        }
    }
    let chart = metallb();
    assert!(!chart.objects().keys().iter().any(|key| key.contains("metrics-reader")));
}

/// Helm adds the defaults to a map of the user: without a word from him the certificate would stay unchecked.
pub(crate) fn a_certificate_is_checked_once_its_authority_is_named() {
    let chart = metallb();
    let own = "{\"ca\": {\"secret\": {\"name\": \"c\", \"key\": \"ca.crt\"}}, \"serverName\": \"metallb\"}";
    let chart = chart
        .set("prometheus.serviceMonitor.enabled=true,tls.speakerMetricsTLSSecret=c,tls.controllerMetricsTLSSecret=c")
        .set(PROMETHEUS)
        .json(&format!("prometheus.serviceMonitor.speaker.tlsConfig={own}"));
    let objects = chart.objects();
    let tls = |component: &str| {
        let monitor = objects.get(&format!("ServiceMonitor/metallb-{component}-monitor"));
        monitor["spec"]["endpoints"][0]["tlsConfig"].clone()
    };
    let wanted: Value = json!({"ca": {"secret": {"name": "c", "key": "ca.crt"}}, "serverName": "metallb"});
    assert_eq!(tls("speaker"), wanted);
    assert_eq!(tls("controller"), json!({"insecureSkipVerify": true}));
    let chart = metallb();
    let chart = chart.set("prometheus.podMonitor.enabled=true").set(PROMETHEUS);
    let objects = chart.json("prometheus.podMonitor.tlsConfig=null").objects();
    let endpoint = &objects.get("PodMonitor/metallb-speaker")["spec"]["podMetricsEndpoints"][0];
    assert!(endpoint["tlsConfig"].is_null(), "{endpoint}");
}

// OP-70, OP-59, W-17
pub(crate) fn policies_select_our_own_pods_and_ports_by_name() {
    let chart = metallb();
    let objects = chart
        .set("networkpolicies.enabled=true,networkpolicies.defaultDeny=true,networkpolicies.apiPort=443")
        .objects();
    let policy = &objects.get("NetworkPolicy/controller")["spec"];
    let ports = policy["ingress"][0]["ports"].as_array().unwrap().iter();
    let open: Vec<&str> = ports.map(|port| port["port"].as_str().unwrap()).collect();
    assert_eq!(open, ["metricshttps", "webhook-server"]);
    assert_eq!(policy["egress"][0]["ports"][0]["port"], 443);
    for name in ["controller", "default-deny"] {
        let selector = &objects.get(&format!("NetworkPolicy/{name}"))["spec"]["podSelector"]["matchLabels"];
        assert_eq!(selector["app.kubernetes.io/name"], "metallb");
        assert_eq!(selector["app.kubernetes.io/instance"], "metallb");
    }
    let chart = metallb();
    let objects = chart
        .set("networkpolicies.enabled=true,controller.webhookMode=disabled")
        .objects();
    assert!(!objects.keys().contains("NetworkPolicy/default-deny"));
    let policy = &objects.get("NetworkPolicy/controller")["spec"];
    assert_eq!(policy["ingress"][0]["ports"].as_array().unwrap().len(), 1);
    // What a policy sees is the port of the API server's endpoint, which every distribution chooses for itself.
    assert_eq!(policy["egress"], json!([{"ports": [{"protocol": "TCP"}]}]));
}
