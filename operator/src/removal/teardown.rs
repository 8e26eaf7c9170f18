//! Takes a MetalLB down in order: speakers, then controller, then the rest.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use metallb_api::names;
use metallb_runtime::cause::explain;
use tokio::time::Instant;
use tracing::warn;

use crate::{removal::withdrawal, status::failure::Error, sync::Sync};

/// How long the speakers may take to withdraw what they announce. After that the deletion goes on without them: a
/// speaker on a node that is gone must not keep it for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Teardown {
    /// Nothing of ours is left.
    Done,
    /// Come again soon; says why.
    Waiting(String),
}

/// One teardown under way.
pub(crate) struct Order {
    since: Instant,
    /// What it has taken away so far.
    pub(crate) removed: Vec<String>,
    /// What of frr-k8s it leaves, as nothing shows that it is ours.
    pub(crate) left: Vec<String>,
}

impl Order {
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
            removed: Vec::new(),
            left: Vec::new(),
        }
    }

    fn is_patient(&self) -> bool {
        self.since.elapsed() < PATIENCE
    }

    /// Does what can be done now; speakers have handed routes to an frr-k8s in the namespaces `handed`.
    pub(crate) async fn step(
        &mut self,
        client: &Client,
        namespace: &str,
        sync: &mut Sync,
        handed: &mut BTreeSet<String>,
    ) -> Result<Teardown, Error> {
        self.remove(sync, |id| {
            id.starts_with("ValidatingWebhookConfiguration/") || id == SPEAKER
        })
        .await?;
        let speakers = pods(client, namespace, names::SPEAKER).await;
        if speakers > 0 && self.is_patient() {
            return Ok(Teardown::Waiting(format!(
                "{speakers} speakers withdraw what they announce"
            )));
        }
        let withdrawal = withdrawal::withdraw(client, namespace, handed, None).await?;
        let is_withdrawn = withdrawal.is_done();
        self.left = withdrawal.left;
        if !is_withdrawn && self.is_patient() {
            return Ok(Teardown::Waiting(
                "frr-k8s withdraws what the speakers announced".to_owned(),
            ));
        }
        self.remove(sync, |id| id.starts_with("DaemonSet/") || id.starts_with("Deployment/"))
            .await?;
        let controllers = pods(client, namespace, names::CONTROLLER).await;
        if controllers > 0 && self.is_patient() {
            return Ok(Teardown::Waiting(format!("{controllers} controllers end")));
        }
        if !self.is_patient() {
            warn!(
                event = "teardownUnordered",
                speakers, controllers, "did not wait any longer"
            );
        }
        self.remove(sync, |_| true).await?;
        Ok(Teardown::Done)
    }

    async fn remove(&mut self, sync: &mut Sync, which: impl Fn(&str) -> bool) -> Result<(), Error> {
        let mut unwanted = sync.unwanted(&[]);
        unwanted.retain(|(id, _)| which(id));
        let removed = sync.remove(&unwanted).await?;
        self.removed.extend(removed);
        Ok(())
    }
}

const SPEAKER: &str = "DaemonSet/speaker";

/// Counts the pods of a component, those that are ending among them; none where we may not look.
async fn pods(client: &Client, namespace: &str, component: &str) -> usize {
    let resource = ApiResource::erase::<Pod>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let labels = format!(
        "{}={},{}={component}",
        names::LABEL_APP,
        names::APP,
        names::LABEL_COMPONENT
    );
    match api.list_metadata(&ListParams::default().labels(&labels)).await {
        Ok(list) => list.items.iter().filter(|pod| !pod.name_any().is_empty()).count(),
        Err(error) => {
            warn!(event = "podsNotListed", component, error = explain(&error));
            0
        }
    }
}
