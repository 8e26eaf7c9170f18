//! What must survive: restarts, malformed objects, meddling.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options};
use serde_json::{Value, json};

use crate::Outcome;
use crate::path::announced;

const NAMESPACE: &str = "metallb-system";

/// Looks again until `look` says yes.
pub async fn wait_for(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !look().await? {
        if began.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(began.elapsed())
}

async fn ingress(client: &Client, name: &str) -> Result<Option<String>> {
    let service = Api::<Service>::namespaced(client.clone(), "default").get(name).await?;
    let load_balancer = service.status.and_then(|status| status.load_balancer);
    Ok(load_balancer
        .and_then(|l| l.ingress)
        .and_then(|list| list.into_iter().next())
        .and_then(|first| first.ip))
}

async fn create_service(client: &Client, name: &str, annotations: Value) -> Result<()> {
    let service = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }))?;
    Api::<Service>::namespaced(client.clone(), "default")
        .create(&PostParams::default(), &service)
        .await?;
    Ok(())
}

/// Deletes the pods of a component and waits until as many new ones are ready.
pub async fn restart(client: &Client, component: &str) -> Result<()> {
    restart_pods(client, &format!("app=metallb,component={component}")).await
}

/// Does the same with the pods of those labels.
pub async fn restart_pods(client: &Client, labels: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let ours = ListParams::default().labels(labels);
    let all = pods.list(&ours).await?;
    // Those of an earlier restart may still be on their way out.
    let staying = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let before: Vec<String> = staying.filter_map(ResourceExt::uid).collect();
    ensure!(!before.is_empty(), "no pod with {labels} runs");
    pods.delete_collection(&DeleteParams::default(), &ours).await?;
    wait_for(
        &format!("new pods with {labels}"),
        Duration::from_secs(120),
        async || {
            let now = pods.list(&ours).await?;
            let fresh = now.iter().filter(|pod| {
                pod.metadata.deletion_timestamp.is_none() && pod.uid().is_some_and(|uid| !before.contains(&uid))
            });
            Ok(fresh.filter(|pod| ready(pod)).count() >= before.len())
        },
    )
    .await?;
    Ok(())
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

// CTL-27, CTL-50
pub fn restarts(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let client = lab.kube();
        // A third Service takes the next address; deleting the first afterwards leaves a lower one free, to which
        // nothing may move.
        create_service(&client, "third", json!({"metallb.io/address-pool": "bgp"})).await?;
        wait_for(
            "an address of the third Service",
            Duration::from_secs(120),
            async || Ok(ingress(&client, "third").await?.is_some()),
        )
        .await?;
        let before = (ingress(&client, "web-layer2").await?, ingress(&client, "third").await?);
        Api::<Service>::namespaced(client.clone(), "default")
            .delete("web-bgp", &DeleteParams::default())
            .await?;
        for component in ["controller", "speaker", "controller"] {
            restart(&client, component).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = (ingress(&client, "web-layer2").await?, ingress(&client, "third").await?);
        ensure!(before == after, "addresses moved from {before:?} to {after:?}");
        lab.client()
            .get(addresses.layer2, 80)
            .await
            .context("after all restarts")?;
        lab.stop().await;
        Ok(())
    })
}

fn dynamic(client: &Client, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "metallb.io".into(),
        version: version.into(),
        api_version: format!("metallb.io/{version}"),
        kind: kind.into(),
        plural: plural.into(),
    };
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

