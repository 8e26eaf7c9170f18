//! What users see of announcements: statuses, events, the condition of the Service, metrics.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use metallb_api::{L2Advertisement, ServiceL2Status, names};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::json;

use crate::Outcome;
use crate::metrics::{Reader, value};
use crate::path::{announced, scale};

const NAMESPACE: &str = "metallb-system";
const SERVICE: &str = "web-layer2";
/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// From the first announcement over a move to the end.
pub fn from_first_to_last(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        let addresses = announced(&lab).await?;
        let (steps, client) = (Steps::new(&lab), lab.kube());
        let owner = steps.request(addresses.layer2).await?.via;
        let first = is_told(&client, &owner).await?;
        is_said(&client, SERVICE, &format!("by layer 2 from node {owner:?}")).await?;
        is_said(&client, "web-bgp", "by BGP").await?;
        ensure!(
            events(&client).await? == [assigned(&owner)],
            "{:?}",
            events(&client).await?
        );

        stays(&lab, &first).await?;
        returns(&client, &owner, &first).await?;
        let reader = Reader::new(&client).await?;
        let address = lab.node_address(&owner).context("the owner is no node")?;
        counts(&lab, &reader, address, addresses.layer2).await?;

        steps.fail_over(&owner, addresses.layer2).await?;
        let next = steps.request(addresses.layer2).await?.via;
        is_told(&client, &next).await?;
        is_said(&client, SERVICE, &format!("by layer 2 from node {next:?}")).await?;
        let told = events(&client).await?;
        ensure!(told == [assigned(&owner), assigned(&next)], "{told:?}");
        let address = lab.node_address(&next).context("the next owner is no node")?;
        is_measured(&reader, address).await?;

        // L2-82, L2-87
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        services.delete(SERVICE, &DeleteParams::default()).await?;
        wait_for("the status to go", PATIENCE, async || {
            Ok(statuses(&client).await?.is_empty().then_some(()))
        })
        .await?;
        wait_for("the series to go", PATIENCE, async || {
            let text = reader.read(address).await?;
            Ok(
                (!text.contains("metallb_speaker_announced{ip=\"") || !text.contains("service=\"default/web-layer2\""))
                    .then_some(()),
            )
        })
        .await?;
        lab.stop().await;
        Ok(())
    })
}

async fn statuses(client: &Client) -> Result<Vec<ServiceL2Status>> {
    let api: Api<ServiceL2Status> = Api::namespaced(client.clone(), NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items)
}

/// L2-81: exactly one object, with its labels, its status and its owner.
async fn is_told(client: &Client, node: &str) -> Result<ServiceL2Status> {
    let told = wait_for("one status that names the owner", PATIENCE, async || {
        let mut all = statuses(client).await?;
        let names = |one: &ServiceL2Status| one.status.as_ref().is_some_and(|status| status.node == node);
        Ok(all.pop().filter(|one| all.is_empty() && names(one)))
    })
    .await?;
    let status = told.status.as_ref().context("it has no status")?;
    ensure!(
        (status.service_name.as_str(), status.service_namespace.as_str()) == (SERVICE, "default"),
        "{status:?}"
    );
    let labels = [
        (names::LABEL_NODE, node),
        (names::LABEL_SERVICE_NAME, SERVICE),
        (names::LABEL_SERVICE_NAMESPACE, "default"),
    ];
    for (label, value) in labels {
        ensure!(
            told.labels().get(label).map(String::as_str) == Some(value),
            "{label} of {told:?}"
        );
    }
    ensure!(told.name_any().starts_with("l2-"), "{}", told.name_any());
    let [owner] = told.owner_references() else {
        anyhow::bail!("{:?}", told.owner_references())
    };
    let pod = Api::<Pod>::namespaced(client.clone(), NAMESPACE)
        .get(&owner.name)
        .await?;
    let runs_on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    ensure!(
        pod.uid().as_deref() == Some(&*owner.uid) && runs_on == Some(node),
        "{owner:?} is not the speaker of {node}"
    );
    ensure!(owner.controller.is_none() && owner.kind == "Pod", "{owner:?}");
    Ok(told)
}

async fn is_said(client: &Client, service: &str, message: &str) -> Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let what = format!("{service} to say {message:?}");
    wait_for(&what, PATIENCE, async || {
        let status = services.get(service).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let said = conditions
            .iter()
            .any(|own| own.type_ == names::CONDITION_ANNOUNCED && own.status == "True" && own.message == message);
        Ok(said.then_some(()))
    })
    .await
}

