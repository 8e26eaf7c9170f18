//! The plain manifests deleted, by the files that were applied.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use metallb_lab::{Inside, Lab, Options};
use serde_json::json;

use crate::doors::{path, prometheus};
use crate::kubectl::Kubectl;
use crate::schemas::{Outcome, nodeless};

/// What is applied, and by which files all of it is deleted. Where those hold less, what they do not name lives in the
/// namespace that they do name: so neither they nor the files that were applied leave anything.
const WAYS: [(&[&str], &[&str]); 5] = [
    (
        &["metallb-native-prometheus.yaml", "network-policies.yaml"],
        &["network-policies.yaml", "metallb-native.yaml"],
    ),
    (&["metallb-frr-prometheus.yaml"], &["metallb-frr.yaml"]),
    (&["metallb-frr-k8s-prometheus.yaml"], &["metallb-frr-k8s.yaml"]),
    (
        &["crds.yaml", "metallb-operator.yaml"],
        &["webhooks.yaml", "metallb-operator.yaml", "crds.yaml"],
    ),
    (
        &["crds.yaml", "frr-k8s-crds.yaml", "metallb-operator-openshift.yaml"],
        &["metallb-operator-openshift.yaml", "frr-k8s-crds.yaml", "crds.yaml"],
    ),
];

/// What outlives a namespace.
const LASTING: &str = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,\
                       validatingwebhookconfigurations,mutatingwebhookconfigurations";

/// How long a deletion may take, which waits for controllers of Kubernetes.
const PATIENCE: Duration = Duration::from_secs(120);
const PACE: Duration = Duration::from_secs(1);

// OP-100
pub(crate) fn of_the_files(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &nodeless(options)).await?;
        let kubectl = Kubectl::new(&lab)?;
        prometheus(&kubectl).await?;
        let before = lasting(&kubectl).await?;
        for (applied, deleted) in WAYS {
            for file in applied {
                kubectl.prints(&["apply", "--server-side", "-f", &path(file)]).await?;
            }
            for file in deleted {
                let all = kubectl.prints(&["get", "-f", &path(file), "-o", "name"]).await;
                all.with_context(|| format!("{applied:?} do not hold all of {file}"))?;
            }
            delete(&kubectl, deleted).await?;
            gone(&lab, &kubectl, &before)
                .await
                .with_context(|| format!("after {deleted:?} were deleted"))?;
        }
        lab.stop().await;
        Ok(())
    })
}

/// Deletes by files, and leaves the waiting to us.
async fn delete(kubectl: &Kubectl<'_>, files: &[&str]) -> Result<()> {
    for file in files {
        let args = ["delete", "--wait=false", "--ignore-not-found", "-f", &path(file)];
        let deleted = kubectl.run(&args).await?;
        ensure!(
            deleted.status.success(),
            "cannot delete {file}: {}",
            String::from_utf8_lossy(&deleted.stderr)
        );
    }
    Ok(())
}

async fn lasting(kubectl: &Kubectl<'_>) -> Result<String> {
    kubectl.prints(&["get", LASTING, "-o", "name"]).await
}

/// Waits until there is again what there was.
async fn gone(lab: &Lab, kubectl: &Kubectl<'_>, before: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let left = lasting(kubectl).await?;
        if left == *before {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("there is {left}\nthere was {before}");
        }
        remind(lab, &began.elapsed().as_millis().to_string()).await?;
        tokio::time::sleep(PACE).await;
    }
}

/// Reminds the API server of definitions whose deletion it has forgotten.
///
/// Its finalizer fails while the storage of a kind that changed a moment ago is not ready. When it tries again before it
/// has seen its own note of that failure, it meets a conflict and waits for a change of the definition; but such notes
/// are no changes to it, so nothing happens until all definitions are looked at again, five minutes later.
async fn remind(lab: &Lab, mark: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(lab.kube());
    for definition in api.list(&ListParams::default()).await? {
        let conditions = definition
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let failed = conditions
            .into_iter()
            .any(|condition| condition.reason.as_deref() == Some("InstanceDeletionFailed"));
        if failed {
            let mark = Patch::Merge(json!({"metadata": {"annotations": {"reminded": mark}}}));
            // It may be gone by now.
            let _ = api.patch(&definition.name_any(), &PatchParams::default(), &mark).await;
        }
    }
    Ok(())
}
