//! One example for each version of each kind, for consoles to begin with.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// All examples; those of kinds that this bundle does not own are left out.
const EXAMPLES: &str = include_str!("../text/examples.yaml");

/// Lists the examples of the owned kinds.
///
/// # Errors
/// The text is no YAML.
pub(crate) fn of(crds: &[CustomResourceDefinition]) -> anyhow::Result<Vec<Value>> {
    let all: Vec<Option<Value>> = serde_saphyr::from_multiple(EXAMPLES).context("examples.yaml is no YAML")?;
    let owned = |example: &Value| crds.iter().any(|crd| provides(crd, example));
    Ok(all.into_iter().flatten().filter(owned).collect())
}

fn provides(crd: &CustomResourceDefinition, example: &Value) -> bool {
    let mut versions = crd.spec.versions.iter();
    example["kind"] == *crd.spec.names.kind
        && versions.any(|version| example["apiVersion"] == format!("{}/{}", crd.spec.group, version.name))
}
