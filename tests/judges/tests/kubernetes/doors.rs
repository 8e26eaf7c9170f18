//! The plain manifests as people use them: applied, applied again, taken over by the server's apply; one mode after the
//! other.

use anyhow::{Context, Result, ensure};
use metallb_test_support::{Inside, Lab, Options};

use crate::kubectl::Kubectl;
use metallb_tests::Outcome;
use metallb_tests::schemas::nodeless;

/// The files of one way to install, in the order in which they are applied. Those for Prometheus hold all that those
/// without it hold.
const WAYS: [&[&str]; 4] = [
    &["metallb-native.yaml", "network-policies.yaml"],
    &["metallb-frr-prometheus.yaml"],
    &["metallb-frr-k8s-prometheus.yaml"],
    &["crds.yaml", "frr-k8s-crds.yaml", "metallb-operator.yaml"],
];

/// Too large for the annotation that a client's apply keeps.
const SERVER_ALONE: &str = "crds.yaml";

// OP-95
pub(crate) fn plain(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &nodeless(options)).await?;
        let kubectl = Kubectl::new(&lab)?;
        prometheus(&kubectl).await?;
        for way in WAYS {
            applied(&kubectl, way).await.with_context(|| format!("with {way:?}"))?;
        }
        lab.stop().await;
        Ok(())
    })
}

async fn applied(kubectl: &Kubectl<'_>, files: &[&str]) -> Result<()> {
    for file in files {
        let file = &path(file);
        if !file.ends_with(&format!("/{SERVER_ALONE}")) {
            kubectl.prints(&["apply", "-f", file]).await?;
            let before = generations(kubectl, file).await?;
            // What kubectl calls configured may be a patch that changes nothing.
            kubectl.prints(&["apply", "-f", file]).await?;
            let after = generations(kubectl, file).await?;
            ensure!(before == after, "applied again, {before} became {after}");
        }
        // Two managers cannot share what the server completes with defaults, such as a reference to a field.
        let take_over = ["apply", "--server-side", "--force-conflicts", "-f", file];
        kubectl.prints(&take_over).await?;
        kubectl.prints(&["apply", "--server-side", "-f", file]).await?;
    }
    Ok(())
}

/// How often each object of a file was changed, where the server counts.
async fn generations(kubectl: &Kubectl<'_>, file: &str) -> Result<String> {
    let columns = "custom-columns=:.kind,:.metadata.name,:.metadata.generation";
    kubectl
        .prints(&["get", "-f", file, "--no-headers", "-o", columns])
        .await
}

pub(crate) fn path(file: &str) -> String {
    format!("{}/../../manifests/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// What the files for Prometheus rely on: the kinds of its operator, as far as there are objects of them, and where it is.
pub(crate) async fn prometheus(kubectl: &Kubectl<'_>) -> Result<()> {
    let definition = |kind: &str| {
        let plural = format!("{}s", kind.to_lowercase());
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{name: {plural}.monitoring.coreos.com}}\n\
             spec: {{group: monitoring.coreos.com, scope: Namespaced, names: {{kind: {kind}, plural: {plural}}}, versions: \
             [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: \
             {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]}}\n---\n"
        )
    };
    let definitions: String = ["PodMonitor", "PrometheusRule", "ServiceMonitor"]
        .map(definition)
        .concat();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n";
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, definitions + namespace)?;
    let file = file.path().to_string_lossy();
    kubectl.prints(&["apply", "-f", &file]).await?;
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    kubectl.prints(&established).await.map(drop)
}
