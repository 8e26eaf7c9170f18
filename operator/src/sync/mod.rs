//! Brings the cluster to the plan: the only place that writes what is deployed.

pub(crate) mod adoption;
pub(crate) mod drift;
pub(crate) mod inventory;
pub(crate) mod kinds;
pub(crate) mod mark;
pub(crate) mod quantity;

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use metallb_api::names::field_manager;
use metallb_manifests::Object;
use metallb_runtime::apply;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    status::failure::Error,
    status::metrics::Metrics,
    sync::drift::covers,
    sync::inventory::{Inventory, View},
    sync::kinds::{Kind, kinds},
};

/// Applies and prunes in the operator's namespace.
pub(crate) struct Sync {
    client: Client,
    namespace: String,
    pub(crate) inventory: Inventory,
    metrics: Metrics,
    /// The marks of what was applied, or found so, by `Kind/name`.
    applied: HashMap<String, String>,
    /// What upstream's operator left here.
    leftovers: Vec<(String, Arc<Value>)>,
}

/// Why an object was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// It was not there.
    Created,
    /// Something else is wanted now.
    Updated,
    /// Somebody else deleted or edited it.
    Repaired,
}

impl Why {
    /// What the event is called, and how metrics count it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Updated => "Updated",
            Self::Repaired => "Repaired",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Created | Self::Updated => "apply",
            Self::Repaired => "repair",
        }
    }
}

/// An object that has to be written.
pub(crate) struct Due {
    id: String,
    mark: String,
    resource: ApiResource,
    namespaced: bool,
    wanted: Value,
    why: Why,
    /// Whether the rehearsal has shown that nothing of that name is there.
    is_new: bool,
}

/// What a pass has written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) Vec<(Why, String)>);

