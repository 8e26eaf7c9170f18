//! A watcher as plain as can be: no speaker can know of a change much before it does.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::process::PATIENCE;

/// Watches some Services until it is dropped.
pub(crate) struct Watcher {
    seen: UnboundedReceiver<(Ipv4Addr, Instant)>,
    _task: JoinSet<Result<()>>,
}

impl Watcher {
    /// Begins to watch the Services with those labels.
    pub(crate) async fn start(api: &Api<Service>, labels: &str) -> Result<Self> {
        let now = api.list(&ListParams::default().labels(labels).limit(1)).await?;
        let version = now.metadata.resource_version.context("a list without a version")?;
        let (sender, seen) = unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(watch(api.clone(), labels.to_owned(), version, sender));
        Ok(Self { seen, _task: task })
    }

    /// When that address was in a status first.
    pub(crate) async fn saw(&mut self, address: Ipv4Addr) -> Result<Instant> {
        loop {
            match timeout(PATIENCE, self.seen.recv()).await {
                Ok(Some((seen, at))) if seen == address => return Ok(at),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => bail!("the watcher has not seen {address}"),
            }
        }
    }
}

async fn watch(
    api: Api<Service>,
    labels: String,
    version: String,
    seen: UnboundedSender<(Ipv4Addr, Instant)>,
) -> Result<()> {
    let params = WatchParams::default().labels(&labels);
    let mut events = api.watch(&params, &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        let now = Instant::now();
        if let WatchEvent::Modified(service) = event
            && let Some(address) = ingress(&service)
        {
            seen.send((address, now))?;
        }
    }
    Ok(())
}

fn ingress(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.as_ref()?.parse().ok()
}
