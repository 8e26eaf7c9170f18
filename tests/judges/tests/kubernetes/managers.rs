//! Field managers beside our own: what kubectl, Helm and Argo CD wrote stays theirs, and what is ours stays ours.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::{Value, json};

use metallb_tests::Outcome;
use metallb_tests::ask::{Answer, ask};
use metallb_tests::schemas::one_node;

const PATIENCE: Duration = Duration::from_secs(20);
const METALLB: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/metallbs/metallb";
const CONTROLLER: &str = "/apis/apps/v1/namespaces/metallb-system/deployments/controller";
const POOL: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/layer2";
const PEERS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";

/// `kubectl apply --server-side --field-manager=…`, without `--force-conflicts`; once more, as people do it, when a
/// webhook could not be called in time.
async fn apply(client: &Client, manager: &str, path: &str, object: Value) -> Result<Answer> {
    let path = format!("{path}?fieldManager={manager}");
    let answer = ask(client, Method::PATCH, &path, Some(&object)).await?;
    match answer.message().contains("failed calling webhook") {
        true => ask(client, Method::PATCH, &path, Some(&object)).await,
        false => Ok(answer),
    }
}

async fn applied(client: &Client, manager: &str, path: &str, object: Value) -> Result<Value> {
    let answer = apply(client, manager, path, object).await?;
    ensure!(
        answer.accepted(),
        "{manager} was refused at {path}: {}",
        answer.message()
    );
    Ok(answer.body)
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    Ok(ask(client, Method::GET, path, None).await?.body)
}

fn metallb(mut metadata: Value, spec: Value) -> Value {
    metadata["name"] = "metallb".into();
    let mut object = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB" });
    object["metadata"] = metadata;
    object["spec"] = spec;
    object
}

pub(crate) fn leave_each_other_alone(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        steps.configure().await?;
        let client = lab.kube();
        resource(&client).await.context("the MetalLB resource")?;
        owned(&client).await.context("an object of the operator")?;
        pool(&client).await.context("a pool")?;
        definitions(&client).await.context("the definitions")?;
        lab.stop().await;
        Ok(())
    })
}

/// People's resource: three managers write it, the operator its status alone.
async fn resource(client: &Client) -> Result<()> {
    applied(
        client,
        "kubectl",
        METALLB,
        metallb(json!({}), json!({ "logLevel": "debug" })),
    )
    .await?;
    let label = json!({ "labels": { "app.kubernetes.io/managed-by": "Helm" } });
    applied(
        client,
        "helm",
        METALLB,
        metallb(label, json!({ "nodeSelector": { "kubernetes.io/os": "linux" } })),
    )
    .await?;
    let tracked = json!({ "annotations": { "argocd.argoproj.io/tracking-id": "metallb" } });
    applied(client, "argocd-controller", METALLB, metallb(tracked, json!({}))).await?;
    wait_for("the operator to obey", PATIENCE, async || {
        let args = get(client, CONTROLLER).await?["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        Ok(args.contains("--log-level=debug").then_some(()))
    })
    .await?;
    let conflict = apply(
        client,
        "argocd-controller",
        METALLB,
        metallb(json!({}), json!({ "logLevel": "warn" })),
    )
    .await?;
    ensure!(
        conflict.status == 409 && conflict.message().contains("kubectl"),
        "no conflict: {}",
        conflict.message()
    );
    let now = applied(client, "kubectl", METALLB, metallb(json!({}), json!({}))).await?;
    ensure!(
        now["spec"].get("logLevel").is_none(),
        "what kubectl took back is still there: {}",
        now["spec"]
    );
    ensure!(
        now["spec"]["nodeSelector"]["kubernetes.io/os"] == "linux",
        "Helm's field is gone"
    );
    ensure!(
        now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm",
        "Helm's label is gone"
    );
    ensure!(
        now["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] == "metallb",
        "Argo's annotation is gone"
    );
    ensure!(now["status"]["conditions"].is_array(), "the status is gone");
    for entry in now["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let ours = entry["manager"].as_str().is_some_and(|name| name.contains("operator"));
        ensure!(
            !ours || entry["subresource"] == "status",
            "the operator owns more than the status: {entry}"
        );
    }
    Ok(())
}

/// The operator's Deployment: others may add to it, and are told when they take what is the operator's.
async fn owned(client: &Client) -> Result<()> {
    let mine = |body: Value| {
        let mut object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "controller" } });
        for (key, value) in body.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let labelled = json!({ "metadata": { "name": "controller", "labels": { "team": "network" } } });
    applied(client, "argocd-controller", CONTROLLER, mine(labelled)).await?;
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "controller", "image": "example.com/other:1" }] } } } });
    let conflict = apply(client, "argocd-controller", CONTROLLER, mine(image)).await?;
    ensure!(
        conflict.status == 409,
        "the image was given away: {} {}",
        conflict.status,
        conflict.message()
    );
    applied(
        client,
        "kubectl",
        METALLB,
        metallb(json!({}), json!({ "logLevel": "warn" })),
    )
    .await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "metallb-system");
    wait_for("the operator to write it again", PATIENCE, async || {
        let now = serde_json::to_string(&deployments.get("controller").await?.spec)?;
        Ok(now.contains("--log-level=warn").then_some(()))
    })
    .await?;
    let labels = get(client, CONTROLLER).await?["metadata"]["labels"].clone();
    ensure!(
        labels["team"] == "network",
        "the operator took another's label away: {labels}"
    );
    Ok(())
}

