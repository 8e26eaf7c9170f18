//! A release from install to uninstall, with traffic through it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Addresses, Inside, Lab, Options, RouterKind, Steps};

use crate::{NAMESPACE, Outcome, chart, helm, values};

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until nothing of the release is on its way any more.
pub(crate) const WAIT: [&str; 3] = ["--wait", "--timeout", "300s"];

// OP-62, OP-66, OP-72
pub(crate) fn whole_life(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let (folder, upstream) = (chart("metallb"), values("upstream-0.16.1.yaml"));
        // As somebody comes from upstream: their values, with the back-end that is the default here.
        let theirs = ["--values", &upstream, "--set", "frrk8s.enabled=false"];
        run(
            &lab,
            &[
                &["install", "metallb", &folder, "--create-namespace"],
                &theirs[..],
                &WAIT,
            ],
        )
        .await?;
        let addresses = announced(&lab).await?;
        let before = Workloads::of(&lab.kube()).await?;

        run(
            &lab,
            &[
                &["upgrade", "metallb", &folder, "--set", "speaker.logLevel=debug"],
                &WAIT,
            ],
        )
        .await?;
        still_there(&lab, addresses, &before)
            .await
            .context("after the upgrade")?;

        run(&lab, &[&["rollback", "metallb", "1"], &WAIT]).await?;
        still_there(&lab, addresses, &before)
            .await
            .context("after the rollback")?;

        lab.end_of_rights()?;
        run(&lab, &[&["uninstall", "metallb"], &WAIT]).await?;
        let kept = left(&lab.kube()).await?;
        // What was kept is taken up again: the same addresses, by the same configuration.
        run(&lab, &[&["install", "metallb", &folder], &WAIT]).await?;
        ensure!(pools(&lab.kube()).await? == kept, "pools changed by a new install");
        Steps::new(&lab)
            .request(addresses.layer2)
            .await
            .context("after a new install")?;
        lab.stop().await;
        Ok(())
    })
}

pub(crate) async fn run(lab: &Lab, args: &[&[&str]]) -> Result<()> {
    helm(lab, &args.concat()).await.map(drop)
}

pub(crate) async fn announced(lab: &Lab) -> Result<Addresses> {
    let steps = Steps::new(lab);
    steps.configure().await?;
    steps.start_backends().await?;
    let addresses = steps.create_services().await?;
    steps.request(addresses.layer2).await?;
    steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
    steps.try_bad_pool().await?;
    Ok(addresses)
}

/// An upgrade keeps the workloads: one that is made anew leaves every node silent meanwhile.
#[derive(PartialEq)]
struct Workloads {
    controller: Option<String>,
    speaker: Option<String>,
    addresses: Vec<Option<String>>,
}

impl Workloads {
    async fn of(client: &Client) -> Result<Self> {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
        let services: Api<Service> = Api::default_namespaced(client.clone());
        let addresses = services.list(&ListParams::default()).await?.into_iter().map(|service| {
            let balancer = service.status.and_then(|status| status.load_balancer);
            let first = balancer.and_then(|balancer| balancer.ingress)?.into_iter().next()?;
            first.ip
        });
        Ok(Self {
            controller: deployments.get("metallb-controller").await?.uid(),
            speaker: sets.get("metallb-speaker").await?.uid(),
            addresses: addresses.collect(),
        })
    }
}

async fn still_there(lab: &Lab, addresses: Addresses, before: &Workloads) -> Result<()> {
    ensure!(
        Workloads::of(&lab.kube()).await? == *before,
        "workloads or addresses changed"
    );
    let steps = Steps::new(lab);
    steps.request(addresses.layer2).await?;
    steps.next_hops(addresses.bgp, lab.topology().nodes.len()).await?;
    // Whoever is wrong is told so, by whichever pod is there now.
    steps.try_bad_pool().await.map(drop)
}

/// What an uninstall leaves: all configuration, and nothing that refuses writes. The pools.
async fn left(client: &Client) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let began = std::time::Instant::now();
    while !pods.list(&ListParams::default()).await?.items.is_empty() {
        if began.elapsed() > PATIENCE {
            bail!("pods are left after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    ensure!(
        hooks.get_opt("metallb-webhook-configuration").await?.is_none(),
        "webhooks without a server are left"
    );
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let count = definitions.list(&ListParams::default()).await?.items.len();
    // The MetalLB resource is the operator's.
    let all = metallb_crdgen::crds().len() - 1;
    ensure!(count == all, "{count} definitions are left instead of all {all}");
    let pools = pools(client).await?;
    ensure!(!pools.is_empty(), "the pools are gone");
    Ok(pools)
}

async fn pools(client: &Client) -> Result<Vec<String>> {
    let kind = ApiResource {
        group: "metallb.io".into(),
        version: "v1beta1".into(),
        api_version: "metallb.io/v1beta1".into(),
        kind: "IPAddressPool".into(),
        plural: "ipaddresspools".into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let all = api.list(&ListParams::default()).await?.into_iter();
    Ok(all
        .map(|pool| pool.name_any() + &pool.data["spec"].to_string())
        .collect())
}
