//! The operator from its chart: MetalLB by a resource, and nothing but configuration left in the end.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client};
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps};

use crate::release::{WAIT, announced, run};
use crate::{NAMESPACE, Outcome, chart};

// OP-62, OP-72, OP-94 by Helm instead of OLM
pub(crate) fn whole_life(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let (folder, steps) = (chart("metallb-operator"), Steps::new(&lab));
        let install: &[&str] = &["install", "metallb-operator", &folder, "--create-namespace"];
        run(&lab, &[install, &WAIT]).await?;
        steps.create_metallb().await?;
        let addresses = announced(&lab).await?;
        let upgrade: &[&str] = &["upgrade", "metallb-operator", &folder, "--set", "operator.replicas=2"];
        run(&lab, &[upgrade, &WAIT]).await?;
        steps.request(addresses.layer2).await.context("after the upgrade")?;
        run(&lab, &[&["rollback", "metallb-operator", "1"], &WAIT]).await?;
        steps.request(addresses.layer2).await.context("after the rollback")?;
        steps.delete_metallb(addresses).await?;
        lab.end_of_rights()?;
        run(&lab, &[&["uninstall", "metallb-operator"], &WAIT]).await?;
        only_definitions_are_left(&lab.kube()).await?;
        lab.stop().await;
        Ok(())
    })
}

async fn only_definitions_are_left(client: &Client) -> Result<()> {
    let all = ListParams::default();
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let hooks = hooks.list(&all).await?.items;
    ensure!(hooks.is_empty(), "webhooks without a server are left: {hooks:?}");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let count = deployments.list(&all).await?.items.len();
    ensure!(count == 0, "{count} deployments are left");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let count = definitions.list(&all).await?.items.len();
    ensure!(
        count == metallb_crdgen::crds().len(),
        "{count} definitions are left instead of all"
    );
    Ok(())
}
