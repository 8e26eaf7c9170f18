//! A running installation of upstream's operator is taken over as it is.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Cluster, labels, wait_for};

fn metadata(name: &str, component: &str) -> Value {
    let mut labels = labels(component);
    for (key, value) in [
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/version", "v0.0.0"),
        ("helm.sh/chart", "metallb-0.0.0"),
    ] {
        labels[key] = json!(value);
    }
    json!({ "name": name, "namespace": super::NAMESPACE, "labels": labels })
}

fn template(component: &str, containers: &Value) -> Value {
    json!({ "metadata": { "labels": labels(component) }, "spec": { "serviceAccountName": component, "terminationGracePeriodSeconds": 0,
        "containers": containers, "nodeSelector": { "kubernetes.io/os": "linux" } } })
}

/// What upstream's operator applies for back-end frr, and what it left of frr-k8s, as far as it matters here.
fn upstream() -> Vec<Value> {
    let controller = json!([{ "name": "controller", "image": "quay.io/metallb/controller:v0.15.2", "args": ["--port=9120", "--log-level=info", "--webhook-mode=disabled"] }]);
    let speaker = json!([
        { "name": "speaker", "image": "quay.io/metallb/speaker:v0.15.2", "command": ["/speaker"], "args": ["--port=9120", "--log-level=info"],
          "env": [{ "name": "METALLB_BGP_TYPE", "value": "frr" }] },
        { "name": "frr", "image": "quay.io/frrouting/frr:9.1.0" },
    ]);
    let selector = |component: &str| json!({ "matchLabels": labels(component) });
    let frr_k8s = json!({ "app": "frr-k8s", "app.kubernetes.io/component": "frr-k8s" });
    vec![
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("metallb-excludel2", "speaker"), "data": { "excludel2.yaml": "announcedInterfacesToExclude: []\n" } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("frr-startup", "speaker"), "data": { "daemons": "bgpd=yes\n" } }),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("controller", "controller"),
            "spec": { "strategy": { "type": "RollingUpdate" }, "selector": selector("controller"), "template": template("controller", &controller) } }),
        json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata("speaker", "speaker"),
            "spec": { "updateStrategy": { "type": "RollingUpdate" }, "selector": selector("speaker"), "template": template("speaker", &speaker) } }),
        json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "frr-k8s", "labels": frr_k8s },
            "spec": { "selector": { "matchLabels": frr_k8s }, "template": { "metadata": { "labels": frr_k8s }, "spec": { "containers": [{ "name": "x", "image": "x" }] } } } }),
        // Upstream gives it the namespace and the owner of the others.
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "frr-k8s-validating-webhook-configuration" }, "webhooks": [] }),
    ]
}

fn api(cluster: &Cluster, object: &Value) -> Api<DynamicObject> {
    let (group, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .rsplit_once('/')
        .unwrap_or(("", "v1"));
    let kind = object["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind.starts_with("Validating") {
        Api::all_with(cluster.client.clone(), &resource)
    } else {
        cluster.of(&resource)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_deployed_is_kept_changed_and_cleaned_up_but_not_recreated() {
    // OP-47 OP-45
    let cluster = Cluster::start().await;
    cluster.create(json!({})).await;
    let owner = cluster.resource().await;
    let owner = json!([{ "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "name": "metallb", "uid": owner.uid().unwrap(),
        "controller": true, "blockOwnerDeletion": true }]);
    let params = PatchParams::apply("metallb-operator").force();
    let mut uids = Vec::new();
    for mut object in upstream() {
        object["metadata"]["ownerReferences"] = owner.clone();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let applied = api(&cluster, &object)
            .patch(&name, &params, &Patch::Apply(&object))
            .await
            .unwrap();
        uids.push((object, name, applied.uid()));
    }
    // One of the same manager's name from somebody else's frr-k8s must stay.
    let foreign = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "frr-k8s-webhook-service" }, "spec": { "ports": [{ "port": 443 }] } });
    let foreign: DynamicObject = serde_json::from_value(foreign).unwrap();
    let services = cluster.of(&ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()));
    services.create(&PostParams::default(), &foreign).await.unwrap();

    let operator = cluster.operator();
    cluster.available().await;
    let wanted: Vec<_> = cluster.wanted().await.iter().map(ToString::to_string).collect();
    for (object, name, uid) in uids {
        let api = api(&cluster, &object);
        let id = format!("{}/{name}", object["kind"].as_str().unwrap());
        if wanted.contains(&id) {
            assert_eq!(api.get(&name).await.unwrap().uid(), uid, "{id} was recreated");
        } else {
            wait_for(&format!("{id} to go"), || async {
                api.get_opt(&name).await.unwrap().is_none()
            })
            .await;
        }
    }
    assert!(services.get_opt("frr-k8s-webhook-service").await.unwrap().is_some());
    // Nothing of upstream's is left inside of what stays.
    let speaker = cluster.ours::<DaemonSet>().get("speaker").await.unwrap();
    let containers = speaker.spec.unwrap().template.spec.unwrap().containers;
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["speaker"]);
    assert!(
        containers[0]
            .env
            .as_ref()
            .unwrap()
            .iter()
            .all(|env| env.value.as_deref() != Some("frr"))
    );
    let controller = cluster.ours::<Deployment>().get("controller").await.unwrap();
    assert!(
        !controller.labels().contains_key("helm.sh/chart"),
        "{:?}",
        controller.labels()
    );
    operator.stop().await;
    cluster.end().await;
}
