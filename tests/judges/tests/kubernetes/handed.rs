//! What speakers hand to frr-k8s, judged by a real API server with frr-k8s' own definitions.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_api::{FRRConfiguration, MetalLB};
use metallb_test_runner::tools::FRR_K8S;
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::json;

use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;

const NAMESPACE: &str = "metallb-system";
/// Where frr-k8s would run.
const ELSEWHERE: &str = "frr-k8s-system";
const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for whoever writes again and again.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn obstacle() -> Option<String> {
    FRR_K8S.obstacle()
}

// FRR-49, FRR-50, FRR-60, FRR-63
pub(crate) fn to_frr_k8s(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let (steps, client) = (Steps::new(&lab), lab.kube());
        steps.apply_crds().await?;
        definitions(&client).await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        switch(&client).await?;
        steps.configure().await?;
        steps.start_backends().await?;
        let address = steps.create_services().await?.bgp.to_string();
        let objects: Api<FRRConfiguration> = Api::namespaced(client.clone(), ELSEWHERE);
        let written = told(&objects, &address).await?;
        tokio::time::sleep(IDLE).await;
        restart(&client).await?;
        steps.speakers_ready().await?;
        tokio::time::sleep(IDLE).await;
        let name = written.name_any();
        let now = objects.get(&name).await?;
        ensure!(
            now.resource_version() == written.resource_version(),
            "written again, from {written:?} to {now:?}"
        );
        let edit = json!({ "spec": { "raw": { "rawConfig": "hello" } } });
        objects
            .patch(&name, &PatchParams::default(), &Patch::Merge(&edit))
            .await?;
        wait_for("the edit to be undone", PATIENCE, async || {
            Ok(objects.get(&name).await?.spec.raw.is_none().then_some(()))
        })
        .await?;
        objects.delete(&name, &DeleteParams::default()).await?;
        told(&objects, &address).await?;
        lab.stop().await;
        Ok(())
    })
}

/// Puts frr-k8s' definitions in the place of ours.
async fn definitions(client: &Client) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for file in fs::read_dir(FRR_K8S.files()?.join("config/crd/bases"))? {
        let text = fs::read_to_string(file?.path())?;
        let crd: CustomResourceDefinition = serde_saphyr::from_str(&text)?;
        let name = crd.name_any();
        if crds.get_opt(&name).await?.is_some() {
            crds.delete(&name, &DeleteParams::default()).await?;
            wait_for("a definition to go", PATIENCE, async || {
                Ok(crds.get_opt(&name).await?.is_none().then_some(()))
            })
            .await?;
        }
        crds.create(&PostParams::default(), &crd).await.context(name)?;
    }
    Ok(())
}

/// Has the operator's speakers hand their sessions to an frr-k8s that somebody else deployed.
async fn switch(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": ELSEWHERE } }))?;
    namespaces.create(&PostParams::default(), &namespace).await?;
    let resources: Api<MetalLB> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = json!({ "bgpBackend": "frr-k8s-external", "frrk8sConfig": { "namespace": ELSEWHERE } });
    let change = Patch::Merge(json!({ "spec": spec }));
    resources.patch("metallb", &PatchParams::default(), &change).await?;
    Ok(())
}

/// Waits until a speaker has handed over the address.
async fn told(objects: &Api<FRRConfiguration>, address: &str) -> Result<FRRConfiguration> {
    wait_for("the address in a FRRConfiguration", PATIENCE, async || {
        let all = objects.list(&ListParams::default()).await?;
        let told = |object: &FRRConfiguration| {
            let spec = serde_json::to_string(&object.spec).unwrap_or_default();
            object.name_any().starts_with("metallb-") && spec.contains(address)
        };
        Ok(all.into_iter().find(told))
    })
    .await
}

async fn restart(client: &Client) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let speakers = ListParams::default().labels("app.kubernetes.io/component=speaker");
    for pod in pods.list(&speakers).await? {
        pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
        wait_for("the speaker's pod to go", PATIENCE, async || {
            let now = pods.get_opt(&pod.name_any()).await?;
            Ok((now.and_then(|now| now.uid()) != pod.uid()).then_some(()))
        })
        .await?;
    }
    Ok(())
}
