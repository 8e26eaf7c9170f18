//! The FRRConfiguration of this node, as the API server has it.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use metallb_api::names::field_manager;
use metallb_api::{FRRConfiguration, FRRConfigurationSpec};
use metallb_frr_k8s::{is_settled, left_out};
use metallb_runtime::apply;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;

/// A FRRConfiguration with all fields that it has, whether we know them or not.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl fmt::Debug for Stored {
    // There may be passwords in the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl Resource for Stored {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(it: &()) -> Cow<'_, str> {
        FRRConfiguration::kind(it)
    }

    fn group(it: &()) -> Cow<'_, str> {
        FRRConfiguration::group(it)
    }

    fn version(it: &()) -> Cow<'_, str> {
        FRRConfiguration::version(it)
    }

    fn plural(it: &()) -> Cow<'_, str> {
        FRRConfiguration::plural(it)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The name of the object of a node: upstream's, by which the operator and the other speaker know it.
pub(super) fn name(node: &str) -> String {
    format!("metallb-{node}")
}

/// Writes the object when it differs from what is wanted.
pub(super) struct Object {
    api: Api<Stored>,
    namespace: String,
    name: String,
    written: Option<Written>,
}

/// What was written last, and what the API server stored for it.
struct Written {
    wanted: Value,
    stored: Value,
}

impl Object {
    pub(super) fn new(client: Client, namespace: &str, node: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name(node),
            written: None,
        }
    }

    /// Creates, replaces or (without a spec) deletes the object. Writes nothing if it is as wanted already.
    ///
    /// Returns the fields that the API server has dropped.
    pub(super) async fn settle(
        &mut self,
        wanted: Option<&FRRConfigurationSpec>,
        owner: &OwnerReference,
    ) -> Result<Vec<String>, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let Some(wanted) = wanted else {
            self.written = None;
            if let Some(found) = found
                && apply::delete(&self.api, &self.name, found.uid()).await?
            {
                info!(
                    event = "frrConfigurationDeleted",
                    name = self.name,
                    namespace = self.namespace
                );
            }
            return Ok(Vec::new());
        };
        let wanted = serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?;
        if let Some(found) = &found
            && found.owner_references().contains(owner)
            && self.says(&wanted, &found.spec)
        {
            return Ok(left_out(&wanted, &found.spec));
        }
        let params = PostParams {
            field_manager: Some(field_manager::SPEAKER.to_owned()),
            ..PostParams::default()
        };
        let object = self.object(found.as_ref(), wanted.clone(), owner);
        // With the version that was read: of two writers at once one begins again.
        let stored = match found {
            None => self.api.create(&params, &object).await?,
            Some(_) => self.api.replace(&self.name, &params, &object).await?,
        };
        info!(
            event = "frrConfigurationWritten",
            name = self.name,
            namespace = self.namespace
        );
        let left_out = left_out(&wanted, &stored.spec);
        self.written = Some(Written {
            wanted,
            stored: stored.spec,
        });
        Ok(left_out)
    }

    /// Tells whether the stored spec is what writing the wanted one leads to.
    fn says(&self, wanted: &Value, stored: &Value) -> bool {
        // A definition may have defaults that we do not know, or lack fields: writing again would change nothing.
        let ours = |written: &Written| written.wanted == *wanted && written.stored == *stored;
        is_settled(wanted, stored) || self.written.as_ref().is_some_and(ours)
    }

    fn object(&self, found: Option<&Stored>, spec: Value, owner: &OwnerReference) -> Stored {
        let mut metadata = found.map(|found| found.metadata.clone()).unwrap_or_default();
        metadata.name = Some(self.name.clone());
        metadata.namespace = Some(self.namespace.clone());
        let owners = metadata.owner_references.get_or_insert_default();
        // A Node of the same name that is no more would take the object with it.
        owners.retain(|known| known.kind != owner.kind || known.name != owner.name);
        owners.push(owner.clone());
        Stored {
            api_version: FRRConfiguration::api_version(&()).into_owned(),
            kind: FRRConfiguration::kind(&()).into_owned(),
            metadata,
            spec,
        }
    }
}
