//! What the speakers find in the cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use metallb_judges::cluster::{self, NAMESPACE, create};
use metallb_test_support::{apply, wait_for};
use serde_json::{Value, json};

use crate::receiver;

/// The only node.
pub(crate) const NODE: &str = "bench";
/// The speaker's.
pub(crate) const POD: &str = "bench-speaker";
/// Where the Services are.
const SERVICES: &str = "default";
/// The label of those that have no address from the start.
pub(crate) const ADDED: &str = "added=true";
/// The first address of the pool.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// What the API server itself writes.
const OWN: [&str; 2] = ["leases", "customresourcedefinitions"];
/// How many Services are made at a time.
const AT_A_TIME: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
const ADVERTISEMENT: &str = "
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: bench, namespace: metallb-system},
 spec: {addresses: [10.200.0.0/15]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: bench, namespace: metallb-system}}
";
const LAYER2: &str =
    "{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: bench, namespace: metallb-system}}";

/// The address of a Service.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let offset = u32::try_from(number + 1).unwrap_or(u32::MAX);
    Ipv4Addr::from_bits(FIRST.to_bits().saturating_add(offset))
}

/// Makes all but the Services; the router listens on `router`.
pub(crate) async fn prepare(client: &Client, router: std::net::SocketAddrV4) -> Result<()> {
    cluster::prepare(client).await?;
    cluster::add_speaker(client, NODE, POD, *router.ip()).await?;
    let peer = format!(
        "{{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {{name: bench, namespace: {NAMESPACE}}},
 spec: {{myASN: 64500, peerASN: {}, peerAddress: {}, peerPort: {}}}}}",
        receiver::ASN,
        router.ip(),
        router.port()
    );
    for text in [ADVERTISEMENT, &peer] {
        wait_for("MetalLB's kinds to be served", PATIENCE, async || {
            Ok(apply(client, text).await.ok())
        })
        .await?;
    }
    Ok(())
}

/// Has the addresses announced by layer 2, too, or not.
pub(crate) async fn layer2(client: &Client, on: bool) -> Result<()> {
    match on {
        true => apply(client, LAYER2).await.map(drop),
        false => empty(client, "v1beta1", "L2Advertisement").await,
    }
}

/// Deletes what speakers wrote.
pub(crate) async fn clear(client: &Client) -> Result<()> {
    for kind in ["ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"] {
        empty(client, "v1beta1", kind).await?;
    }
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client.clone(), SERVICES);
    events
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    Ok(())
}

async fn empty(client: &Client, version: &str, kind: &str) -> Result<()> {
    let kind = kube::api::GroupVersionKind::gvk("metallb.io", version, kind);
    let plural = match kind.kind.as_str() {
        "ServiceL2Status" | "ServiceBGPStatus" => format!("{}es", kind.kind.to_lowercase()),
        _ => format!("{}s", kind.kind.to_lowercase()),
    };
    let kind = ApiResource::from_gvk_with_plural(&kind, &plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    wait_for("what speakers wrote to go", PATIENCE, async || {
        let left = api.list(&ListParams::default().limit(1)).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await
}

/// Makes Services with an endpoint each; those that are `assigned` have their addresses.
pub(crate) async fn create_services(client: &Client, numbers: Range<usize>, assigned: bool) -> Result<()> {
    let made = stream::iter(numbers).map(|number| async move {
        let services: Api<Service> = Api::namespaced(client.clone(), SERVICES);
        create(&services, service(number, assigned)).await?;
        create::<EndpointSlice>(&Api::namespaced(client.clone(), SERVICES), slice(number)).await?;
        if assigned {
            assign(&services, number).await?;
        }
        anyhow::Ok(())
    });
    made.buffer_unordered(AT_A_TIME).try_collect().await
}

/// Deletes them.
pub(crate) async fn delete_services(client: &Client, numbers: Range<usize>) -> Result<()> {
    let gone = stream::iter(numbers).map(|number| async move {
        let services: Api<Service> = Api::namespaced(client.clone(), SERVICES);
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), SERVICES);
        services.delete(&name(number), &DeleteParams::default()).await?;
        slices.delete(&name(number), &DeleteParams::default()).await?;
        anyhow::Ok(())
    });
    gone.buffer_unordered(AT_A_TIME).try_collect().await
}

/// Gives a Service its address, as a controller does.
pub(crate) async fn assign(services: &Api<Service>, number: usize) -> Result<()> {
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address(number), "ipMode": "VIP" }] } } });
    services
        .patch_status(&name(number), &PatchParams::default(), &Patch::Merge(status))
        .await
        .map(drop)
        .with_context(|| format!("cannot assign an address to {}", name(number)))
}

/// The API of the Services.
pub(crate) fn services(client: &Client) -> Api<Service> {
    Api::namespaced(client.clone(), SERVICES)
}

/// How many writes the API server has answered so far, by resource, without what it writes itself.
pub(crate) async fn writes(client: &Client) -> Result<BTreeMap<String, u64>> {
    let text = client
        .request_text(http::Request::get("/metrics").body(Vec::new())?)
        .await?;
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        let (Some(verb), Some(resource), Some(subresource)) =
            (label(",verb"), label(",resource"), label("subresource"))
        else {
            continue;
        };
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb) && !OWN.contains(&resource) {
            let what = match subresource {
                "" => format!("{verb} {resource}"),
                _ => format!("{verb} {resource}/{subresource}"),
            };
            // The text has whole numbers, in exponents if they are large.
            *counts.entry(what).or_default() += count.unwrap_or_default() as u64;
        }
    }
    Ok(counts)
}

fn name(number: usize) -> String {
    format!("s-{number}")
}

fn service(number: usize, assigned: bool) -> Value {
    let name = name(number);
    json!({
        "metadata": { "name": name, "labels": { "app": name, "added": (!assigned).to_string() } },
        "spec": {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
        },
    })
}

fn slice(number: usize) -> Value {
    let name = name(number);
    let [_, _, high, low] = address(number).octets();
    json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{
            "addresses": [Ipv4Addr::new(10, 244, high, low)], "nodeName": NODE,
            "conditions": { "ready": true, "serving": true, "terminating": false },
        }],
    })
}
