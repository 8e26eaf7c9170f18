//! From a MetalLB resource to an ARP reply and a BGP route, and back to silence.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use metallb_test_support::{Addresses, Inside, Lab, Options, RouterKind, Steps};
use serde_json::json;

use crate::Outcome;

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn with_frr(inside: Inside, options: Options) -> Outcome {
    Box::pin(whole_path(
        inside,
        Options {
            router: RouterKind::Frr,
            ..options
        },
    ))
}

pub fn with_bird(inside: Inside, options: Options) -> Outcome {
    Box::pin(whole_path(
        inside,
        Options {
            router: RouterKind::Bird,
            ..options
        },
    ))
}

pub fn with_builtin(inside: Inside, options: Options) -> Outcome {
    Box::pin(whole_path(
        inside,
        Options {
            router: RouterKind::Builtin,
            ..options
        },
    ))
}

/// Brings the lab to where Services are announced.
pub async fn announced(lab: &Lab) -> Result<Addresses> {
    let steps = Steps::new(lab);
    steps.apply_crds().await?;
    steps.install_operator().await?;
    steps.create_metallb().await?;
    steps.configure().await?;
    steps.start_backends().await?;
    let addresses = steps.create_services().await?;
    steps.request(addresses.layer2).await?;
    steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
    Ok(addresses)
}

async fn whole_path(inside: Inside, options: Options) -> Result<()> {
    let lab = Lab::start(inside, &options).await?;
    let addresses = announced(&lab).await?;
    let steps = Steps::new(&lab);
    let pool = steps.try_bad_pool().await?;
    ensure!(
        pool.contains("overlaps with already defined CIDR"),
        "refused with other words: {pool}"
    );
    let peer = steps.try_bad_peer().await?;
    ensure!(peer.contains("denied the request"), "refused by somebody else: {peer}");
    ensure!(
        lab.router().kind() == options.router,
        "the router is {:?} instead of {:?}",
        lab.router().kind(),
        options.router
    );
    let by = steps.spread(addresses.bgp).await?;
    ensure!(
        by.len() == lab.topology().nodes.len(),
        "requests went over some nodes only: {by:?}"
    );
    fails_over(&lab, addresses).await?;
    steps.delete_metallb(addresses).await?;
    lab.stop().await;
    Ok(())
}

async fn fails_over(lab: &Lab, addresses: Addresses) -> Result<()> {
    let steps = Steps::new(lab);
    let owner = steps.request(addresses.layer2).await?.via;
    steps.fail_over(&owner, addresses.layer2).await?;
    let left = steps.next_hops(addresses.bgp, lab.topology().nodes.len() - 1).await?;
    let dead = lab.node_address(&owner).context("the owner is no node")?;
    ensure!(!left.contains(&dead), "the dead node is still a next hop");
    Ok(())
}

/// A Service that is deleted, or that loses its last endpoint, is announced no longer, and neither are others touched.
pub fn withdrawals(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let steps = Steps::new(&lab);

        scale(&lab, 0).await?;
        steps.next_hops(addresses.bgp, 0).await.context("without endpoints")?;
        silent(&lab, addresses.layer2).await.context("without endpoints")?;

        scale(&lab, 3).await?;
        steps
            .next_hops(addresses.bgp, lab.topology().nodes.len())
            .await
            .context("with endpoints again")?;
        steps.request(addresses.layer2).await.context("with endpoints again")?;

        let services: Api<Service> = Api::namespaced(lab.kube(), "default");
        services.delete("web-bgp", &DeleteParams::default()).await?;
        steps.next_hops(addresses.bgp, 0).await.context("the Service deleted")?;
        steps
            .request(addresses.layer2)
            .await
            .context("the other Service deleted")?;
        lab.stop().await;
        Ok(())
    })
}

/// Has as many backends.
///
/// # Errors
/// When that is refused.
pub async fn scale(lab: &Lab, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(lab.kube(), "default");
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch("web", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn silent(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let client = lab.client();
    let waiting = async { while client.get_as_stranger(address, 80).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .with_context(|| format!("{address} still answers"))
}
