use metallb_api::names;
use serde_json::{Value, json};

use super::*;

fn install() -> Install {
    Install {
        namespace: "metallb-system".to_owned(),
        operator_image: "operator:1".parse().unwrap(),
        controller_image: "controller:1".parse().unwrap(),
        speaker_image: "speaker:1".parse().unwrap(),
        frr_image: "frr:1".parse().unwrap(),
        frr_k8s_image: "frr-k8s:1".parse().unwrap(),
        architectures: vec!["amd64".to_owned()],
        openshift: false,
    }
}

fn find(name: &str) -> Value {
    let objects = objects(&install());
    let object = objects.iter().find(|object| object.to_string() == name);
    serde_json::to_value(object.unwrap_or_else(|| panic!("no {name}"))).unwrap()
}

fn rules(objects: &[Object]) -> Vec<(String, Value)> {
    let of = |object: &Object| {
        let value = serde_json::to_value(object).unwrap();
        let rules = value["rules"].as_array().cloned().unwrap_or_default();
        rules
            .into_iter()
            .map(|rule| (object.to_string(), rule))
            .collect::<Vec<_>>()
    };
    objects.iter().flat_map(of).collect()
}

#[test]
fn everything_that_the_operator_needs_is_installed() {
    let names: Vec<_> = objects(&install()).iter().map(ToString::to_string).collect();
    for wanted in [
        "Namespace/metallb-system",
        "ServiceAccount/controller",
        "ServiceAccount/speaker",
        "ServiceAccount/manager-account",
        "Secret/metallb-webhook-cert",
        "Secret/metallb-operator-webhook-server-cert",
        "ConfigMap/metallb-tls-config",
        "Service/metallb-webhook-service",
        "Service/metallb-operator-webhook-service",
        "Deployment/metallb-operator-controller-manager",
        "Deployment/metallb-operator-webhook-server",
        "ValidatingWebhookConfiguration/metallb-webhook-configuration",
        "ValidatingWebhookConfiguration/metallb-operator-webhook-configuration",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}");
    }
}

// OP-96
#[test]
fn the_namespace_admits_speakers() {
    let labels = &find("Namespace/metallb-system")["metadata"]["labels"];
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "privileged");
    }
}

#[test]
fn services_lead_to_the_servers() {
    for (service, deployment) in [
        ("metallb-webhook-service", "metallb-operator-webhook-server"),
        (
            "metallb-operator-webhook-service",
            "metallb-operator-controller-manager",
        ),
    ] {
        let spec = &find(&format!("Service/{service}"))["spec"];
        let pods = &find(&format!("Deployment/{deployment}"))["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&spec["selector"], pods);
        assert_eq!(
            spec["ports"],
            json!([{ "port": 443, "targetPort": 9443, "protocol": "TCP" }])
        );
    }
}

// OP-11
#[test]
fn the_operators_webhook_is_upstreams() {
    let configuration = find("ValidatingWebhookConfiguration/metallb-operator-webhook-configuration");
    let webhook = &configuration["webhooks"][0];
    assert_eq!(webhook["name"], "metallbvalidationwebhook.metallb.io");
    assert_eq!(
        webhook["clientConfig"]["service"]["path"],
        "/validate-metallb-io-v1beta1-metallb"
    );
    assert_eq!(
        (&webhook["failurePolicy"], &webhook["sideEffects"]),
        (&json!("Fail"), &json!("None"))
    );
    assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE", "UPDATE"]));
}

#[test]
fn every_configuration_kind_has_its_webhook() {
    let configuration = find("ValidatingWebhookConfiguration/metallb-webhook-configuration");
    let webhooks = configuration["webhooks"].as_array().unwrap();
    let rows: Vec<_> = webhooks
        .iter()
        .filter(|it| it["failurePolicy"] == "Fail")
        .map(|it| {
            let rule = &it["rules"][0];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (
                text(&rule["resources"][0]),
                text(&rule["apiVersions"][0]),
                rule["operations"].clone(),
            )
        })
        .collect();
    let row = |resource: &str, version: &str| (resource.to_owned(), version.to_owned(), json!(["CREATE", "UPDATE"]));
    let mut wanted = [
        row("addresspools", "v1beta1"),
        row("bgppeers", "v1beta2"),
        row("bfdprofiles", "v1beta1"),
        row("bgpadvertisements", "v1beta1"),
        row("communities", "v1beta1"),
        row("ipaddresspools", "v1beta1"),
        row("l2advertisements", "v1beta1"),
    ];
    wanted[2].2 = json!(["CREATE"]);
    assert_eq!(rows, wanted);
}

/// All that asks about deletions, whoever of us deploys it. What it asks about something that is being deleted counts
/// as well: a finalizer is taken away by an update.
#[test]
fn no_deletion_waits_for_a_server_that_may_be_gone() {
    let mut paths = Vec::new();
    for object in webhook_configurations(&install()) {
        let configuration = serde_json::to_value(&object).unwrap();
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let rules = webhook["rules"].as_array().unwrap();
            let operations: Vec<_> = rules
                .iter()
                .flat_map(|it| it["operations"].as_array().unwrap())
                .collect();
            if operations.iter().any(|it| *it == "DELETE" || *it == "*") {
                assert!(operations.iter().all(|it| *it == "DELETE"), "{webhook}");
                assert_eq!(webhook["failurePolicy"], "Ignore", "{webhook}");
                assert!(webhook["timeoutSeconds"].as_i64().unwrap() <= 3, "{webhook}");
                paths.push(webhook["clientConfig"]["service"]["path"].clone());
            } else {
                assert!(webhook["matchConditions"][0]["expression"].is_string(), "{webhook}");
            }
        }
    }
    assert_eq!(paths, ["/validate-metallb-io-v1beta1-bfdprofile", names::DELETION_PATH]);
}

