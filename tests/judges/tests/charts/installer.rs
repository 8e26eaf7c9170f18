//! The chart of the operator: the objects of the other ways to install, with labels of Helm's.

use metallb_manifests::install::{self, Install};
use serde_json::{Value, json};

use crate::helm::{NAMESPACE, key, metallb_operator, strings};

// OP-98, W-45
pub(crate) fn the_operators_chart_installs_what_its_manifest_does() {
    let chart = metallb_operator();
    let objects = chart.objects();
    let install = Install::release(NAMESPACE);
    let manifest: Vec<Value> = install::objects(&install)
        .into_iter()
        .map(|object| serde_json::to_value(object).unwrap())
        .filter(|object| object["kind"] != "Namespace")
        .collect();
    for wanted in &manifest {
        let mut rendered = objects.get(&key(wanted)).clone();
        let labels = rendered["metadata"]["labels"].as_object_mut().unwrap();
        // Those of the manifest are there, and Helm's besides.
        labels.retain(|name, _| !wanted["metadata"]["labels"][name].is_null());
        let mut wanted = wanted.clone();
        for object in [&mut rendered, &mut wanted] {
            object.sort_all_objects();
        }
        assert_eq!(format!("{rendered:#}"), format!("{wanted:#}"));
    }
    let definitions = objects
        .keys()
        .iter()
        .filter(|key| key.starts_with("CustomResourceDefinition/"))
        .count();
    assert_eq!(objects.0.len(), manifest.len() + definitions);
    assert_eq!(definitions, metallb_crdgen::crds().len());
}

pub(crate) fn everything_follows_the_releases_namespace() {
    let chart = metallb_operator();
    let rendered = serde_json::to_string(&chart.namespace("elsewhere").objects().0).unwrap();
    // The names of cluster roles are upstream's.
    let left = rendered.replace("metallb-system:", "");
    assert!(!left.contains("metallb-system"), "a namespace is left behind");
}

pub(crate) fn values_reach_operator_and_webhook_server() {
    let chart = metallb_operator();
    let objects = chart
        .set("image.repository=example.com/a,image.tag=v9")
        .json(r#"operator.environment={"DEPLOY_SERVICEMONITORS": "true"}"#)
        .set("operator.extraArgs[0]=--log-level=debug,operator.replicas=2,webhookServer.nodeSelector.zone=a")
        .set("imagePullSecrets[0].name=pull,crds.validationFailurePolicy=Ignore,crds.keep=false")
        .objects();
    let (operator, server) = (
        "Deployment/metallb-operator-controller-manager",
        "Deployment/metallb-operator-webhook-server",
    );
    let manager = objects.container(operator, "manager");
    assert_eq!(manager["image"], "example.com/a:v9");
    assert_eq!(
        manager["env"][0],
        json!({"name": "SPEAKER_IMAGE", "value": "example.com/a:v9"})
    );
    let last = manager["env"].as_array().unwrap().last().unwrap();
    assert_eq!(last, &json!({"name": "DEPLOY_SERVICEMONITORS", "value": "true"}));
    assert_eq!(strings(&manager["args"]).last(), Some(&"--log-level=debug"));
    assert_eq!(objects.get(operator)["spec"]["replicas"], 2);
    assert_eq!(
        objects.pod(server)["nodeSelector"],
        json!({"kubernetes.io/os": "linux", "zone": "a"})
    );
    for workload in [operator, server] {
        assert_eq!(objects.pod(workload)["imagePullSecrets"], json!([{"name": "pull"}]));
    }
    let hooks = &objects.get("ValidatingWebhookConfiguration/metallb-operator-webhook-configuration")["webhooks"];
    assert_eq!(hooks[0]["failurePolicy"], "Ignore");
    let crd = objects.get("CustomResourceDefinition/metallbs.metallb.io");
    assert!(crd["metadata"]["annotations"]["helm.sh/resource-policy"].is_null());
}

pub(crate) fn an_unknown_value_of_the_operators_chart_is_refused() {
    let chart = metallb_operator();
    let refusal = chart.set("operator.replica=2").refusal();
    assert!(
        refusal.contains("at '/operator/replica'") && refusal.contains("replicas, "),
        "{refusal}"
    );
}
