//! The tokens of the pods: bound to them, as a kubelet asks for them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::{Value, json};

use metallb_tests::Outcome;
use metallb_tests::schemas::one_node;

/// The API server looks at the pods no sooner than its cached verdicts have aged.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn die_with_their_pods(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        let client = lab.kube();
        let pods: Api<Pod> = Api::namespaced(client.clone(), "metallb-system");
        let all = pods.list(&ListParams::default()).await?;
        let operator = all
            .into_iter()
            .find(|pod| pod.name_any().starts_with("metallb-operator-controller-manager"));
        let pod = operator.context("the operator does not run")?;
        let token = token_of("/manager").context("no token in the pod's files")?;
        let status = review(&client, &token).await?;
        let extra = status["user"]["extra"]["authentication.kubernetes.io/pod-uid"][0].as_str();
        ensure!(
            extra == pod.metadata.uid.as_deref(),
            "the token is bound to {extra:?}: {status}"
        );
        pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
        wait_for("the token to be refused", PATIENCE, async || {
            Ok((review(&client, &token).await?["authenticated"] != json!(true)).then_some(()))
        })
        .await?;
        lab.stop().await;
        Ok(())
    })
}

/// The token that the process of that name is given, as it sees it.
fn token_of(program: &str) -> Result<String> {
    for entry in std::fs::read_dir("/proc")? {
        let dir = entry?.path();
        let line = std::fs::read(dir.join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).next() == Some(program.as_bytes()) {
            let file = dir.join("root/var/run/secrets/kubernetes.io/serviceaccount/token");
            return Ok(std::fs::read_to_string(file)?);
        }
    }
    bail!("{program} does not run")
}

async fn review(client: &Client, token: &str) -> Result<Value> {
    let wanted = serde_json::from_value(json!({ "spec": { "token": token } }))?;
    let review: TokenReview = Api::all(client.clone()).create(&PostParams::default(), &wanted).await?;
    Ok(serde_json::to_value(review.status)?)
}
