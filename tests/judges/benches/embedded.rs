//! How soon the API server in memory serves, and what many Services weigh in it. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-judges --bench embedded`

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

const SERVICES: usize = 10_000;
const AT_ONCE: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    metallb_runtime::tls::install_crypto_provider();
    let dir = tempfile::tempdir()?;
    let before = resident()?;
    let began = Instant::now();
    let server = metallb_lab_api::start(metallb_lab_api::Options {
        dir: dir.path().into(),
        ..Default::default()
    })
    .await?;
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    api.list(&ListParams::default()).await?;
    println!("started and answered after {:.1?} (goal 100 ms)", began.elapsed());
    let began = Instant::now();
    stream::iter(0..SERVICES)
        .map(async |number| {
            let service = serde_json::from_value(json!({
                "metadata": {"name": format!("service-{number}"), "annotations": {"metallb.io/address-pool": "web"}},
                "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]},
            }))?;
            api.create(&PostParams::default(), &service).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    println!("{SERVICES} Services created in {:.1?}", began.elapsed());
    let began = Instant::now();
    let listed = api.list(&ListParams::default()).await?.items.len();
    println!("{listed} listed in {:.1?}", began.elapsed());
    let (after, mib) = (resident()?, 1024.0 * 1024.0);
    println!(
        "resident: {:.0} MiB, {:.0} MiB before (goal: under 1024 MiB)",
        after / mib,
        before / mib
    );
    server.shutdown().await;
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status").context("no /proc")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
