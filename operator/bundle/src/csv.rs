//! The ClusterServiceVersion.

use base64::{Engine, prelude::BASE64_STANDARD};
use metallb_manifests::{Object, install};
use serde_json::{Value, json};

use crate::{Release, access, examples, kinds, named, webhooks, workloads};

const DESCRIPTION: &str = include_str!("../text/description.md");
const ICON: &str = include_str!("../text/icon.svg");
const REPOSITORY: &str = "https://github.com/metallb-rs/metallb-rs";
/// In one sentence.
pub(crate) const SUMMARY: &str =
    "Load balancer for bare-metal clusters: gives Services addresses and announces them by ARP and BGP";
/// The oldest Kubernetes that is served, see `k8s-openapi` in `Cargo.toml`.
const MIN_KUBE_VERSION: &str = "1.28.0";

/// Makes the ClusterServiceVersion.
///
/// # Errors
/// The text of an example cannot be read.
pub(crate) fn cluster_service_version(release: &Release) -> anyhow::Result<Value> {
    let (objects, crds) = (release.objects(), release.crds());
    let configurations = install::webhook_configurations(&release.install);
    let examples = examples::of(&crds)?;
    let images = workloads::images(&objects);
    let related: Vec<_> = images
        .iter()
        .map(|(name, image)| json!({ "name": name, "image": image }))
        .collect();
    let mut csv = json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "annotations": annotations(release, &objects, &examples),
            "labels": labels(&release.install.architectures),
            "name": release.name(),
            "namespace": "placeholder",
        },
        "spec": {
            "displayName": "MetalLB Operator",
            "description": DESCRIPTION,
            "version": release.version,
            "maturity": "alpha",
            "minKubeVersion": MIN_KUBE_VERSION,
            "provider": { "name": "MetalLB-rs", "url": REPOSITORY },
            "maintainers": [{ "name": "The MetalLB-rs developers", "email": "metallb-rs@users.noreply.github.com" }],
            "keywords": ["metallb", "load balancer", "bare metal", "networking", "bgp", "arp"],
            "links": [
                { "name": "Source", "url": REPOSITORY },
                { "name": "Documentation", "url": format!("{REPOSITORY}/tree/main/docs") },
            ],
            "icon": [{ "base64data": icon(), "mediatype": "image/svg+xml" }],
            "installModes": install_modes(),
            "customresourcedefinitions": { "owned": kinds::owned(&crds) },
            "install": { "strategy": "deployment", "spec": strategy(&objects) },
            "webhookdefinitions": webhooks::definitions(&configurations, &crds),
            "relatedImages": related,
        },
    });
    if let Some(previous) = &release.previous {
        csv["spec"]["replaces"] = named(previous).into();
    }
    Ok(csv)
}

/// What the operator runs on, by which catalogs offer it.
fn labels(architectures: &[String]) -> Value {
    let mut labels = json!({});
    for architecture in architectures {
        labels[format!("operatorframework.io/arch.{architecture}")] = "supported".into();
    }
    labels["operatorframework.io/os.linux"] = "supported".into();
    labels
}

/// The icon as catalogs want it.
pub(crate) fn icon() -> String {
    BASE64_STANDARD.encode(ICON)
}

/// Everything before this release can be upgraded to it in one step.
pub(crate) fn skip_range(release: &Release) -> String {
    format!("<{}", release.version)
}

fn annotations(release: &Release, objects: &[Object], examples: &[Value]) -> Value {
    let text = |value: &Value| value.to_string();
    let first = examples.iter().find(|example| example["kind"] == "MetalLB");
    let mut annotations = json!({
        "alm-examples": text(&examples.into()),
        "capabilities": "Basic Install",
        "categories": "Networking",
        "certified": "false",
        "containerImage": release.install.operator_image.to_string(),
        "description": SUMMARY,
        "olm.skipRange": skip_range(release),
        "operatorframework.io/initialization-resource": first.map(text),
        "operatorframework.io/suggested-namespace": release.install.namespace,
        "operatorframework.io/suggested-namespace-template": namespace(objects).as_ref().map(text),
        "repository": REPOSITORY,
        "support": "Community",
    });
    for (feature, is) in [
        ("disconnected", true),
        ("fips-compliant", false),
        ("proxy-aware", false),
        ("tls-profiles", false),
        ("token-auth-aws", false),
        ("token-auth-azure", false),
        ("token-auth-gcp", false),
    ] {
        annotations[format!("features.operators.openshift.io/{feature}")] = is.to_string().into();
    }
    annotations
}

/// The installed namespace, with its labels for Pod Security admission.
fn namespace(objects: &[Object]) -> Option<Value> {
    let found = objects.iter().find(|object| matches!(object, Object::Namespace(_)));
    found.and_then(|object| serde_json::to_value(object).ok())
}

/// A kind with a conversion webhook is the whole cluster's.
fn install_modes() -> Vec<Value> {
    ["OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces"]
        .map(|mode| json!({ "type": mode, "supported": mode == "AllNamespaces" }))
        .into()
}

fn strategy(objects: &[Object]) -> Value {
    let [permissions, cluster_permissions] = access::permissions(objects);
    json!({
        "deployments": workloads::deployments(objects),
        "permissions": permissions,
        "clusterPermissions": cluster_permissions,
    })
}

#[cfg(test)]
mod tests {
    use metallb_api::names;

    use super::*;

    #[test]
    fn the_namespace_template_names_the_suggested_namespace() {
        let template = namespace(&Release::current().objects()).unwrap();
        assert_eq!(template["metadata"]["name"], names::DEFAULT_NAMESPACE);
        assert_eq!(template["kind"], "Namespace");
    }
}
