//! From the manifest without an operator to answers, under both traffic policies, and back to nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use metallb_test_support::{Addresses, CLIENT, CLIENT_FAR, Inside, Lab, Options, RouterKind, Steps, apply, wait_for};
use metallb_tests::Outcome;
use metallb_tests::path::scale;
use serde_json::json;

const NATIVE: &str = include_str!("../../../../manifests/metallb-native.yaml");
const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn plain(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let (client, steps) = (lab.kube(), Steps::new(&lab));
        apply(&client, NATIVE).await?;
        steps.deployment_available(NAMESPACE, "controller").await?;
        steps.speakers_ready().await?;
        steps.configure().await?;
        steps.start_backends().await?;
        let addresses = steps.create_services().await?;
        steps.request(addresses.layer2).await?;
        steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
        steps.spread(addresses.bgp).await?;
        cluster_policy(&lab, addresses).await?;
        local_policy(&lab, addresses).await.context("with policy Local")?;
        mounts_never_failed(&client).await?;
        goes(&lab, addresses).await.context("when it is deleted")?;
        lab.stop().await;
        Ok(())
    })
}

/// With `externalTrafficPolicy: Cluster` a backend sees the node that took the request in.
async fn cluster_policy(lab: &Lab, addresses: Addresses) -> Result<()> {
    for address in [addresses.layer2, addresses.bgp] {
        let from = Steps::new(lab).request(address).await?.from;
        ensure!(
            from != IpAddr::V4(CLIENT) && from != IpAddr::V4(CLIENT_FAR),
            "{address}: the client's address came through"
        );
    }
    Ok(())
}

/// With `Local` it sees the client, and only nodes with a backend are asked.
async fn local_policy(lab: &Lab, addresses: Addresses) -> Result<()> {
    let (client, steps) = (lab.kube(), Steps::new(lab));
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    for name in ["web-layer2", "web-bgp"] {
        let local = Patch::Merge(json!({ "spec": { "externalTrafficPolicy": "Local" } }));
        services.patch(name, &PatchParams::default(), &local).await?;
    }
    scale(lab, 1).await?;
    let node = only_node(&client).await?;
    let hop = lab.node_address(&node).context("the backend is on no node")?;
    let hops = steps.next_hops(addresses.bgp, 1).await?;
    ensure!(hops == [hop], "the backend is on {node}, the route by {hops:?}");
    sees(lab, addresses.bgp, CLIENT_FAR, &node).await?;
    sees(lab, addresses.layer2, CLIENT, &node).await
}

async fn only_node(client: &Client) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    wait_for("one backend to be left", PATIENCE, async || {
        let all = pods.list(&ListParams::default().labels("app=web")).await?.items;
        let [pod] = all.as_slice() else { return Ok(None) };
        Ok(pod.spec.as_ref().and_then(|spec| spec.node_name.clone()))
    })
    .await
}

/// Waits until requests to `address` come from `source`, by `node`.
async fn sees(lab: &Lab, address: Ipv4Addr, source: Ipv4Addr, node: &str) -> Result<()> {
    let client = lab.client();
    let what = format!("a backend to see {source} behind {address}, on {node}");
    wait_for(&what, PATIENCE, async || {
        let reply = client.get_as_stranger(address, 80).await.ok();
        let seen = reply.filter(|reply| reply.from == IpAddr::V4(source) && reply.via == node);
        Ok(seen.map(drop))
    })
    .await
}

/// Whatever pods mount is there before them. On a machine that is busy a kubelet may be late to look at it.
pub(crate) async fn mounts_never_failed(client: &Client) -> Result<()> {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let failed: Vec<String> = (events.list(&ListParams::default()).await?.iter())
        .filter(|event| event.reason.as_deref() == Some("FailedMount"))
        .map(|event| event.message.clone().unwrap_or_default())
        .filter(|message| !message.contains("cache: timed out waiting for the condition"))
        .collect();
    ensure!(failed.is_empty(), "mounts failed: {failed:#?}");
    Ok(())
}

/// Without the namespace nothing runs and nothing is announced.
async fn goes(lab: &Lab, addresses: Addresses) -> Result<()> {
    let (client, steps) = (lab.kube(), Steps::new(lab));
    lab.end_of_rights()?;
    Api::<Namespace>::all(client.clone())
        .delete(NAMESPACE, &DeleteParams::default())
        .await?;
    steps.next_hops(addresses.bgp, 0).await?;
    let stranger = lab.client();
    wait_for("the layer-2 address to fall silent", PATIENCE, async || {
        let answer = stranger.get_as_stranger(addresses.layer2, 80).await;
        Ok(answer.is_err().then_some(()))
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    wait_for("all pods to be gone", PATIENCE, async || {
        let left = pods.list(&ListParams::default()).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await
}
