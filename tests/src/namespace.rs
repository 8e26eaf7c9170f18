//! The namespace deleted, with everything in it and everything that must not outlive it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options, Steps, apply, wait_for};
use serde_json::json;

use crate::Outcome;
use crate::schemas::one_node;

pub const NAMESPACE: &str = "metallb-system";
/// How long a deletion may take, which waits for controllers of Kubernetes.
pub const PATIENCE: Duration = Duration::from_secs(120);

const CONFIGURATIONS: [&str; 2] = [
    "metallb-webhook-configuration",
    "metallb-operator-webhook-configuration",
];

const PROFILES: &str = "
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: used, namespace: metallb-system}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: spare, namespace: metallb-system}}
";

/// What uses one of the profiles; a peer is converted by a webhook as well.
const USERS: &str = "
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: peer, namespace: metallb-system},
 spec: {myASN: 64500, peerASN: 64501, peerAddress: 172.30.0.2, bfdProfile: used}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: pool, namespace: metallb-system},
 spec: {addresses: [198.51.100.0/24]}}
";

/// Makes the namespace, and objects in it whose deletion webhooks are asked about.
///
/// # Errors
/// When one is refused.
pub async fn prepared(client: &Client) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    api.create(&PostParams::default(), &namespace).await?;
    apply(client, PROFILES).await?;
    apply(client, USERS).await.map(drop)
}

/// Deletes the namespace and waits until it has gone.
///
/// # Errors
/// When it does not go; says what the API server says of it.
pub async fn ended(client: &Client) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    api.delete(NAMESPACE, &DeleteParams::default()).await?;
    let gone = wait_for("the namespace to go", PATIENCE, async || {
        Ok(api.get_opt(NAMESPACE).await?.is_none().then_some(()))
    });
    if let Err(error) = gone.await {
        let left = api.get_opt(NAMESPACE).await?.and_then(|it| it.status);
        return Err(error.context(format!("{:?}", left.and_then(|it| it.conditions))));
    }
    Ok(())
}

// OP-44
pub fn with_everything(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let (client, steps) = (lab.kube(), Steps::new(&lab));
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        steps.configure().await?;
        apply(&client, PROFILES).await?;
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        owned(&client, &configurations).await?;
        lab.end_of_rights()?;
        ended(&client).await?;
        for name in CONFIGURATIONS {
            wait_for(&format!("{name} to go"), PATIENCE, async || {
                Ok(configurations.get_opt(name).await?.is_none().then_some(()))
            })
            .await?;
        }
        // What users prepare for the next installation is taken.
        prepared(&client).await.context("nothing can be written any more")?;
        lab.stop().await;
        Ok(())
    })
}

/// Waits until the configurations are to end with the namespace.
async fn owned(client: &Client, configurations: &Api<ValidatingWebhookConfiguration>) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let uid = namespaces.get(NAMESPACE).await?.uid().unwrap_or_default();
    ensure!(!uid.is_empty(), "the namespace has no uid");
    for name in CONFIGURATIONS {
        wait_for(&format!("an owner of {name}"), PATIENCE, async || {
            let owners = configurations.get(name).await?.metadata.owner_references;
            let owned = owners.into_iter().flatten().any(|owner| owner.uid == uid);
            Ok(owned.then_some(()))
        })
        .await?;
    }
    Ok(())
}
