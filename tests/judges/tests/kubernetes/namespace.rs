//! The namespace deleted, and what is in it, where nobody serves the webhooks that are asked.

use anyhow::{Context, Result};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use metallb_api::BFDProfile;
use metallb_test_support::{Inside, Lab, Options, Steps, apply, wait_for};
use serde_json::json;

use crate::doors::path;
use metallb_tests::Outcome;
use metallb_tests::namespace::{NAMESPACE, PATIENCE, ended, prepared};
use metallb_tests::schemas::nodeless;

fn profiles(client: &Client) -> Api<BFDProfile> {
    Api::namespaced(client.clone(), NAMESPACE)
}

// OP-44
pub(crate) fn without_a_server(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &nodeless(options)).await?;
        let client = lab.kube();
        Steps::new(&lab).apply_crds().await?;
        prepared(&client).await?;
        apply(&client, &std::fs::read_to_string(path("webhooks.yaml"))?).await?;
        nobody_answers(&client).await?;
        // Which makes the garbage collector update it before it goes.
        let params = DeleteParams::foreground();
        profiles(&client).delete("spare", &params).await.context("spare")?;
        wait_for("the profile to go", PATIENCE, async || {
            Ok(profiles(&client).get_opt("spare").await?.is_none().then_some(()))
        })
        .await?;
        ended(&client).await?;
        lab.stop().await;
        Ok(())
    })
}

/// Waits until the API server asks the webhooks, in vain.
async fn nobody_answers(client: &Client) -> Result<()> {
    let profile = serde_json::from_value(json!({ "metadata": { "name": "refused" } }))?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    wait_for("a profile to be refused", PATIENCE, async || {
        let created = profiles(client).create(&params, &profile).await;
        Ok(created.is_err().then_some(()))
    })
    .await
}
