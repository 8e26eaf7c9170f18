//! Parses the configuration whenever something of it changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use metallb_runtime::CancellationToken;
use metallb_runtime::admin::Health;
use tracing::{error, info};

use super::Shared;
use super::stores::{CONFIGURATION, Touched};
use crate::pools::{Pools, Verdict};

/// Publishes a verdict for every change, from the moment on when all kinds are complete.
pub(super) async fn follow(
    mut changes: SelectAll<BoxStream<'static, Touched>>,
    shared: Arc<Shared>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut pools = Pools::new(shared.settings.backend);
    let mut missing = BTreeSet::from(CONFIGURATION);
    while let Some(first) = changes.next().await {
        let mut next = Some(first);
        // Changes that wait already need no parse of their own.
        while let Some(change) = next {
            if let Touched::Ready(kind) = change {
                missing.remove(kind);
                health.ready(kind);
            }
            next = changes.next().now_or_never().flatten();
        }
        if missing.is_empty() {
            shared.metrics.updates.inc();
            let load = || publish(&shared, &pools.load(&shared.stores.resources()));
            shared.metrics.configuration.observe(load);
            shared.recount.notify_one();
        }
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the watches of the configuration ended")
}

fn publish(shared: &Shared, verdict: &Verdict) {
    shared.metrics.judged(verdict);
    let changed = shared.verdict.send_if_modified(|last| {
        let changed = last.as_ref() != Some(verdict);
        if changed {
            *last = Some(verdict.clone());
        }
        changed
    });
    if !changed {
        return;
    }
    if verdict.refused.is_empty() {
        info!(controller = "PoolReconciler", event = "config reloaded");
    } else {
        // The documentation tells users to look for this phrase.
        error!(
            controller = "PoolReconciler",
            error = verdict.message(),
            "failed to parse the configuration"
        );
    }
}
