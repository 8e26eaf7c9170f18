//! The `frr` back-end as it ships: speaker, FRR, reloader and exporter in one pod, with another FRR as the router.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, LogParams};
use kube::{Api, ResourceExt};
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps, apply, wait_for};
use metallb_tests::Outcome;
use metallb_tests::metrics::{Reader, value};
use nix::sys::signal::{Signal, kill};
use tokio::time::sleep;

use crate::processes;

const MANIFEST: &str = include_str!("../../../../manifests/metallb-frr.yaml");
const NATIVE: &str = include_str!("../../../../manifests/metallb-native.yaml");
const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(120);
/// The port of the exporter.
const METRICS: u16 = 9121;

// FRR-3, FRR-36, FRR-59
pub(crate) fn in_pods(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 2,
            router: RouterKind::Frr,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        if let Err(error) = comes_and_goes(&lab).await {
            return Err(error.context(reloaders(&lab).await));
        }
        lab.stop().await;
        Ok(())
    })
}

async fn comes_and_goes(lab: &Lab) -> Result<()> {
    let (client, steps, all) = (lab.kube(), Steps::new(lab), lab.topology().nodes.len());
    lab.import_frr(image()?).await.context("FRR's image")?;
    apply(&client, MANIFEST).await?;
    steps.deployment_available(NAMESPACE, "controller").await?;
    steps.speakers_ready().await?;
    steps.configure().await?;
    steps.start_backends().await?;
    let addresses = steps.create_services().await?;
    steps.next_hops(addresses.bgp, all).await?;
    steps.request(addresses.bgp).await?;
    steps.request(addresses.layer2).await?;
    exported(lab).await.context("what FRR's exporter tells")?;

    let services: Api<Service> = Api::namespaced(client, "default");
    services.delete("web-bgp", &DeleteParams::default()).await?;
    steps.next_hops(addresses.bgp, 0).await.context("the Service deleted")?;
    let addresses = steps.create_services().await?;
    steps.next_hops(addresses.bgp, all).await.context("another Service")?;
    frr_starts_anew(lab, addresses.bgp).await?;
    switched(lab, NATIVE, 1, addresses.bgp)
        .await
        .context("from FRR to native")?;
    steps.request(addresses.bgp).await?;
    switched(lab, MANIFEST, 4, addresses.bgp)
        .await
        .context("from native to FRR")?;
    steps.request(addresses.bgp).await?;
    Ok(())
}

/// Puts the speakers of a manifest, with this many containers each, in the place of others, and tells what that costs.
async fn switched(lab: &Lab, manifest: &str, containers: usize, address: Ipv4Addr) -> Result<()> {
    let (steps, all) = (Steps::new(lab), lab.topology().nodes.len());
    apply(&lab.kube(), manifest).await?;
    let replaced = wait_for("the new speakers", PATIENCE, async || {
        let (_, pods) = speakers(lab).await?;
        let is_new = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            statuses.is_some_and(|all| all.len() == containers && all.iter().all(|container| container.ready))
        };
        Ok((pods.len() == all && pods.iter().all(is_new)).then_some(()))
    });
    let (mut fewer, mut none) = (Duration::ZERO, Duration::ZERO);
    let look = async {
        let mut last = Instant::now();
        loop {
            let hops = match lab.router().next_hops(address.into()).await {
                Ok(hops) => hops.len(),
                Err(error) => break error,
            };
            let passed = std::mem::replace(&mut last, Instant::now()).elapsed();
            fewer += if hops < all { passed } else { Duration::ZERO };
            none += if hops == 0 { passed } else { Duration::ZERO };
            sleep(Duration::from_millis(20)).await;
        }
    };
    let done = async {
        replaced.await?;
        steps.next_hops(address, all).await
    };
    tokio::select! {
        done = done => drop(done?),
        error = look => return Err(error),
    }
    println!("the router lacked one of {all} nodes for {fewer:.2?}, and all of them for {none:.2?}");
    Ok(())
}

/// The name of FRR's image in the manifest.
fn image() -> Result<&'static str> {
    let images = MANIFEST.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    let mut frr = images.filter(|image| image.contains("/frr:"));
    frr.next().context("the manifest names no image of FRR")
}

/// The exporter serves the session's metrics with upstream's labels.
async fn exported(lab: &Lab) -> Result<()> {
    let reader = Reader::new(&lab.kube()).await?;
    let address = SocketAddr::new(lab.topology().nodes[0].address.into(), METRICS);
    let labels = r#"{peer="172.30.0.2:179",vrf="default"}"#;
    wait_for("the session's series", PATIENCE, async || {
        let text = reader.read_from(address).await?;
        let told = |name: &str| value(&text, &format!("metallb_bgp_{name}{labels}"));
        let expected = told("session_up") == Some(1.0) && told("announced_prefixes_total") == Some(1.0);
        Ok(expected.then_some(()))
    })
    .await
}

/// Kills the FRR container of one node; the kubelet restarts it, and the reloader configures it again.
async fn frr_starts_anew(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let (steps, all) = (Steps::new(lab), lab.topology().nodes.len());
    let before = restarts(lab).await?;
    // The container ends with it.
    let watching = processes::called("/usr/lib/frr/watchfrr")?;
    ensure!(watching.len() == all, "on {all} nodes watchfrr runs as {watching:?}");
    kill(watching[0], Signal::SIGKILL).context("cannot kill watchfrr")?;
    let lost = steps.next_hops(address, all - 1).await;
    lost.context("FRR was killed, and its routes stay")?;
    steps.next_hops(address, all).await.context("FRR started anew")?;
    ensure!(restarts(lab).await? > before, "the kubelet started no container again");
    Ok(())
}

/// The speakers' pods.
async fn speakers(lab: &Lab) -> Result<(Api<Pod>, Vec<Pod>)> {
    let pods: Api<Pod> = Api::namespaced(lab.kube(), NAMESPACE);
    let found = pods.list(&ListParams::default().labels("component=speaker")).await?;
    Ok((pods, found.items))
}

/// How often FRR's containers were started again.
async fn restarts(lab: &Lab) -> Result<i32> {
    let (_, found) = speakers(lab).await?;
    let statuses = found.into_iter().filter_map(|pod| pod.status?.container_statuses);
    let frr = statuses.flatten().filter(|container| container.name == "frr");
    Ok(frr.map(|container| container.restart_count).sum())
}

/// The reloaders' logs, which say why a configuration was not applied.
async fn reloaders(lab: &Lab) -> String {
    let Ok((pods, found)) = speakers(lab).await else {
        return "the speakers cannot be listed".into();
    };
    let mut said = String::from("the reloaders say:");
    for pod in found {
        let params = LogParams {
            container: Some("reloader".into()),
            ..LogParams::default()
        };
        let log = pods.logs(&pod.name_any(), &params).await;
        said += &log.map_or_else(|error| format!("\n{error}"), |log| format!("\n{}", log.trim()));
    }
    said
}
