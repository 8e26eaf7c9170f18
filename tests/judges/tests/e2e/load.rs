//! The controller restarted again and again while Services come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_test_support::{Inside, Lab, Options};
use serde_json::json;

use metallb_tests::Outcome;
use metallb_tests::faults::{restart, wait_for};
use metallb_tests::path::announced;

const RESTARTS: usize = 5;
/// How many Services come before each restart; every third goes again while the controller is away.
const WAVE: usize = 12;

async fn create(client: &Client, name: &str) -> Result<()> {
    let service = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"metallb.io/address-pool": "layer2"}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }))?;
    let services = Api::<Service>::namespaced(client.clone(), "default");
    services.create(&PostParams::default(), &service).await?;
    Ok(())
}

/// The address of each Service that has one.
async fn addresses(client: &Client) -> Result<BTreeMap<String, String>> {
    let services = Api::<Service>::namespaced(client.clone(), "default");
    let all = services.list(&ListParams::default()).await?;
    let ip = |service: &Service| {
        let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
        ingress.first()?.ip.clone()
    };
    Ok(all
        .iter()
        .filter_map(|service| Some((service.name_any(), ip(service)?)))
        .collect())
}

// CTL-27
pub(crate) fn restarts_under_load(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &options).await?;
        announced(&lab).await?;
        let client = lab.kube();
        let services = Api::<Service>::namespaced(client.clone(), "default");
        for round in 0..RESTARTS {
            let before = addresses(&client).await?;
            let load = async {
                for number in 0..WAVE {
                    create(&client, &format!("load-{round}-{number}")).await?;
                    if number % 3 == 0 {
                        services
                            .delete(&format!("load-{round}-{number}"), &DeleteParams::default())
                            .await?;
                    }
                }
                anyhow::Ok(())
            };
            futures::try_join!(restart(&client, "controller"), load)?;
            let left = before.len() + WAVE - WAVE.div_ceil(3);
            wait_for("an address for everybody", Duration::from_secs(120), async || {
                Ok(addresses(&client).await?.len() == left)
            })
            .await?;
            let after = addresses(&client).await?;
            let moved: Vec<_> = before
                .iter()
                .filter(|(name, ip)| after.get(*name) != Some(ip))
                .collect();
            ensure!(moved.is_empty(), "restart {round} moved {moved:?}");
            let distinct: BTreeSet<_> = after.values().collect();
            ensure!(distinct.len() == after.len(), "an address was given twice: {after:?}");
        }
        lab.stop().await;
        Ok(())
    })
}
