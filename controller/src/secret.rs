//! The Secret with the key of the membership protocol.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use metallb_api::names;
use metallb_runtime::start;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

/// Makes the Secret if it does not exist; whoever comes second leaves it alone. Waits for an API server that is away.
///
/// # Errors
/// When the owner is not known, or the API server refuses.
pub(crate) async fn ensure(client: &Client, namespace: &str, name: &str, deployment: &str) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let existing = start::ask(|| secrets.get_metadata_opt(name)).await;
    if existing
        .with_context(|| format!("cannot look for Secret {name}"))?
        .is_some()
    {
        return Ok(());
    }
    ensure!(
        !deployment.is_empty(),
        "--deployment (METALLB_DEPLOYMENT) must name the owner of Secret {name}"
    );
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let owner = start::ask(|| deployments.get(deployment)).await;
    let owner = owner.with_context(|| format!("cannot read Deployment {deployment}"))?;
    let (params, secret) = (PostParams::default(), secret(name, &owner)?);
    match start::ask(|| secrets.create(&params, &secret)).await {
        Ok(_) => info!(
            op = "createMemberlistSecret",
            secret = name,
            "memberlist secret created"
        ),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error).with_context(|| format!("cannot create Secret {name}")),
    }
    Ok(())
}

fn secret(name: &str, owner: &Deployment) -> anyhow::Result<Secret> {
    let mut key = [0; 16];
    SystemRandom::new()
        .fill(&mut key)
        .ok()
        .context("the system gives no random bytes")?;
    let text = STANDARD_NO_PAD.encode(key);
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some([(names::MEMBERLIST_SECRET_KEY.to_owned(), ByteString(text.into_bytes()))].into()),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_unpadded_base64_of_16_bytes_and_owned_by_the_deployment() {
        // CTL-141 OP-34
        let mut owner = Deployment::default();
        owner.metadata.name = Some("controller".into());
        owner.metadata.uid = Some("u".into());
        let secret = secret("metallb-memberlist", &owner).unwrap();
        let data = secret.data.unwrap();
        let text = std::str::from_utf8(&data["secretkey"].0).unwrap();
        assert_eq!((text.len(), STANDARD_NO_PAD.decode(text).unwrap().len()), (22, 16));
        let owner = &secret.metadata.owner_references.unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str(), owner.controller),
            ("Deployment", "controller", None)
        );
    }
}
