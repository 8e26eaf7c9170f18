//! Announcements are withdrawn before what makes them is taken away.
//!
//! A speaker withdraws its own when it ends. What it has handed to frr-k8s stays, and frr-k8s goes on announcing from
//! it: such a FRRConfiguration is deleted as soon as no speaker of its node writes it any more.
//!
//! They bear nothing that says whose they are, and another MetalLB gives them the same names: the namespace that our
//! speakers were told to write to is what shows that they are ours. Others stay, and are told.
//!
//! Upstream: leaves them behind, and an external frr-k8s announces addresses for ever.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use metallb_api::names;
use metallb_runtime::apply;
use tracing::{info, warn};

use crate::{removal::handover, status::failure::Error};

/// What the name of a speaker's FRRConfiguration begins with; the rest is the node.
const PREFIX: &str = "metallb-";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// By what names speakers write: upstream's by that of its program, as it gives no other.
const WRITERS: [&str; 2] = ["speaker", names::field_manager::SPEAKER];

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Withdrawal {
    /// The namespaces where speakers that go may still write.
    pub(crate) written: BTreeSet<String>,
    /// What looks like a speaker's and cannot be shown to be one of ours, as `namespace/name`.
    pub(crate) left: Vec<String>,
}

impl Withdrawal {
    /// Tells whether nothing is announced any more on behalf of a speaker that does not write it.
    pub(crate) fn is_done(&self) -> bool {
        self.written.is_empty()
    }
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

/// Deletes what speakers in the namespace `own` have written to the namespaces `handed` and write no more.
///
/// Speakers that run show more such namespaces. What they write to `kept` stays. A cluster without that kind, or one
/// that keeps it from us, has nothing to withdraw.
pub(crate) async fn withdraw(
    client: &Client,
    own: &str,
    handed: &mut BTreeSet<String>,
    kept: Option<&str>,
) -> Result<Withdrawal, Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        names::FRR_K8S_GROUP,
        "v1beta1",
        "FRRConfiguration",
    ));
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found = match all.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Withdrawal::default()),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            warn!(event = "withdrawalImpossible", error = status.message);
            return Ok(Withdrawal::default());
        }
        Err(error) => return Err(Error::api("list", "FRRConfigurations", error)),
    };
    let named: Vec<_> = found.iter().filter(|object| node(object).is_some()).collect();
    if named.is_empty() && handed.iter().all(|namespace| kept == Some(namespace)) {
        return Ok(Withdrawal::default());
    }
    let writers = writers(&speakers(client, own).await?, own);
    handed.extend(writers.iter().map(|(namespace, _)| namespace.clone()));
    let mut withdrawal = Withdrawal::default();
    // A speaker that has just started may not have written yet.
    let written = writers.iter().map(|(namespace, _)| namespace);
    withdrawal.written = written.filter(|it| kept != Some(it)).cloned().collect();
    for object in named {
        match judge(object, own, handed, kept, &writers) {
            Verdict::Kept | Verdict::Written => {}
            Verdict::Foreign => withdrawal.left.push(place(object)),
            Verdict::Abandoned => delete(client, &resource, object).await?,
        }
    }
    Ok(withdrawal)
}

/// What one FRRConfiguration is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Of the speakers that are to go on.
    Kept,
    /// Of a speaker that goes, and still runs.
    Written,
    /// Of a speaker of ours that runs no more.
    Abandoned,
    /// Of somebody else, as far as we know.
    Foreign,
}

fn judge(
    object: &DynamicObject,
    own: &str,
    handed: &BTreeSet<String>,
    kept: Option<&str>,
    writers: &BTreeSet<(String, String)>,
) -> Verdict {
    let namespace = object.namespace().unwrap_or_default();
    let node = node(object).unwrap_or_default().to_owned();
    if kept == Some(namespace.as_str()) {
        Verdict::Kept
    } else if writers.contains(&(namespace.clone(), node)) {
        Verdict::Written
    } else if handed.contains(&namespace) || (namespace == own && was_written_by_a_speaker(object)) {
        Verdict::Abandoned
    } else {
        Verdict::Foreign
    }
}

async fn delete(client: &Client, resource: &ApiResource, object: &DynamicObject) -> Result<(), Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    let name = object.name_any();
    match apply::delete(&api, &name, object.uid()).await {
        Ok(true) => info!(event = "withdrawn", object = %format_args!("FRRConfiguration/{name}"), namespace),
        Ok(false) => {}
        Err(error) => return Err(Error::api("delete", &format!("FRRConfiguration/{name}"), error)),
    }
    Ok(())
}

