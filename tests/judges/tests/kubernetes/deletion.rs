//! The plain manifests deleted, by the files that were applied.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use metallb_test_support::{Addresses, Inside, Lab, Options, Steps, wait_for};
use serde_json::json;

use crate::doors::{path, prometheus};
use crate::kubectl::Kubectl;
use metallb_tests::Outcome;
use metallb_tests::schemas::{nodeless, one_node};

/// What is applied, and by which files all of it is deleted. Files without monitors hold less of the same.
const WAYS: [(&[&str], &[&str]); 5] = [
    (
        &["metallb-native-prometheus.yaml", "network-policies.yaml"],
        &["network-policies.yaml", "metallb-native-prometheus.yaml"],
    ),
    (&["metallb-frr-prometheus.yaml"], &["metallb-frr-prometheus.yaml"]),
    (
        &["metallb-frr-k8s-prometheus.yaml"],
        &["metallb-frr-k8s-prometheus.yaml"],
    ),
    (
        &["crds.yaml", "metallb-operator.yaml"],
        &["webhooks.yaml", "metallb-operator.yaml", "crds.yaml"],
    ),
    (
        &["crds.yaml", "frr-k8s-crds.yaml", "metallb-operator-openshift.yaml"],
        &["metallb-operator-openshift.yaml", "frr-k8s-crds.yaml", "crds.yaml"],
    ),
];

const DEFINITIONS: &str = "crds.yaml";
const OPERATOR: &str = "metallb-operator.yaml";

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

/// As nobody should, and some will: the MetalLB resource is still there, and the operator goes before it.
pub(crate) fn of_the_operator(inside: Inside, options: Options) -> Outcome {
    Box::pin(at_once(inside, options, &[OPERATOR]))
}

/// The same, and the definitions go at the same time.
pub(crate) fn of_everything(inside: Inside, options: Options) -> Outcome {
    Box::pin(at_once(inside, options, &[DEFINITIONS, OPERATOR]))
}

// OP-44
async fn at_once(inside: Inside, options: Options, files: &[&str]) -> Result<()> {
    let lab = Lab::start(inside, &one_node(options)).await?;
    let (kubectl, steps) = (Kubectl::new(&lab)?, Steps::new(&lab));
    let mut before = lasting(&kubectl).await?;
    steps.apply_crds().await?;
    if !files.contains(&DEFINITIONS) {
        before = lasting(&kubectl).await?;
    }
    let addresses = install(&steps).await?;
    lab.end_of_rights()?;
    delete(&kubectl, files).await?;
    gone(&lab, &kubectl, &before).await?;
    nothing_is_announced(&lab, addresses).await?;
    lab.stop().await;
    Ok(())
}

async fn install(steps: &Steps<'_>) -> Result<Addresses> {
    steps.install_operator().await?;
    steps.create_metallb().await?;
    steps.configure().await?;
    steps.start_backends().await?;
    let addresses = steps.create_services().await?;
    steps.request(addresses.layer2).await?;
    Ok(addresses)
}

async fn nothing_is_announced(lab: &Lab, addresses: Addresses) -> Result<()> {
    let client = lab.client();
    wait_for("the layer-2 address to fall silent", PATIENCE, async || {
        let answer = client.get_as_stranger(addresses.layer2, 80).await;
        Ok(answer.is_err().then_some(()))
    })
    .await?;
    Steps::new(lab).next_hops(addresses.bgp, 0).await.map(drop)
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

async fn lasting(kubectl: &Kubectl<'_>) -> Result<BTreeSet<String>> {
    let names = kubectl.prints(&["get", LASTING, "-o", "name"]).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Waits until there is again what there was.
async fn gone(lab: &Lab, kubectl: &Kubectl<'_>, before: &BTreeSet<String>) -> Result<()> {
    let began = Instant::now();
    loop {
        let now = lasting(kubectl).await?;
        if now == *before {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let (left, lost): (Vec<_>, Vec<_>) = (now.difference(before).collect(), before.difference(&now).collect());
            bail!("left are {left:?}, lost are {lost:?}");
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