#[test]
fn no_ca_bundle_is_shipped() {
    let objects = serde_json::to_string(&objects(&install())).unwrap();
    assert!(!objects.contains("caBundle"));
}

#[test]
fn who_serves_webhooks_is_known_to_be_ready_within_seconds() {
    for name in [
        "Deployment/metallb-operator-controller-manager",
        "Deployment/metallb-operator-webhook-server",
    ] {
        let container = &find(name)["spec"]["template"]["spec"]["containers"][0];
        let probe = &container["readinessProbe"];
        assert_eq!(
            (&probe["initialDelaySeconds"], &probe["periodSeconds"]),
            (&json!(1), &json!(2)),
            "{name}"
        );
        assert_eq!(container["livenessProbe"]["periodSeconds"], 10, "{name}");
    }
}

#[test]
fn the_webhook_server_serves_webhooks_only() {
    let spec = &find("Deployment/metallb-operator-webhook-server")["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "--webhook-mode=onlywebhook",
            "--port=9120",
            "--health-probe-port=17472",
            "--log-level=info",
            "--tls-cipher-suites=$(TLS_CIPHER_SUITES)",
            "--tls-min-version=$(TLS_MIN_VERSION)",
            "--tls-curve-preferences=$(TLS_CURVE_PREFERENCES)",
        ])
    );
    assert_eq!(container["image"], "controller:1");
    assert_eq!(spec["serviceAccountName"], "controller");
}

// OP-60
#[test]
fn nobody_reads_all_secrets_of_the_cluster_or_holds_every_right() {
    for (object, rule) in rules(&objects(&install())) {
        let holds = |key: &str, value: &str| {
            rule[key]
                .as_array()
                .is_some_and(|list| list.iter().any(|it| it == value))
        };
        assert!(
            !(object.starts_with("ClusterRole/") && holds("resources", "secrets")),
            "{object}: {rule}"
        );
        for key in ["apiGroups", "resources", "verbs"] {
            assert!(!holds(key, "*"), "{object}: {rule}");
        }
        for right in ["escalate", "bind", "impersonate"] {
            assert!(!holds("verbs", right), "{object}: {rule}");
        }
        assert!(!holds("resources", "podsecuritypolicies"), "{object}: {rule}");
    }
}