/// Creates what admission refuses, as soon as the API server has heard that nobody is to be asked any more.
async fn force(api: &Api<DynamicObject>, object: Value) -> Result<()> {
    let object = serde_json::from_value(object)?;
    let what = "the API server to forget the webhooks";
    wait_for(what, Duration::from_secs(120), async || {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.message.contains("denied the request") => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    Ok(())
}

/// With the webhooks gone, garbage reaches the store; each component leaves it out, says so, and goes on.
pub fn malformed_objects(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let client = lab.kube();
        let hooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        hooks
            .delete("metallb-webhook-configuration", &DeleteParams::default())
            .await?;
        force(
            &dynamic(&client, "v1beta1", "IPAddressPool", "ipaddresspools"),
            json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "garbage"},
                   "spec": {"addresses": ["172.30.0.200-172.30.0.210", "not an address"]}}),
        )
        .await?;
        force(
            &dynamic(&client, "v1beta2", "BGPPeer", "bgppeers"),
            json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": "garbage"},
                   "spec": {"myASN": 64500, "peerASN": 1, "peerAddress": "300.1.2.3", "holdTime": "1 day"}}),
        )
        .await?;
        create_service(
            &client,
            "garbage",
            json!({"metallb.io/loadBalancerIPs": "no address, neither"}),
        )
        .await?;
        create_service(&client, "good", json!({"metallb.io/address-pool": "layer2"})).await?;
        wait_for("an address of a good Service", Duration::from_secs(120), async || {
            Ok(ingress(&client, "good").await?.is_some())
        })
        .await?;
        // Restarted components read the garbage first thing.
        for component in ["controller", "speaker"] {
            restart(&client, component).await?;
        }
        create_service(&client, "later", json!({"metallb.io/address-pool": "layer2"})).await?;
        wait_for("an address after the restarts", Duration::from_secs(120), async || {
            Ok(ingress(&client, "later").await?.is_some())
        })
        .await?;
        let later = ingress(&client, "later").await?.context("an address")?.parse()?;
        let steps = metallb_test_support::Steps::new(&lab);
        steps.request(later).await?;
        steps.request(addresses.layer2).await?;
        steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
        ensure!(
            ingress(&client, "garbage").await?.is_none(),
            "a Service with a garbage request got an address"
        );
        reported(&client).await?;
        lab.stop().await;
        Ok(())
    })
}

/// What was left out is told in the ConfigurationStates.
async fn reported(client: &Client) -> Result<()> {
    let states = dynamic(client, "v1beta1", "ConfigurationState", "configurationstates");
    wait_for(
        "the ConfigurationState to name the refused pool",
        Duration::from_secs(120),
        async || {
            let state = states.get_opt("controller").await?;
            let summary = state.and_then(|state| state.data["status"]["errorSummary"].as_str().map(str::to_owned));
            Ok(summary.is_some_and(|text| text.contains("garbage")))
        },
    )
    .await?;
    Ok(())
}

/// Everything the operator owns is back within seconds of being deleted or changed.
pub fn drift(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let client = lab.kube();
        let limit = Duration::from_secs(120);

        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        maps.delete("metallb-excludel2", &DeleteParams::default()).await?;
        wait_for("the ConfigMap to be back", limit, async || {
            Ok(maps.get_opt("metallb-excludel2").await?.is_some())
        })
        .await?;

        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        let zero = Patch::Merge(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "controller", "image": "example.com/evil:1"}]}}}}));
        deployments.patch("controller", &PatchParams::default(), &zero).await?;
        wait_for("the controller's image to be back", limit, async || {
            let spec = deployments
                .get("controller")
                .await?
                .spec
                .and_then(|spec| spec.template.spec);
            Ok(spec.is_some_and(|pod| {
                pod.containers
                    .iter()
                    .all(|c| c.image.as_deref() != Some("example.com/evil:1"))
            }))
        })
        .await?;

        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
        let uid = sets.get("speaker").await?.uid();
        sets.delete("speaker", &DeleteParams::default()).await?;
        wait_for("the DaemonSet to be back", limit, async || {
            Ok(sets.get_opt("speaker").await?.is_some_and(|set| set.uid() != uid))
        })
        .await?;
        let steps = metallb_test_support::Steps::new(&lab);
        steps
            .next_hops(addresses.bgp, lab.topology().nodes.len())
            .await
            .context("after the repair")?;
        steps.request(addresses.layer2).await.context("after the repair")?;
        lab.stop().await;
        Ok(())
    })
}
