//! Routes over restarts of the speakers, and over the drain of a node, as FRR's kernel has them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps};
use serde_json::{Value, json};

use crate::Outcome;
use crate::faults::restart;
use crate::path::announced;

// BGP-67, BGP-69, BGP-72
pub fn restarts_and_drains(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            router: RouterKind::Frr,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let (steps, all) = (Steps::new(&lab), lab.topology().nodes.len());
        switch_on(&lab, addresses.bgp).await?;
        steps
            .next_hops(addresses.bgp, all)
            .await
            .context("with graceful restart")?;

        let client = lab.kube();
        let seen = during(&lab, addresses.bgp, restart(&client, "speaker"))
            .await
            .context("the restart")?;
        ensure!(
            seen.keys().all(|count| *count == all),
            "over a restart of all speakers the router had this many next hops, so often: {seen:?}"
        );

        let node = lab.topology().nodes[0].name.clone();
        mark(&client, &node, json!("true")).await?;
        let left = steps.next_hops(addresses.bgp, all - 1).await.context("drained")?;
        let drained = lab.node_address(&node).context("no such node")?;
        ensure!(!left.contains(&drained), "{left:?} has the drained node");
        mark(&client, &node, Value::Null).await?;
        steps
            .next_hops(addresses.bgp, all)
            .await
            .context("not drained any more")?;

        cordon(&client, &node).await?;
        let seen = during(&lab, addresses.bgp, restart(&client, "speaker")).await?;
        ensure!(
            seen.contains_key(&(all - 1)),
            "the speaker of a cordoned node was stopped, and the router kept its routes: {seen:?}"
        );
        steps
            .next_hops(addresses.bgp, all)
            .await
            .context("cordoned nodes announce")?;
        lab.stop().await;
        Ok(())
    })
}

/// Counts how often the router had how many next hops, for as long as something else takes.
async fn during(lab: &Lab, address: Ipv4Addr, work: impl Future<Output = Result<()>>) -> Result<BTreeMap<usize, u32>> {
    let (mut work, mut seen) = (std::pin::pin!(work), BTreeMap::new());
    loop {
        let count = lab.router().next_hops(address.into()).await?.len();
        *seen.entry(count).or_default() += 1;
        tokio::select! {
            done = &mut work => return done.map(|()| seen),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}

/// Replaces the peer by one with graceful restart, which cannot be changed.
async fn switch_on(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let resource = ApiResource {
        group: "metallb.io".into(),
        version: "v1beta2".into(),
        api_version: "metallb.io/v1beta2".into(),
        kind: "BGPPeer".into(),
        plural: "bgppeers".into(),
    };
    let peers: Api<DynamicObject> = Api::namespaced_with(lab.kube(), "metallb-system", &resource);
    let mut peer = peers.get("router").await?;
    peers.delete("router", &DeleteParams::default()).await?;
    Steps::new(lab).next_hops(address, 0).await.context("without a peer")?;
    peer.metadata = serde_json::from_value(json!({"name": "graceful", "namespace": "metallb-system"}))?;
    peer.data["spec"]["enableGracefulRestart"] = json!(true);
    peers.create(&PostParams::default(), &peer).await?;
    Ok(())
}

async fn mark(client: &Client, node: &str, value: Value) -> Result<()> {
    patch(
        client,
        node,
        json!({"metadata": {"labels": {"metallb.io/drain": value}}}),
    )
    .await
}

async fn cordon(client: &Client, node: &str) -> Result<()> {
    patch(client, node, json!({"spec": {"unschedulable": true}})).await
}

async fn patch(client: &Client, node: &str, patch: Value) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch(node, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}