// OP-60: the speaker must find Secrets under names that users choose, and the webhooks look whether they exist.
#[test]
fn secrets_are_named_where_they_can_be() {
    for (object, rule) in rules(&objects(&install())) {
        let secrets = rule["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|resource| resource == "secrets");
        let looks = object == "Role/controller" && rule["verbs"] == json!(["create", "list"]);
        if secrets
            && rule["verbs"] != json!(["create"])
            && !looks
            && !["Role/speaker", "Role/frr-k8s-daemon-role"].contains(&object.as_str())
        {
            assert!(rule["resourceNames"].is_array(), "{object}: {rule}");
        }
    }
}

// OP-60: what the operator applies it may apply, by name where the names are known.
#[test]
fn the_operator_may_write_every_kind_that_it_deploys() {
    let all = rules(&objects(&install()));
    let of_operator = |resource: &str, verbs: &[&str]| {
        let has =
            |key: &str, value: &str, rule: &Value| rule[key].as_array().is_some_and(|it| it.contains(&json!(value)));
        verbs.iter().all(|verb| {
            all.iter().any(|(object, rule)| {
                object.ends_with("/metallb-manager-role")
                    && has("resources", resource, rule)
                    && has("verbs", verb, rule)
            })
        })
    };
    for resource in [
        "configmaps",
        "daemonsets",
        "deployments",
        "networkpolicies",
        "poddisruptionbudgets",
        "podmonitors",
        "prometheusrules",
        "secrets",
        "securitycontextconstraints",
        "servicemonitors",
        "services",
        "validatingwebhookconfigurations",
    ] {
        assert!(of_operator(resource, &["create", "delete", "patch"]), "{resource}");
    }
    assert!(of_operator("serviceaccounts", &["create", "patch"]));
}

// CLI-63
#[test]
fn people_can_look_and_get_no_more_than_that() {
    let definitions = include_str!("../../../../manifests/crds.yaml");
    let kinds: Vec<&str> = definitions
        .lines()
        .filter_map(|line| line.strip_prefix("    plural: "))
        .collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    for objects in [objects(&install()), plain(metallb_api::BgpBackend::Native, false)] {
        let all = rules(&objects);
        let of = |role: &str| {
            all.iter()
                .filter(|(object, _)| object == role)
                .map(|(_, rule)| rule)
                .collect::<Vec<_>>()
        };
        let cluster = of("ClusterRole/metallb-viewer");
        for kind in &kinds {
            let read = |rule: &&&Value| rule["resources"].as_array().unwrap().contains(&json!(kind));
            let rule = cluster.iter().find(read).unwrap_or_else(|| panic!("{kind}"));
            assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
        }
        let token = json!({
            "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["metallb-inspect"],
            "verbs": ["create"],
        });
        for rule in cluster.into_iter().chain(of("Role/metallb-viewer")) {
            let reads = rule["verbs"]
                .as_array()
                .unwrap()
                .iter()
                .all(|verb| ["get", "list", "watch"].contains(&verb.as_str().unwrap()));
            assert!(reads || *rule == token, "{rule}");
            assert!(
                !rule["resources"].as_array().unwrap().contains(&json!("secrets")),
                "{rule}"
            );
        }
        assert_eq!(
            of("ClusterRole/metallb-inspect"),
            [&json!({ "nonResourceURLs": ["/inspect/*"], "verbs": ["get"] })]
        );
        for object in &objects {
            let object = serde_json::to_value(object).unwrap();
            assert_ne!(object["roleRef"]["name"], "metallb-viewer", "{object}");
        }
    }
}

// OP-59, OP-96
#[test]
fn on_openshift_the_platform_scrapes_and_leaves_pod_security_alone() {
    let install = Install {
        openshift: true,
        ..install()
    };
    let objects = objects(&install);
    let labels = objects[0].metadata().labels.clone().unwrap();
    assert_eq!(labels["openshift.io/cluster-monitoring"], "true");
    assert_eq!(labels["security.openshift.io/scc.podSecurityLabelSync"], "false");
    let text = serde_json::to_string(&objects).unwrap();
    assert!(text.contains("DEPLOY_SERVICEMONITORS"));
    assert!(text.contains("openshift-monitoring"));
}

// OP-59
#[test]
fn every_policy_selects_pods_of_its_own() {
    for (name, deployment) in [
        ("operator", "metallb-operator-controller-manager"),
        ("webhook-service", "metallb-operator-webhook-server"),
    ] {
        let policy = find(&format!("NetworkPolicy/{name}"));
        let pods = &find(&format!("Deployment/{deployment}"))["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], pods);
    }
    let selectors = objects(&install()).into_iter().filter_map(|object| match object {
        Object::NetworkPolicy(policy) => policy.spec?.pod_selector,
        _ => None,
    });
    for selector in selectors {
        assert!(selector.match_labels.is_some_and(|labels| !labels.is_empty()));
    }
}

fn plain(backend: metallb_api::BgpBackend, prometheus: bool) -> Vec<Object> {
    super::plain::objects(&install(), backend, prometheus)
}

fn kinds(objects: &[Object]) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}

// OP-95
#[test]
fn the_plain_manifests_hold_what_each_mode_needs() {
    use metallb_api::BgpBackend::{Frr, FrrK8s, Native};
    let native = [
        "Namespace/metallb-system",
        "ServiceAccount/controller",
        "ServiceAccount/speaker",
        "ServiceAccount/metallb-inspect",
        "ClusterRole/metallb-system:controller",
        "ClusterRoleBinding/metallb-system:controller",
        "Role/controller",
        "RoleBinding/controller",
        "ClusterRole/metallb-system:speaker",
        "ClusterRoleBinding/metallb-system:speaker",
        "Role/speaker",
        "RoleBinding/speaker",
        "Role/pod-lister",
        "RoleBinding/pod-lister",
        "ClusterRole/metallb-inspect",
        "ClusterRoleBinding/metallb-inspect",
        "ClusterRole/metallb-viewer",
        "Role/metallb-viewer",
        "Secret/metallb-webhook-cert",
        "Service/metallb-webhook-service",
        "ConfigMap/metallb-excludel2",
        "Deployment/controller",
        "DaemonSet/speaker",
        "ValidatingWebhookConfiguration/metallb-webhook-configuration",
    ];
    assert_eq!(kinds(&plain(Native, false)), native);
    let frr = kinds(&plain(Frr, false));
    assert!(frr.contains(&"ConfigMap/frr-startup".to_owned()), "{frr:?}");
    assert_eq!(frr.len(), native.len() + 1);
    let frr_k8s = kinds(&plain(FrrK8s, false));
    for wanted in [
        "ServiceAccount/frr-k8s-daemon",
        "ConfigMap/frr-k8s-frr-startup",
        "Deployment/frr-k8s-statuscleaner",
        "DaemonSet/frr-k8s-daemon",
        "ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration",
    ] {
        assert!(frr_k8s.contains(&wanted.to_owned()), "{wanted}");
    }
    for backend in super::plain::MODES {
        let names = kinds(&plain(backend, true));
        for wanted in [
            "Role/prometheus-k8s",
            "ServiceMonitor/speaker-monitor",
            "PrometheusRule/metallb",
        ] {
            assert!(names.contains(&wanted.to_owned()), "{backend}: {wanted}");
        }
    }
}

// OP-96, OP-99
#[test]
fn the_plain_manifests_differ_from_the_operators_in_names_and_webhooks_only() {
    let text = serde_json::to_string(&plain(metallb_api::BgpBackend::Native, false)).unwrap();
    for wanted in [
        "--webhook-mode=enabled",
        "\"secretName\":\"memberlist\"",
        "\"prometheus.io/scheme\":\"https\"",
        "\"pod-security.kubernetes.io/enforce\":\"privileged\"",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    assert!(!text.contains("managed-by"));
    assert!(
        text.contains("\"resourceNames\":[\"memberlist\"]"),
        "nobody may read the key"
    );
    let policies = super::plain::network_policies(&install());
    assert_eq!(kinds(&policies), ["NetworkPolicy/controller"]);
    assert!(serde_json::to_string(&policies).unwrap().contains("9443"));
}