/// A pool applied again keeps the numbers that the controller wrote.
async fn pool(client: &Client) -> Result<()> {
    let pool = |addresses: &str| {
        json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "layer2" },
                "spec": { "addresses": [addresses] } })
    };
    let range = "172.30.0.200-172.30.0.250";
    wait_for("the controller's numbers", PATIENCE, async || {
        Ok(get(client, POOL).await?["status"]["availableIPv4"]
            .is_number()
            .then_some(()))
    })
    .await?;
    let now = applied(client, "kubectl", POOL, pool(range)).await?;
    ensure!(
        now["status"]["availableIPv4"] == 51,
        "the numbers are gone: {}",
        now["status"]
    );
    let managers = now["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let status = managers.iter().filter(|entry| entry["subresource"] == "status").count();
    ensure!(status == 1, "the status has {status} managers: {managers:?}");
    Ok(())
}

/// Applying the shipped definitions again takes no injected certificate away.
async fn definitions(client: &Client) -> Result<()> {
    const BUNDLE: &str = "/spec/conversion/webhook/clientConfig/caBundle";
    let injected = |crd: &Value| {
        crd.pointer(BUNDLE)
            .and_then(Value::as_str)
            .is_some_and(|bundle| bundle.len() > 100)
    };
    wait_for("the conversion's certificate", PATIENCE, async || {
        Ok(injected(&get(client, PEERS).await?).then_some(()))
    })
    .await?;
    let all: Vec<Value> = serde_saphyr::from_multiple(include_str!("../../../../manifests/crds.yaml"))?;
    let peers = all.iter().find(|crd| crd["spec"]["names"]["plural"] == "bgppeers");
    let peers = peers.context("no definition of peers")?;
    for manager in ["kubectl", "helm", "argocd-controller"] {
        let now = applied(client, manager, PEERS, peers.clone()).await?;
        ensure!(injected(&now), "{manager} took the certificate away");
    }
    // A Rust program writes the bounds of numbers as floats, which is no conflict.
    let mut typed = metallb_crdgen::crds().into_iter();
    let typed = typed.find(|crd| crd.spec.names.plural == "bgppeers");
    applied(client, "a-program", PEERS, serde_json::to_value(typed)?).await?;
    Ok(())
}