impl Sync {
    pub(crate) fn new(client: Client, namespace: &str, inventory: Inventory, metrics: Metrics) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            inventory,
            metrics,
            applied: HashMap::new(),
            leftovers: Vec::new(),
        }
    }

    /// Begins anew: somebody else may have applied meanwhile, and upstream's operator may have left something.
    pub(crate) async fn begin(&mut self) {
        self.applied.clear();
        self.leftovers = adoption::leftovers(&self.client, &self.namespace).await;
    }

    /// Makes the objects exist as wanted. Kinds that the cluster lacks are passed over.
    ///
    /// Nothing is written if the API server would refuse any of it: what ran before goes on as it was.
    pub(crate) async fn deploy(&mut self, wanted: &[Object]) -> Result<Written, Error> {
        let due = self.rehearsed(wanted).await?;
        self.perform(due).await
    }

    /// Lists what has to be written, once the API server would take all of it.
    pub(crate) async fn rehearsed(&mut self, wanted: &[Object]) -> Result<Vec<Due>, Error> {
        let mut due = self.due(wanted)?;
        if due.len() > 1 {
            self.rehearse(&mut due).await?;
        }
        Ok(due)
    }

    /// Writes: first what others need, then the others, whose pods keep the machines busy as soon as they are known.
    pub(crate) async fn perform(&mut self, mut due: Vec<Due>) -> Result<Written, Error> {
        due.sort_by_key(|item| application_rank(&item.resource.kind));
        let needed = due.partition_point(|item| application_rank(&item.resource.kind) == 0);
        let (first, second) = due.split_at(needed);
        let mut written = Written::default();
        self.write_all(first, &mut written).await?;
        self.write_all(second, &mut written).await?;
        Ok(written)
    }

    /// Writes objects that do not need each other. All are tried, and the first failure is returned.
    async fn write_all(&mut self, wave: &[Due], written: &mut Written) -> Result<(), Error> {
        let writes: Vec<_> = wave.iter().map(|item| self.write(item).boxed()).collect();
        let results: Vec<_> = stream::iter(writes).buffered(crate::AT_A_TIME).collect().await;
        let mut failure = None;
        for (item, result) in wave.iter().zip(results) {
            match result {
                Ok(changed) => self.wrote(item, changed, written),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn wrote(&mut self, item: &Due, changed: bool, written: &mut Written) {
        if changed {
            self.metrics.wrote(item.why.label(), &item.resource.kind);
            info!(event = "applied", object = item.id, why = ?item.why);
            written.0.push((item.why, item.id.clone()));
        }
        self.applied.insert(item.id.clone(), item.mark.clone());
    }

    /// Lists the objects that are missing, differ, or were applied when something else was wanted.
    fn due(&mut self, wanted: &[Object]) -> Result<Vec<Due>, Error> {
        let mut due = Vec::new();
        for object in wanted {
            let (id, resource) = (object.to_string(), object.api_resource());
            if self.is_impossible(&resource) {
                continue;
            }
            let mut wanted = serde_json::to_value(object).map_err(|error| Error::Json(id.clone(), error))?;
            let mark = mark::put(&mut wanted);
            let live = self.inventory.get(&id);
            if live.as_ref().is_some_and(|live| covers(live, &wanted)) {
                self.applied.insert(id, mark);
                continue;
            }
            due.push(Due {
                why: self.why(&id, live.as_deref(), &mark),
                id,
                mark,
                resource,
                namespaced: object.is_namespaced(),
                wanted,
                is_new: false,
            });
        }
        Ok(due)
    }

    /// Says why an object is not as it is wanted.
    fn why(&self, id: &str, live: Option<&Value>, mark: &str) -> Why {
        let applied = self.applied.get(id).map(String::as_str);
        match live {
            None if applied.is_none() => Why::Created,
            Some(live) if ![mark::of(live), applied].contains(&Some(mark)) => Why::Updated,
            _ => Why::Repaired,
        }
    }

    /// Tells whether the cluster is known to lack the kind, which some clusters do.
    fn is_impossible(&self, resource: &ApiResource) -> bool {
        self.inventory.view(&resource.kind) == View::Absent
    }

    /// Asks the API server what it would say to each write, without writing.
    async fn rehearse(&self, due: &mut [Due]) -> Result<(), Error> {
        let params = PatchParams {
            dry_run: true,
            ..apply::params(field_manager::OPERATOR)
        };
        let questions: Vec<_> = due
            .iter()
            .map(|item| self.rehearse_one(item, &params).boxed())
            .collect();
        let answers = stream::iter(questions).buffered(crate::AT_A_TIME);
        let new: Vec<_> = answers.try_collect().await?;
        for (item, is_new) in due.iter_mut().zip(new) {
            item.is_new = is_new;
        }
        Ok(())
    }

    /// Returns whether the object would be a new one: only what is stored has a revision.
    async fn rehearse_one(&self, item: &Due, params: &PatchParams) -> Result<bool, Error> {
        let api = self.api(&item.resource, item.namespaced);
        match api.patch(name(&item.id), params, &Patch::Apply(&item.wanted)).await {
            // A webhook with effects elsewhere takes part in no rehearsal.
            Err(kube::Error::Api(status)) if status.message.contains("dry run") => Ok(false),
            Err(error) => Err(Error::api("apply", &item.id, error)),
            Ok(answer) => Ok(answer.resource_version().is_none_or(|revision| revision.is_empty())),
        }
    }

    /// Returns whether something changed.
    async fn write(&self, item: &Due) -> Result<bool, Error> {
        let api = self.api(&item.resource, item.namespaced);
        let name = name(&item.id);
        let before = match self.inventory.get(&item.id) {
            Some(live) => live["metadata"]["resourceVersion"].as_str().map(ToOwned::to_owned),
            None if item.is_new => None,
            None => adoption::take_over(&api, name)
                .await
                .map_err(|error| Error::api("adopt", &item.id, error))?,
        };
        let after = api
            .patch(
                name,
                &apply::params(field_manager::OPERATOR),
                &Patch::Apply(&item.wanted),
            )
            .await;
        let after = after.map_err(|error| Error::api("apply", &item.id, error))?;
        let changed = before != after.metadata.resource_version;
        self.inventory.put(&item.id, inventory::kept(after));
        Ok(changed)
    }

    /// Gives the objects of the plan as they are in the cluster; those that are not there are left out.
    pub(crate) fn live(&self, wanted: &[Object]) -> Vec<Arc<Value>> {
        wanted
            .iter()
            .filter_map(|object| self.inventory.get(&object.to_string()))
            .collect()
    }

    /// Lists what carries our labels and is not wanted, in the order of removal. ServiceAccounts always stay.
    pub(crate) fn unwanted(&self, wanted: &[Object]) -> Vec<(String, Arc<Value>)> {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let mut unwanted = self.inventory.ours();
        unwanted.extend(self.leftovers.iter().cloned());
        unwanted.retain(|(id, _)| !id.starts_with("ServiceAccount/") && !wanted.contains(id));
        unwanted.sort_by_key(|(id, _)| removal_rank(id));
        unwanted
    }

    /// Deletes what [`Self::unwanted`] listed; returns what was deleted.
    pub(crate) async fn remove(&mut self, unwanted: &[(String, Arc<Value>)]) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for (id, live) in unwanted {
            self.applied.remove(id);
            let deleted = self.delete(id, live).await?;
            self.leftovers.retain(|(left, _)| left != id);
            if deleted {
                self.metrics.wrote("prune", kind(id));
                info!(event = "pruned", object = id);
                removed.push(id.clone());
            }
        }
        Ok(removed)
    }

    /// Takes the owner of this UID away from everything that has it. All are tried; fails if one should be tried again.
    pub(crate) async fn disown(&self, owner: &str) -> Result<(), Error> {
        let mut failure = None;
        for (id, live) in self.inventory.ours() {
            let Some(others) = without_owner(&live, owner) else {
                continue;
            };
            match self.set_owners(&id, &live, &others).await {
                Ok(()) => {}
                Err(error) if error.is_passing() => failure = Some(error),
                // A deletion must not wait for what nobody may do.
                Err(error) => warn!(event = "ownerKept", object = id, error = error.state().summary().2),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes the owners of the state that was seen.
    async fn set_owners(&self, id: &str, live: &Value, owners: &[Value]) -> Result<(), Error> {
        let known = known(id)?;
        let metadata = &live["metadata"];
        let body = json!({ "metadata": {
            "ownerReferences": owners, "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        } });
        let api = self.api(&known.resource, known.namespaced);
        match api.patch(name(id), &PatchParams::default(), &Patch::Merge(body)).await {
            Ok(after) => self.inventory.put(id, inventory::kept(after)),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(Error::api("disown", id, error)),
        }
        Ok(())
    }

    /// Deletes the incarnation that was seen; returns whether this call did.
    async fn delete(&self, id: &str, live: &Value) -> Result<bool, Error> {
        let known = known(id)?;
        let api = self.api(&known.resource, known.namespaced);
        let uid = live["metadata"]["uid"].as_str().map(ToOwned::to_owned);
        let deleted = apply::delete(&api, name(id), uid).await;
        let deleted = deleted.map_err(|error| Error::api("delete", id, error))?;
        self.inventory.forget(id, live);
        Ok(deleted)
    }

    fn api(&self, resource: &ApiResource, namespaced: bool) -> Api<DynamicObject> {
        if namespaced {
            Api::namespaced_with(self.client.clone(), &self.namespace, resource)
        } else {
            Api::all_with(self.client.clone(), resource)
        }
    }
}

/// What pods cannot start without, or must not be reached without, is needed first. Webhooks are asked for last: the API
/// server has said that it takes their servers, and will have been told of them.
fn application_rank(kind: &str) -> u8 {
    match kind {
        "ConfigMap" | "NetworkPolicy" | "Secret" | "SecurityContextConstraints" | "ServiceAccount" => 0,
        "ValidatingWebhookConfiguration" => 2,
        _ => 1,
    }
}

/// Webhooks go before their server, speakers before what they use.
fn removal_rank(id: &str) -> u8 {
    match kind(id) {
        "ValidatingWebhookConfiguration" => 0,
        "DaemonSet" if name(id) == metallb_api::names::SPEAKER => 1,
        "DaemonSet" => 2,
        "Deployment" => 3,
        _ => 4,
    }
}

/// Lists the owners of an object but this one; none if that is not among them.
fn without_owner(object: &Value, uid: &str) -> Option<Vec<Value>> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let others: Vec<_> = owners.iter().filter(|owner| owner["uid"] != uid).cloned().collect();
    (others.len() < owners.len()).then_some(others)
}

fn known(id: &str) -> Result<Kind, Error> {
    let found = kinds().into_iter().find(|known| known.resource.kind == kind(id));
    found.ok_or_else(|| Error::Kind(id.to_owned()))
}

fn kind(id: &str) -> &str {
    id.split_once('/').map_or(id, |(kind, _)| kind)
}

fn name(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_goes_before_its_server_and_speakers_before_what_they_use() {
        let mut ids = [
            "ConfigMap/frr-startup",
            "Deployment/statuscleaner",
            "DaemonSet/frr-k8s",
            "DaemonSet/speaker",
            "ValidatingWebhookConfiguration/x",
        ];
        ids.sort_by_key(|id| removal_rank(id));
        ids.reverse();
        assert_eq!(ids[0], "ConfigMap/frr-startup");
        assert_eq!(ids[3..], ["DaemonSet/speaker", "ValidatingWebhookConfiguration/x"]);
    }
}