/// Notes and counts of the events that a node announces the Service, in order.
async fn events(client: &Client) -> Result<Vec<(String, i32)>> {
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    let mut all = api.list(&ListParams::default()).await?.items;
    all.retain(|event| {
        let about = event.regarding.as_ref().and_then(|about| about.name.as_deref());
        about == Some(SERVICE)
            && event.reason.as_deref() == Some("nodeAssigned")
            && event.reporting_controller.as_deref() == Some("metallb-speaker")
    });
    all.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
    let told = all.into_iter().map(|event| {
        let count = event.series.as_ref().map_or(1, |series| series.count);
        (event.note.unwrap_or_default(), count)
    });
    Ok(told.collect())
}

/// L2-85
fn assigned(node: &str) -> (String, i32) {
    (format!("announcing from node {node:?} with protocol \"layer2\""), 1)
}

/// L2-83: what leaves the announcement as it is leaves the status as it is, and is no event.
async fn stays(lab: &Lab, first: &ServiceL2Status) -> Result<()> {
    let client = lab.kube();
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    for round in 0..5 {
        let patch = json!({ "metadata": { "annotations": { "round": round.to_string() } } });
        services
            .patch(SERVICE, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
    }
    scale(lab, 4).await?;
    scale(lab, 3).await?;
    // Names in another order say the same.
    let ads: Api<L2Advertisement> = Api::namespaced(client.clone(), NAMESPACE);
    let ad = ads.list(&ListParams::default()).await?.items;
    let ad = ad.first().context("no L2Advertisement")?.name_any();
    let names = async |names: serde_json::Value| {
        let patch = json!({ "spec": { "interfaces": names } });
        ads.patch(&ad, &PatchParams::default(), &Patch::Merge(patch)).await
    };
    let says = |status: &ServiceL2Status| {
        let interfaces = status.status.iter().flat_map(|status| &status.interfaces);
        interfaces.map(|one| one.name.clone()).collect::<Vec<_>>()
    };
    let one = async |wanted: &[&str]| {
        wait_for("the status to name the interfaces", PATIENCE, async || {
            let all = statuses(&client).await?;
            Ok(all.into_iter().find(|status| says(status) == wanted))
        })
        .await
    };
    names(json!(["eth1", "eth0"])).await?;
    let with_two = one(&["eth0", "eth1"]).await?;
    for order in [json!(["eth0", "eth1"]), json!(["eth1", "eth0"])] {
        names(order).await?;
    }
    names(json!([])).await?;
    let last = one(&[]).await?;
    let generation = |status: &ServiceL2Status| status.metadata.generation;
    ensure!(
        first.uid() == with_two.uid() && with_two.uid() == last.uid() && generation(first) == generation(&last),
        "the object was made anew"
    );
    Ok(())
}

/// L2-84: what is deleted by hand is there again.
async fn returns(client: &Client, owner: &str, first: &ServiceL2Status) -> Result<()> {
    let api: Api<ServiceL2Status> = Api::namespaced(client.clone(), NAMESPACE);
    api.delete(&first.name_any(), &DeleteParams::default()).await?;
    wait_for("another status", PATIENCE, async || {
        let now = is_told(client, owner).await?;
        Ok((now.uid() != first.uid()).then_some(()))
    })
    .await
}

/// L2-86, L2-88: upstream's names; to nobody without a token.
async fn counts(lab: &Lab, reader: &Reader, node: Ipv4Addr, address: Ipv4Addr) -> Result<()> {
    let refusal = Reader::refusal(node).await?;
    ensure!(refusal.starts_with("HTTP/1.1 401 "), "{refusal}");
    // Who asked in vain before has learnt the address from a gratuitous frame, and asks no more.
    lab.client().get_as_stranger(address, 80).await?;
    let text = reader.read(node).await?;
    for name in [
        "metallb_layer2_requests_received",
        "metallb_layer2_responses_sent",
        "metallb_layer2_gratuitous_sent",
    ] {
        let count = value(&text, &format!("{name}{{ip=\"{address}\"}}"));
        ensure!(count.is_some_and(|count| count >= 1.0), "{name}: {count:?} in {text}");
    }
    let service = format!("{{ip=\"{address}\",node=");
    ensure!(
        text.lines()
            .any(|line| line.starts_with(&format!("metallb_speaker_announced{service}")) && line.ends_with(" 1")),
        "{text}"
    );
    ensure!(!text.contains("metallb_layer2_requests_received_total"), "{text}");
    Ok(())
}

/// The new owner has measured its failover; it may be seen to announce before it counts its first frame.
async fn is_measured(reader: &Reader, node: Ipv4Addr) -> Result<()> {
    let mut last = String::new();
    let waited = wait_for("the failover to be measured", PATIENCE, async || {
        last = reader.read(node).await?;
        let count = |cause: &str| {
            let series = format!("metallb_layer2_failover_seconds_count{{cause=\"{cause}\"}}");
            value(&last, &series).unwrap_or_default()
        };
        Ok((count("fastFailover") + count("memberlist") >= 1.0).then_some(()))
    })
    .await;
    waited.with_context(|| format!("last seen: {last}"))
}
