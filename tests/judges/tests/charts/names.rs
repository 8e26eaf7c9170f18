//! Names, labels and selectors: an interface to upstream's releases, which are upgraded in place.

use serde_json::json;

use crate::helm::{NAMESPACE, metallb, metallb_operator, names, strings};

/// The objects of a release `metallb` in native mode. Those marked are ours alone.
const NATIVE: &[&str] = &[
    "ClusterRole/metallb-inspect", // Ours, as all that is named inspect or viewer.
    "ClusterRole/metallb-viewer",
    "ClusterRole/metallb:controller",
    "ClusterRole/metallb:speaker",
    "ClusterRoleBinding/metallb-inspect",
    "ClusterRoleBinding/metallb:controller",
    "ClusterRoleBinding/metallb:speaker",
    "ConfigMap/metallb-excludel2",
    "CustomResourceDefinition/addresspools.metallb.io", // Upstream dropped this kind, which is served here.
    "CustomResourceDefinition/bfdprofiles.metallb.io",
    "CustomResourceDefinition/bgpadvertisements.metallb.io",
    "CustomResourceDefinition/bgppeers.metallb.io",
    "CustomResourceDefinition/bgpsessionstates.frrk8s.metallb.io", // Upstream brings this kind with frr-k8s.
    "CustomResourceDefinition/communities.metallb.io",
    "CustomResourceDefinition/configurationstates.metallb.io",
    "CustomResourceDefinition/ipaddresspools.metallb.io",
    "CustomResourceDefinition/l2advertisements.metallb.io",
    "CustomResourceDefinition/servicebgpstatuses.metallb.io",
    "CustomResourceDefinition/servicel2statuses.metallb.io",
    "DaemonSet/metallb-speaker",
    "Deployment/metallb-controller",
    "Role/metallb-controller",
    "Role/metallb-pod-lister",
    "Role/metallb-viewer",
    "Role/metallb-speaker", // Rights that upstream's speaker has in every namespace, or shares with the controller.
    "RoleBinding/metallb-controller",
    "RoleBinding/metallb-pod-lister",
    "RoleBinding/metallb-speaker",
    "Secret/metallb-webhook-cert",
    "Service/metallb-webhook-service",
    "ServiceAccount/metallb-controller",
    "ServiceAccount/metallb-inspect",
    "ServiceAccount/metallb-speaker",
    "ValidatingWebhookConfiguration/metallb-webhook-configuration",
];

fn with(extra: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = NATIVE.iter().chain(extra).map(ToString::to_string).collect();
    all.sort();
    all
}

// OP-63
pub(crate) fn a_release_has_upstreams_objects() {
    let cases: [(&str, &[&str]); 4] = [
        ("rbac.create=true", &[]),
        ("speaker.frr.enabled=true", &["ConfigMap/metallb-frr-startup"]),
        ("frrk8s.external=true,frrk8s.namespace=frr-k8s-system", &[]),
        // Upstream carries frr-k8s' definitions too.
        (
            "frrk8s.enabled=true",
            &[
                "ClusterRole/metallb-frr-k8s-controller",
                "ClusterRoleBinding/metallb-frr-k8s-controller",
                "ConfigMap/metallb-frr-k8s-frr-startup",
                "DaemonSet/metallb-frr-k8s",
                "Deployment/metallb-frr-k8s-statuscleaner",
                "Role/metallb-frr-k8s-controller",
                "RoleBinding/metallb-frr-k8s-controller",
                "Secret/frr-k8s-webhook-server-cert",
                "Service/frr-k8s-webhook-service",
                "ServiceAccount/metallb-frr-k8s-controller",
                "ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration",
            ],
        ),
    ];
    for (values, extra) in cases {
        let chart = metallb();
        let rendered: Vec<String> = chart.set(values).objects().keys().into_iter().collect();
        assert_eq!(rendered, with(extra), "{values}");
    }
}

// OP-66
pub(crate) fn selectors_are_upstreams_so_that_an_upgrade_keeps_the_workloads() {
    let chart = metallb();
    let objects = chart.release("prod").objects();
    for (workload, component) in [
        ("Deployment/prod-metallb-controller", "controller"),
        ("DaemonSet/prod-metallb-speaker", "speaker"),
    ] {
        let labels = json!({
            "app.kubernetes.io/name": "metallb",
            "app.kubernetes.io/instance": "prod",
            "app.kubernetes.io/component": component,
        });
        let spec = &objects.get(workload)["spec"];
        assert_eq!(spec["selector"]["matchLabels"], labels);
        assert_eq!(spec["template"]["metadata"]["labels"], labels);
    }
    let service = objects.get("Service/metallb-webhook-service");
    assert_eq!(service["spec"]["selector"]["app.kubernetes.io/component"], "controller");
    assert_eq!(service["spec"]["selector"]["app.kubernetes.io/instance"], "prod");
}

