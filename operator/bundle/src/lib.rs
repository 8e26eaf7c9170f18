//! The bundle and the file-based catalog for the Operator Lifecycle Manager (OLM), made of the very objects that the
//! plain manifests consist of. Nothing here reads or writes files.
//!
//! ```
//! let files = metallb_bundle::Release::current().files()?;
//! assert!(files.contains_key("bundle/manifests/metallb-operator.clusterserviceversion.yaml"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod annotations;
mod catalog;
mod csv;
mod descriptors;
mod examples;
mod kinds;
mod webhooks;
mod workloads;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use metallb_api::names;
use metallb_manifests::{
    Object,
    install::{self, Install},
};
use serde::Serialize;

/// The package in a catalog; upstream's name, so that a Subscription to upstream's can be turned to ours.
pub const PACKAGE: &str = "metallb-operator";

/// Where the bundle's manifests are.
const MANIFESTS: &str = "bundle/manifests";

/// What is shipped together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version, without `v`.
    pub version: String,
    /// The version that this one replaces in the catalog, if there was one.
    pub previous: Option<String>,
    /// What the plain manifests install.
    pub install: Install,
    /// Where the bundle's image is.
    pub bundle_image: String,
}

impl Release {
    /// The release of this source tree.
    pub fn current() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            // There has been no release yet.
            previous: None,
            install: Install::release(names::DEFAULT_NAMESPACE),
            bundle_image: format!("ghcr.io/metallb-rs/metallb-operator-bundle:v{version}"),
            version,
        }
    }

    /// The name of the ClusterServiceVersion, by which catalogs call the bundle.
    pub fn name(&self) -> String {
        named(&self.version)
    }

    /// Makes every file: its path from the root of the repository, and its text.
    ///
    /// # Errors
    /// Something cannot be written as YAML, or the text of an example cannot be read.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let csv = csv::cluster_service_version(self)?;
        let mut files = BTreeMap::from([
            (
                format!("{MANIFESTS}/{PACKAGE}.clusterserviceversion.yaml"),
                document(&csv)?,
            ),
            ("bundle/metadata/annotations.yaml".to_owned(), annotations::yaml()),
            (
                "bundle/tests/scorecard/config.yaml".to_owned(),
                annotations::scorecard(),
            ),
            ("bundle.Dockerfile".to_owned(), annotations::dockerfile()),
            (
                format!("olm/configs/{PACKAGE}/catalog.yaml"),
                catalog::yaml(self, &csv)?,
            ),
        ]);
        for crd in self.crds() {
            let names = &crd.spec.names;
            files.insert(
                format!("{MANIFESTS}/{}_{}.yaml", crd.spec.group, names.plural),
                document(&crd)?,
            );
        }
        for object in self.loose_objects() {
            let kind = object.api_resource().kind.to_lowercase();
            files.insert(format!("{MANIFESTS}/{}_{kind}.yaml", object.name()), document(&object)?);
        }
        Ok(files)
    }

    /// The definitions that the bundle owns: those of frr-k8s, too, which is one of the back-ends, as upstream's owns them.
    ///
    /// Where another owner has brought these, as the network operator of OpenShift does, OLM puts ours in their place if
    /// all that is stored fits, and the owner may put its own back. Neither loses anything as long as ours have the same
    /// version and scope, take whatever others take, and drop nothing of it.
    fn crds(&self) -> Vec<CustomResourceDefinition> {
        // One is in both lists.
        let ours = metallb_crdgen::crds().into_iter();
        let ours = ours.filter(|crd| crd.spec.group == names::GROUP);
        ours.chain(metallb_crdgen::frr_k8s_crds()).collect()
    }

    /// The installed objects.
    fn objects(&self) -> Vec<Object> {
        install::components(&self.install)
    }

    /// What the bundle carries beside the ClusterServiceVersion, without a namespace, which is the installation's.
    fn loose_objects(&self) -> Vec<Object> {
        let mut objects = self.objects();
        objects.retain(is_loose);
        for object in &mut objects {
            object.metadata_mut().namespace = None;
        }
        objects
    }
}

/// The name of a version's ClusterServiceVersion.
fn named(version: &str) -> String {
    format!("{PACKAGE}.v{version}")
}

/// Tells whether OLM has to be given the object as it is.
///
/// It makes the rest itself: Deployments, rights and accounts from the ClusterServiceVersion, and for each webhook
/// server a Service, a certificate in a Secret, and the webhook configurations; it does not make namespaces. The Secret
/// of the configuration's webhooks stays all the same: the controller that the operator deploys mounts it.
fn is_loose(object: &Object) -> bool {
    match object {
        // Rights of accounts are in the ClusterServiceVersion; these are for people.
        Object::ClusterRole(_) | Object::Role(_) => object.name() == names::VIEWER,
        Object::Namespace(_)
        | Object::Deployment(_)
        | Object::ServiceAccount(_)
        | Object::ClusterRoleBinding(_)
        | Object::RoleBinding(_)
        | Object::ValidatingWebhookConfiguration(_) => false,
        Object::Secret(_) => object.name() != names::OPERATOR_WEBHOOK_SECRET,
        Object::Service(_) => !webhooks::serves(object.name()),
        _ => true,
    }
}

/// Writes one object as one YAML document.
fn document<T: Serialize>(object: &T) -> anyhow::Result<String> {
    metallb_crdgen::documents(std::slice::from_ref(object))
}
