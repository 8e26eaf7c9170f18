//! Parses the configuration whenever something of it changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{bail, ensure};
use futures::future::{BoxFuture, Fuse, FusedFuture};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use metallb_assign::{Pools, Verdict};
use metallb_runtime::CancellationToken;
use metallb_runtime::admin::Health;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::Shared;
use super::stores::{ANNOUNCEMENTS, CONFIGURATION, Touched};

/// Publishes a verdict for every change, from the moment on when all kinds are complete.
pub(super) async fn follow(
    mut changes: SelectAll<BoxStream<'static, Touched>>,
    mut questions: UnboundedReceiver<oneshot::Sender<()>>,
    shared: Arc<Shared>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut pools = Pools::new(shared.settings.backend, shared.settings.ignore_exclude_label);
    let mut missing = BTreeSet::from(CONFIGURATION);
    // Addresses do not wait for these.
    let mut unknown = BTreeSet::from(ANNOUNCEMENTS);
    let mut asked = Vec::new();
    let mut search = Search::default();
    loop {
        // Cancel-safe, all of them.
        let mut next = tokio::select! {
            change = changes.next() => match change {
                Some(change) => Some(change),
                None => break,
            },
            Some(question) = questions.recv() => {
                asked.push(question);
                None
            }
            () = &mut search.running => {
                pools.drop_gone(&search.names);
                None
            }
        };
        // Changes that wait already need no parse of their own.
        while let Some(change) = next {
            if let Touched::Ready(kind) = change {
                unknown.remove(kind);
                missing.remove(kind);
                health.ready(kind);
            }
            next = changes.next().now_or_never().flatten();
        }
        if missing.is_empty() {
            shared.metrics.updates.inc();
            let load = || publish(&shared, &pools.load(&shared.stores.resources(unknown.is_empty())));
            shared.metrics.configuration.observe(load);
            shared.recount.notify_one();
            search.follow(pools.gone(), &shared);
            if pools.gone().is_empty() {
                for question in asked.drain(..) {
                    // Whoever asked may have lost the lease meanwhile.
                    let _ = question.send(());
                }
            }
        }
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the watches of the configuration ended")
}

/// The search for what may have replaced pools that are gone.
///
/// A user replaces a pool by one of the other kind: makes the new one, then deletes the old one. That comes by two
/// watches, so the deletion may be seen first. Addresses in use stay until it is known that there is no successor.
struct Search {
    /// Gone since before it began.
    names: BTreeSet<String>,
    running: Fuse<BoxFuture<'static, ()>>,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            names: BTreeSet::new(),
            running: Fuse::terminated(),
        }
    }
}

impl Search {
    /// Searches for the successors of these pools, if it is not busy with some of them already.
    fn follow(&mut self, gone: &BTreeSet<String>, shared: &Arc<Shared>) {
        // One that came back and goes again needs a search that begins after that.
        self.names.retain(|name| gone.contains(name));
        if !self.running.is_terminated() || gone.is_empty() {
            return;
        }
        self.names.clone_from(gone);
        let shared = Arc::clone(shared);
        let search = async move { shared.stores.catch_up_pools(&shared.client).await };
        self.running = search.boxed().fuse();
    }
}

/// Waits until the verdict is on what the stores have at the time of the call, or on something newer.
pub(super) async fn judge_again(shared: &Shared) -> anyhow::Result<()> {
    let (question, answer) = oneshot::channel();
    let asked = shared.asked.send(question).is_ok() && answer.await.is_ok();
    ensure!(asked, "the configuration is followed no more");
    Ok(())
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

#[cfg(test)]
mod tests;
