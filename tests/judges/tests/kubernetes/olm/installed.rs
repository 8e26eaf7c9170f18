//! The operator as the Operator Lifecycle Manager installs it, on a real control plane.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::{Value, json};

use super::lifecycle::Lifecycle;

type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(180);
const OPERATOR: &str = "metallb-operator-controller-manager";
const WEBHOOKS: &str = "metallb-operator-webhook-server";

/// The bundle as it is checked in.
fn manifests() -> Result<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundle/manifests");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        all.push(serde_saphyr::from_str(&std::fs::read_to_string(entry?.path())?)?);
    }
    Ok(all)
}

// OP-83, OP-87, OP-92, OP-94 as far as it needs no image
pub(crate) fn by_olm(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let client = lab.kube();
        let (csv, manifests): (Vec<_>, Vec<_>) = manifests()?
            .into_iter()
            .partition(|object| object["kind"] == "ClusterServiceVersion");
        let csv = csv
            .into_iter()
            .next()
            .context("the bundle has no ClusterServiceVersion")?;
        let namespace = suggested_namespace(&client, &csv).await?;
        operator_conditions(&client).await?;
        let olm = Lifecycle::new(client.clone(), &namespace, csv.clone())?;
        olm.install(&manifests).await?;
        for name in [OPERATOR, WEBHOOKS] {
            available(&client, &namespace, name)
                .await
                .with_context(|| format!("{name} after the installation"))?;
        }
        let steps = Steps::new(&lab);
        steps.create_metallb().await?;
        steps.configure().await?;
        let refused = steps.try_bad_pool().await?;
        ensure!(refused.contains("overlaps"), "refused with other words: {refused}");
        steps.try_bad_peer().await?;
        steps.start_backends().await?;
        let addresses = steps.create_services().await?;
        steps.request(addresses.layer2).await?;
        steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
        steps.request(addresses.bgp).await?;
        renewed(&client, &namespace, &csv, &manifests).await?;
        examples(&client, &csv).await?;
        lab.stop().await;
        Ok(())
    })
}

/// Makes the namespace that consoles make of the template.
async fn suggested_namespace(client: &Client, csv: &Value) -> Result<String> {
    let template = &csv["metadata"]["annotations"]["operatorframework.io/suggested-namespace-template"];
    let namespace: Namespace = serde_json::from_str(template.as_str().context("there is no template")?)?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(namespace.name_any())
}

/// OLM's own kind, which the operator writes to.
async fn operator_conditions(client: &Client) -> Result<()> {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let crd: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "operatorconditions.operators.coreos.com" },
        "spec": {
            "group": "operators.coreos.com", "scope": "Namespaced",
            "names": { "kind": "OperatorCondition", "plural": "operatorconditions" },
            "versions": [{ "name": "v2", "served": true, "storage": true, "schema": { "openAPIV3Schema": anything } }],
        },
    }))?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &crd).await?;
    wait_for("OperatorConditions to be served", PATIENCE, async || {
        let status = api.get(&crd.name_any()).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        Ok(conditions
            .iter()
            .any(|it| it.type_ == "Established" && it.status == "True")
            .then_some(()))
    })
    .await
}

async fn available(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    wait_for("a Deployment to be available", PATIENCE, async || {
        let status = api.get(name).await?.status.unwrap_or_default();
        Ok((status.available_replicas == Some(1)).then_some(()))
    })
    .await
}

/// The certificates of another authority are served by the same pods.
async fn renewed(client: &Client, namespace: &str, csv: &Value, manifests: &[Value]) -> Result<()> {
    let before = pods(client, namespace).await?;
    let other = Lifecycle::new(client.clone(), namespace, csv.clone())?;
    other.install(manifests).await?;
    wait_for("webhooks of the new authority to answer", PATIENCE, async || {
        let metallb = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "metadata": { "name": "metallb", "namespace": namespace },
            "spec": { "logLevel": "info" },
        });
        let old_peer = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": { "name": "old", "namespace": namespace },
            "spec": { "myASN": 64500, "peerASN": 64501, "peerAddress": "203.0.113.77" },
        });
        // The conversion, and both webhook servers.
        let answers = [dry_run(client, &metallb).await, dry_run(client, &old_peer).await];
        Ok(answers.iter().all(Result::is_ok).then_some(()))
    })
    .await?;
    let after = pods(client, namespace).await?;
    ensure!(before == after, "pods were replaced: {before:?} by {after:?}");
    Ok(())
}

async fn pods(client: &Client, namespace: &str) -> Result<BTreeSet<String>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    Ok(api
        .list(&ListParams::default())
        .await?
        .iter()
        .filter_map(ResourceExt::uid)
        .collect())
}

/// Every example is accepted as it is by schema, conversion and admission.
async fn examples(client: &Client, csv: &Value) -> Result<()> {
    let text = csv["metadata"]["annotations"]["alm-examples"]
        .as_str()
        .context("there are no examples")?;
    for example in serde_json::from_str::<Vec<Value>>(text)? {
        creatable(client, &example)
            .await
            .with_context(|| format!("the example {example}"))?;
    }
    Ok(())
}

/// Creates an object without effect, as consoles begin with an example. What is there already may be so.
async fn creatable(client: &Client, object: &Value) -> Result<()> {
    let (api, object) = place(client, object).await?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api.create(&params, &object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop).map_err(Into::into),
    }
}

async fn dry_run(client: &Client, object: &Value) -> Result<()> {
    let (api, object) = place(client, object).await?;
    let params = PatchParams::apply("olm-test").force().dry_run();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?;
    Ok(())
}

/// The object, and where it goes.
async fn place(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let kind = kube::core::GroupVersionKind::try_from(object.types.as_ref().context("no kind")?)?;
    let (resource, _) = kube::discovery::pinned_kind(client, &kind).await?;
    let api = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, object))
}