// OP-65
pub(crate) fn names_start_with_the_release_or_what_replaces_it() {
    let cases: [(&str, &str, &str); 6] = [
        ("metallb", "rbac.create=true", "metallb"),
        ("my-metallb-2", "rbac.create=true", "my-metallb-2"),
        ("prod", "rbac.create=true", "prod-metallb"),
        ("prod", "nameOverride=lb", "prod-lb"),
        ("prod", "fullnameOverride=x", "x"),
        (
            "prod",
            "fullnameOverride=lb-56789012345678901234567890123456789012345678901234567890123-cut",
            "lb-56789012345678901234567890123456789012345678901234567890123",
        ),
    ];
    for (release, values, start) in cases {
        let chart = metallb();
        let objects = chart.release(release).set(values).objects();
        for name in [
            "Deployment/{}-controller",
            "DaemonSet/{}-speaker",
            "ClusterRole/{}:speaker",
            "Role/{}-pod-lister",
        ] {
            objects.get(&name.replace("{}", start));
        }
        for fixed in [
            "Service/metallb-webhook-service",
            "Secret/metallb-webhook-cert",
            "ConfigMap/metallb-excludel2",
            "ValidatingWebhookConfiguration/metallb-webhook-configuration",
        ] {
            objects.get(fixed);
        }
        let controller = objects.container(&format!("Deployment/{start}-controller"), "controller");
        let variables = &controller["env"];
        assert_eq!(
            variables[1],
            json!({"name": "METALLB_ML_SECRET_NAME", "value": format!("{start}-memberlist")})
        );
        assert_eq!(
            variables[2],
            json!({"name": "METALLB_DEPLOYMENT", "value": format!("{start}-controller")})
        );
    }
}

// OP-76, and OP-32: upstream's policy test of its default render.
pub(crate) fn upstreams_policy_holds() {
    let chart = metallb();
    let objects = chart.release("release-name").objects();
    let controller = objects.pod("Deployment/release-name-metallb-controller");
    let speaker = objects.pod("DaemonSet/release-name-metallb-speaker");
    assert_eq!(controller["serviceAccountName"], "release-name-metallb-controller");
    assert_eq!(speaker["serviceAccountName"], "release-name-metallb-speaker");
    for pod in [controller, speaker] {
        assert_eq!(pod["nodeSelector"]["kubernetes.io/os"], "linux");
    }
    assert_eq!(names(&speaker["containers"][0]["env"])[5], "METALLB_ML_SECRET_KEY_PATH");
    let master = json!({"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(speaker["tolerations"][0], master);
}

// OP-72
pub(crate) fn definitions_outlive_the_release_unless_told_otherwise() {
    let chart = metallb();
    let keep = |objects: &crate::helm::Objects| {
        let pools = objects.get("CustomResourceDefinition/ipaddresspools.metallb.io");
        pools["metadata"]["annotations"]["helm.sh/resource-policy"].clone()
    };
    assert_eq!(keep(&chart.objects()), "keep");
    let chart = chart.set("crds.keep=false");
    assert!(keep(&chart.objects()).is_null());
    let without = chart.set("crds.enabled=false").objects();
    assert!(
        !without
            .keys()
            .iter()
            .any(|key| key.starts_with("CustomResourceDefinition"))
    );
}

// OP-71, W-31
pub(crate) fn without_a_backend_there_is_no_webhook_and_no_conversion() {
    let cases: [&str; 2] = ["controller.webhookMode=disabled", "controller.enabled=false"];
    for values in cases {
        let chart = metallb();
        let objects = chart.set(values).objects();
        assert!(
            !objects
                .keys()
                .iter()
                .any(|key| key.starts_with("ValidatingWebhookConfiguration"))
        );
        assert!(!objects.keys().contains("Service/metallb-webhook-service"));
        let peers = &objects.get("CustomResourceDefinition/bgppeers.metallb.io")["spec"];
        assert_eq!(peers["conversion"], json!({"strategy": "None"}));
        for version in peers["versions"].as_array().unwrap() {
            assert_eq!(version["served"], version["storage"], "{}", version["name"]);
        }
    }
}

// W-44
pub(crate) fn no_authority_is_rendered_and_every_webhook_calls_into_the_releases_namespace() {
    let chart = metallb();
    let objects = chart.set("crds.validationFailurePolicy=Ignore").objects();
    assert!(!serde_json::to_string(&objects.0).unwrap().contains("caBundle"));
    let configuration = objects.get("ValidatingWebhookConfiguration/metallb-webhook-configuration");
    for webhook in configuration["webhooks"].as_array().unwrap() {
        assert_eq!(webhook["clientConfig"]["service"]["namespace"], NAMESPACE);
        assert_eq!(webhook["failurePolicy"], "Ignore");
    }
    let peers = &objects.get("CustomResourceDefinition/bgppeers.metallb.io")["spec"]["conversion"]["webhook"];
    assert_eq!(peers["clientConfig"]["service"]["namespace"], NAMESPACE);
    assert_eq!(strings(&peers["conversionReviewVersions"])[0], "v1");
}

pub(crate) fn the_charts_are_of_the_release_of_their_sources() {
    for chart in [metallb(), metallb_operator()] {
        let text = std::fs::read_to_string(chart.folder().join("Chart.yaml")).unwrap();
        let meta: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(meta["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(meta["appVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
    }
}
