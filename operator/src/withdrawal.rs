//! Announcements are withdrawn before what makes them is taken away.
//!
//! A speaker withdraws its own when it ends. What it has handed to frr-k8s stays, and frr-k8s goes on announcing from
//! it: such a FRRConfiguration is deleted as soon as no speaker of its node writes it any more.
//!
//! Upstream: leaves them behind, and an external frr-k8s announces addresses for ever.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Preconditions},
    core::{ApiResource, GroupVersionKind},
};
use metallb_api::names;
use tracing::{info, warn};

use crate::failure::Error;

/// What the name of a speaker's FRRConfiguration begins with; the rest is the node.
const PREFIX: &str = "metallb-";
const HOSTNAME: &str = "kubernetes.io/hostname";
const BGP_TYPE: &str = "METALLB_BGP_TYPE";
const FRR_K8S: &str = "frr-k8s";

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is announced any more on behalf of a speaker that does not write it.
    Done,
    /// Speakers still run that do.
    Waiting,
}

/// Lists the speakers' pods, those that are ending among them.
pub(crate) async fn speakers(client: &Client, namespace: &str) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labels = format!(
        "{}={},{}={}",
        names::LABEL_APP,
        names::APP,
        names::LABEL_COMPONENT,
        names::SPEAKER
    );
    let listed = api.list(&ListParams::default().labels(&labels)).await;
    let list = listed.map_err(|error| Error::api("list", "pods of the speaker", error))?;
    Ok(list.items)
}

/// Deletes the FRRConfigurations that no speaker writes any more, in whatever namespace frr-k8s reads them.
///
/// A cluster without that kind, or one that keeps it from us, has nothing to withdraw.
pub(crate) async fn withdraw(client: &Client, namespace: &str) -> Result<Progress, Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "frrk8s.metallb.io",
        "v1beta1",
        "FRRConfiguration",
    ));
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found = match all.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Progress::Done),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            warn!(event = "withdrawalImpossible", error = status.message);
            return Ok(Progress::Done);
        }
        Err(error) => return Err(Error::api("list", "FRRConfigurations", error)),
    };
    let written: Vec<_> = found
        .iter()
        .filter_map(|object| Some((node(object)?, object)))
        .collect();
    if written.is_empty() {
        return Ok(Progress::Done);
    }
    let writers = writers(&speakers(client, namespace).await?);
    let mut progress = Progress::Done;
    for (node, object) in written {
        if writers.contains(node) {
            progress = Progress::Waiting;
        } else {
            delete(client, &resource, object).await?;
        }
    }
    Ok(progress)
}

async fn delete(client: &Client, resource: &ApiResource, object: &DynamicObject) -> Result<(), Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    let name = object.name_any();
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    match api.delete(&name, &params).await {
        Ok(_) => info!(event = "withdrawn", object = %format_args!("FRRConfiguration/{name}"), namespace),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(Error::api("delete", &format!("FRRConfiguration/{name}"), error)),
    }
    Ok(())
}

/// Tells the node whose speaker writes the object; none if a user wrote it, whatever its name.
fn node(object: &DynamicObject) -> Option<&str> {
    let node = object.metadata.name.as_deref()?.strip_prefix(PREFIX)?;
    let selected = object.data.pointer("/spec/nodeSelector/matchLabels")?.get(HOSTNAME)?;
    (selected == node).then_some(node)
}

/// Lists the nodes with a speaker that hands its routes to frr-k8s.
fn writers(pods: &[Pod]) -> BTreeSet<String> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let writing = specs.filter(|spec| {
        let variables = spec.containers.iter().filter_map(|container| container.env.as_ref());
        variables
            .flatten()
            .any(|variable| variable.name == BGP_TYPE && variable.value.as_deref() == Some(FRR_K8S))
    });
    writing.filter_map(|spec| spec.node_name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(name: &str, host: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "nodeSelector": { "matchLabels": { "kubernetes.io/hostname": host } } },
        }))
        .unwrap()
    }

    fn speaker(node: &str, bgp_type: &str) -> Pod {
        let container = json!({ "name": "speaker", "env": [{ "name": "METALLB_BGP_TYPE", "value": bgp_type }] });
        serde_json::from_value(json!({ "metadata": {}, "spec": { "nodeName": node, "containers": [container] } }))
            .unwrap()
    }

    // OP-24
    #[test]
    fn only_what_a_speaker_wrote_is_withdrawn() {
        assert_eq!(node(&configuration("metallb-a", "a")), Some("a"));
        assert_eq!(node(&configuration("metallb-mine", "a")), None);
        assert_eq!(node(&configuration("other", "a")), None);
    }

    // OP-24
    #[test]
    fn a_node_is_left_alone_while_its_speaker_still_writes() {
        let pods = [speaker("a", "frr-k8s"), speaker("b", "native"), speaker("c", "frr")];
        assert_eq!(writers(&pods), BTreeSet::from(["a".to_owned()]));
    }
}
