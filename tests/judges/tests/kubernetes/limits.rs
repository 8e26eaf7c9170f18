//! How much a real control plane with the product on it bears. Figures are printed, not asserted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::{Value, json};

use metallb_tests::Outcome;
use metallb_tests::ask::ask;
use metallb_tests::schemas::one_node;

const SERVICES: usize = 1000;
const NODES: usize = 50;
/// The goal is a minute; a loaded machine gets more.
const PATIENCE: Duration = Duration::from_secs(240);
const AT_ONCE: usize = 16;

pub(crate) fn many(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        steps.create_metallb().await?;
        let client = lab.kube();
        let pool = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "many" },
                           "spec": { "addresses": ["10.200.0.0/16"] } });
        let pools = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
        made(&client, pools, &pool).await?;
        let began = Instant::now();
        let nodes = (2..=NODES).map(|number| ("/api/v1/nodes", node(number)));
        let services = (0..SERVICES).map(|number| ("/api/v1/namespaces/default/services", service(number)));
        let all = stream::iter(nodes.chain(services)).map(async |(path, object)| made(&client, path, &object).await);
        all.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let created = began.elapsed();
        let api: Api<Service> = Api::namespaced(client.clone(), "default");
        wait_for("every Service to have an address", PATIENCE, async || {
            let all = api.list(&ListParams::default().labels("app=many")).await?;
            let mut addresses: Vec<String> = all.iter().filter_map(address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok((addresses.len() == SERVICES).then_some(()))
        })
        .await?;
        println!(
            "{SERVICES} Services and {NODES} nodes: created in {created:.1?}, all addresses after {:.1?} (goal 60 s)",
            began.elapsed()
        );
        lab.stop().await;
        Ok(())
    })
}

async fn made(client: &Client, path: &str, object: &Value) -> Result<()> {
    let answer = ask(client, Method::POST, path, Some(object)).await?;
    ensure!(answer.accepted(), "{path}: {}", answer.message());
    Ok(())
}

/// A machine that is not ready, as far as anybody knows.
fn node(number: usize) -> Value {
    json!({ "metadata": { "name": format!("far-{number}"), "labels": { "kubernetes.io/os": "linux" } },
            "spec": { "unschedulable": true, "taints": [{ "key": "lab", "value": "none", "effect": "NoExecute" }] } })
}

fn service(number: usize) -> Value {
    json!({ "metadata": { "name": format!("many-{number}"), "labels": { "app": "many" } },
            "spec": { "type": "LoadBalancer", "selector": { "app": "none" }, "ports": [{ "port": 80 }] } })
}

fn address(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.clone()
}
