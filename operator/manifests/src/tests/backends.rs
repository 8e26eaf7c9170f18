use super::*;

fn effective(spec: Value, environment: &Environment) -> (String, Origin) {
    let effective = EffectiveBackend::of(&read(spec), environment).unwrap();
    (effective.backend.to_string(), effective.origin)
}

// OP-23
#[test]
fn native_is_the_default_on_every_platform() {
    for environment in [environment(), platform(true)] {
        for spec in [json!({}), json!({ "bgpBackend": "" })] {
            assert_eq!(effective(spec, &environment), ("native".to_owned(), Origin::Default));
        }
    }
}

// OP-23
#[test]
fn the_resource_decides_before_the_network_operator_of_openshift() {
    let mut openshift = platform(true);
    openshift.frr_k8s_from_network_operator = true;
    let wanted = ("frr-k8s-external".to_owned(), Origin::Environment);
    assert_eq!(effective(json!({}), &openshift), wanted);
    let wanted = ("frr".to_owned(), Origin::Resource);
    assert_eq!(effective(json!({ "bgpBackend": "frr" }), &openshift), wanted);
    openshift.platform.openshift = false;
    assert_eq!(effective(json!({}), &openshift).1, Origin::Default);
}

// OP-22
#[rstest]
#[case("native", &[], "native")]
#[case("frr", &["ConfigMap/frr-startup"], "frr")]
#[case("frr-k8s", &[
    "ServiceAccount/frr-k8s-daemon", "ConfigMap/frr-k8s-frr-startup", "Secret/frr-k8s-webhook-server-cert",
    "Service/frr-k8s-webhook-service", "Deployment/statuscleaner", "DaemonSet/frr-k8s",
    "ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration",
], "frr-k8s")]
#[case("frr-k8s-external", &[], "frr-k8s")]
fn each_back_end_brings_its_own_objects(#[case] name: &str, #[case] more: &[&str], #[case] bgp_type: &str) {
    let basis = names(&rendered(json!({}), &environment()));
    let objects = rendered(json!({ "bgpBackend": name }), &environment());
    let found: Vec<_> = names(&objects)
        .into_iter()
        .filter(|name| !basis.contains(name))
        .collect();
    assert_eq!(found, more);
    for (workload, component) in [
        ("Deployment/controller", "controller"),
        ("DaemonSet/speaker", "speaker"),
    ] {
        let workload = find(&objects, workload);
        let variables = container(pod(&workload), component)["env"].as_array().unwrap();
        let variable = variables.iter().find(|it| it["name"] == "METALLB_BGP_TYPE").unwrap();
        assert_eq!(variable["value"], bgp_type);
    }
}

// OP-22: webhooks that refuse come last, after the pods that answer them.
#[test]
fn a_webhook_configuration_comes_after_its_server() {
    let objects = rendered(json!({ "bgpBackend": "frr-k8s" }), &environment());
    assert!(
        names(&objects)
            .last()
            .unwrap()
            .starts_with("ValidatingWebhookConfiguration/")
    );
}

// OP-25
#[rstest]
#[case("frr-k8s-external", "", true, &["--frrk8s-namespace=from-environment", "--frrk8s-secret-passthrough"])]
#[case("frr-k8s-external", "mine", false, &["--frrk8s-namespace=mine"])]
#[case("frr-k8s", "mine", true, &[])]
#[case("native", "mine", true, &[])]
fn flags_of_an_external_frr_k8s_are_of_that_mode_only(
    #[case] backend: &str,
    #[case] namespace: &str,
    #[case] passthrough: bool,
    #[case] wanted: &[&str],
) {
    let environment = Environment {
        frr_k8s_external_namespace: Some("from-environment".to_owned()),
        ..environment()
    };
    let spec = json!({ "bgpBackend": backend,
        "frrk8sConfig": { "namespace": namespace, "secretPassthrough": passthrough } });
    let speaker = find(&rendered(spec, &environment), "DaemonSet/speaker");
    let args = texts(&container(pod(&speaker), "speaker")["args"]);
    let found: Vec<_> = args.into_iter().filter(|arg| arg.starts_with("--frrk8s")).collect();
    assert_eq!(found, wanted);
}

// OP-23
#[test]
fn every_back_end_announces_and_nothing_is_noted() {
    for backend in ["", "native", "frr", "frr-k8s", "frr-k8s-external"] {
        assert_eq!(
            notes(&read(json!({ "bgpBackend": backend })), &environment()),
            Ok(vec![])
        );
    }
}

#[test]
fn a_variable_without_effect_and_a_kind_that_is_not_served_are_said() {
    let mut environment = environment();
    environment.warnings = vec!["nothing reads this"];
    environment.monitors = Monitors::Services;
    environment.alerts = true;
    let notes = notes(&MetalLBSpec::default(), &environment).unwrap();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[1].contains("ServiceMonitor") && notes[2].contains("PrometheusRule"));
    let kinds = names(&desired(&MetalLBSpec::default(), &environment).unwrap());
    assert!(
        !kinds
            .iter()
            .any(|name| name.contains("Monitor") || name.contains("Prometheus"))
    );
}