fn place(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Tells the node whose speaker writes the object; none if a user wrote it, whatever its name.
fn node(object: &DynamicObject) -> Option<&str> {
    let node = object.metadata.name.as_deref()?.strip_prefix(PREFIX)?;
    let selected = object.data.pointer("/spec/nodeSelector/matchLabels")?.get(HOSTNAME)?;
    // The host may have another name than the node.
    (selected == node || was_written_by_a_speaker(object)).then_some(node)
}

fn was_written_by_a_speaker(object: &DynamicObject) -> bool {
    let entries = object.metadata.managed_fields.as_deref().unwrap_or_default();
    entries
        .iter()
        .any(|entry| entry.manager.as_deref().is_some_and(|it| WRITERS.contains(&it)))
}

/// Lists where the speakers that run hand their routes to frr-k8s: namespace and node.
fn writers(pods: &[Pod], own: &str) -> BTreeSet<(String, String)> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    specs
        .filter_map(|spec| Some((handover::target(spec, own)?, spec.node_name.clone()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(namespace: &str, name: &str, host: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "nodeSelector": { "matchLabels": { "kubernetes.io/hostname": host } } },
        }))
        .unwrap()
    }

    fn written_by(manager: &str) -> DynamicObject {
        let mut object = configuration("own", "metallb-a", "a");
        let entry = json!([{ "manager": manager, "operation": "Update" }]);
        object.metadata.managed_fields = serde_json::from_value(entry).unwrap();
        object
    }

    fn speaker(node: &str, bgp_type: &str) -> Pod {
        let container = json!({ "name": "speaker", "args": ["--frrk8s-namespace=routers"],
            "env": [{ "name": "METALLB_BGP_TYPE", "value": bgp_type }] });
        serde_json::from_value(json!({ "metadata": {}, "spec": { "nodeName": node, "containers": [container] } }))
            .unwrap()
    }

    fn judged(object: &DynamicObject, kept: Option<&str>) -> Verdict {
        let handed = BTreeSet::from(["routers".to_owned()]);
        let writers = writers(&[speaker("b", "frr-k8s")], "own");
        judge(object, "own", &handed, kept, &writers)
    }

    // OP-24
    #[test]
    fn only_what_looks_like_a_speakers_is_looked_at() {
        assert_eq!(node(&configuration("x", "metallb-a", "a")), Some("a"));
        assert_eq!(node(&configuration("x", "metallb-mine", "a")), None);
        assert_eq!(node(&configuration("x", "other", "a")), None);
        let mut renamed = written_by("metallb-speaker");
        renamed.data["spec"]["nodeSelector"]["matchLabels"][HOSTNAME] = json!("host-a");
        assert_eq!(node(&renamed), Some("a"), "the host has another name than the node");
    }

    // OP-24
    #[test]
    fn a_node_is_left_alone_while_its_speaker_still_writes() {
        let pods = [speaker("a", "frr-k8s"), speaker("b", "native"), speaker("c", "frr")];
        let place = ("routers".to_owned(), "a".to_owned());
        assert_eq!(writers(&pods, "own"), BTreeSet::from([place]));
    }

    // OP-24
    #[test]
    fn what_another_installation_wrote_stays() {
        assert_eq!(
            judged(&configuration("routers", "metallb-a", "a"), None),
            Verdict::Abandoned
        );
        assert_eq!(
            judged(&configuration("routers", "metallb-b", "b"), None),
            Verdict::Written
        );
        assert_eq!(
            judged(&configuration("routers", "metallb-a", "a"), Some("routers")),
            Verdict::Kept
        );
        assert_eq!(
            judged(&configuration("theirs", "metallb-a", "a"), None),
            Verdict::Foreign
        );
        assert_eq!(
            judged(&configuration("theirs", "metallb-b", "b"), None),
            Verdict::Foreign
        );
    }

    /// A user may run an frr-k8s of their own beside us, and name a configuration after a node.
    #[test]
    fn in_our_own_namespace_it_takes_a_speaker_to_have_written_it() {
        assert_eq!(judged(&written_by("speaker"), None), Verdict::Abandoned);
        assert_eq!(judged(&written_by("metallb-speaker"), None), Verdict::Abandoned);
        assert_eq!(judged(&written_by("kubectl-create"), None), Verdict::Foreign);
        assert_eq!(judged(&configuration("own", "metallb-a", "a"), None), Verdict::Foreign);
    }
}
