//! Nodes with IPv6 alone, and with both families: probes, webhooks, metrics and the membership go by the family that the
//! cluster has.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use metallb_test_support::{Families, Inside, Lab, Options, RouterKind, Steps, apply, wait_for};
use metallb_tests::Outcome;
use serde_json::json;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(120);
const POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: both, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24, 2001:db8::/120]}
";

pub(crate) fn six(inside: Inside, options: Options) -> Outcome {
    Box::pin(with(inside, options, Families::Six))
}

pub(crate) fn both(inside: Inside, options: Options) -> Outcome {
    Box::pin(with(inside, options, Families::Both))
}

async fn with(inside: Inside, options: Options, families: Families) -> Result<()> {
    let options = Options {
        nodes: 2,
        router: RouterKind::Builtin,
        families,
        ..options
    };
    let lab = Lab::start(inside, &options).await?;
    let (client, steps) = (lab.kube(), Steps::new(&lab));
    steps.apply_crds().await?;
    // All Deployments are available by probes of the kubelet.
    steps.install_operator().await?;
    steps.create_metallb().await?;
    // A pod of the webhook server is asked for a verdict.
    let accepted = wait_for("the pool to be accepted", PATIENCE, async || {
        Ok(apply(&client, POOL).await.ok())
    });
    accepted.await?;
    steps.try_bad_peer().await?;
    let first = pods_are_of(&client, families).await?;
    let address = assigned(&client, families).await?;
    ensure!(address.iter().any(IpAddr::is_ipv6), "the Service got {address:?}");
    ensure!(
        address.iter().any(IpAddr::is_ipv4) == families.four(),
        "the Service got {address:?}"
    );
    answers(first).await.context("metrics of the controller")?;
    lab.stop().await;
    Ok(())
}

/// Every pod has addresses of these families, and no other; returns the controller's first.
async fn pods_are_of(client: &Client, families: Families) -> Result<IpAddr> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let mut first = None;
    for pod in pods.list(&ListParams::default()).await? {
        let status = pod.status.context("no status")?;
        let ips = status.pod_ips.into_iter().flatten().map(|ip| ip.ip);
        let ips: Vec<IpAddr> = ips.map(|ip| ip.parse()).collect::<Result<_, _>>()?;
        ensure!(ips.iter().any(IpAddr::is_ipv6) == families.six(), "{ips:?}");
        ensure!(ips.iter().any(IpAddr::is_ipv4) == families.four(), "{ips:?}");
        let labels = pod.metadata.labels.unwrap_or_default();
        if labels
            .get("component")
            .is_some_and(|component| component == "controller")
        {
            first = ips.first().copied();
        }
    }
    first.context("no controller")
}

/// What a Service gets that wants both families where it can have them.
async fn assigned(client: &Client, families: Families) -> Result<Vec<IpAddr>> {
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service = serde_json::from_value(json!({
        "metadata": { "name": "both" },
        "spec": { "type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack", "ports": [{ "port": 80 }] },
    }))?;
    services.create(&PostParams::default(), &service).await?;
    let wanted = usize::from(families.four()) + usize::from(families.six());
    wait_for("addresses", PATIENCE, async || {
        let status = services
            .get("both")
            .await?
            .status
            .and_then(|status| status.load_balancer);
        let ingress = status.and_then(|status| status.ingress).unwrap_or_default();
        let ips: Vec<IpAddr> = ingress
            .iter()
            .filter_map(|one| one.ip.as_deref()?.parse().ok())
            .collect();
        Ok((ips.len() == wanted).then_some(ips))
    })
    .await
}

/// Somebody listens on the metrics port, as seen from outside the node.
async fn answers(ip: IpAddr) -> Result<()> {
    let connected = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect((ip, 9120))).await;
    connected?.map(drop).with_context(|| format!("at {ip}"))
}
