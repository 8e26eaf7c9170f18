use super::*;

// OP-56
#[rstest]
#[case("native", &["NET_RAW"])]
#[case("frr", &["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "NET_BIND_SERVICE"])]
fn speakers_are_admitted_with_what_their_back_end_needs(#[case] backend: &str, #[case] capabilities: &[&str]) {
    let objects = rendered(json!({ "bgpBackend": backend }), &platform(true));
    let constraints = find(&objects, "SecurityContextConstraints/metallb-speaker");
    assert_eq!(texts(&constraints["allowedCapabilities"]), capabilities);
    assert_eq!(constraints["requiredDropCapabilities"], json!(["ALL"]));
    assert_eq!(
        (
            &constraints["allowHostNetwork"],
            &constraints["allowPrivilegedContainer"]
        ),
        (&json!(true), &json!(false))
    );
    assert!(constraints["metadata"]["namespace"].is_null());
    let speaker = find(&objects, "DaemonSet/speaker");
    let annotations = &speaker["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["openshift.io/required-scc"], "metallb-speaker");
    let added = pod(&speaker)["containers"].as_array().unwrap().iter();
    for capability in added.flat_map(|it| texts(&it["securityContext"]["capabilities"]["add"])) {
        assert!(capabilities.contains(&capability), "{capability}");
    }
}

// OP-56
#[test]
fn the_platform_chooses_users_and_makes_certificates() {
    let objects = rendered(json!({ "bgpBackend": "frr-k8s" }), &platform(true));
    for name in ["Deployment/controller", "Deployment/statuscleaner"] {
        let workload = find(&objects, name);
        assert_eq!(
            pod(&workload)["securityContext"],
            json!({ "runAsNonRoot": true }),
            "{name}"
        );
    }
    assert!(!names(&objects).contains(&"Secret/frr-k8s-webhook-server-cert".to_owned()));
    let service = find(&objects, "Service/frr-k8s-webhook-service");
    let wanted = json!({ "service.beta.openshift.io/serving-cert-secret-name": "frr-k8s-webhook-server-cert" });
    assert_eq!(service["metadata"]["annotations"], wanted);
    let webhooks = find(
        &objects,
        "ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration",
    );
    assert_eq!(
        webhooks["metadata"]["annotations"]["service.beta.openshift.io/inject-cabundle"],
        "true"
    );
    let cleaner = find(&objects, "Deployment/statuscleaner");
    let args = texts(&container(pod(&cleaner), "frr-k8s-statuscleaner")["args"]);
    assert!(args.contains(&"--disable-cert-rotation=true"));
}

// OP-56
#[test]
fn elsewhere_nothing_of_openshift_is_deployed() {
    let objects = rendered(json!({}), &platform(false));
    let text = serde_json::to_string(&objects).unwrap();
    assert!(!text.contains("openshift"), "{text}");
}
