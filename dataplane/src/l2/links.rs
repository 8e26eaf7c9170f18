//! Keeps the selection of interfaces up to date.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use metallb_l2::{LinkFacts, Selection, Unusable, select};
use metallb_net::LinkMonitor;
use tokio::{sync::watch, time};

/// Safety net for changes of which no message came.
const RESCAN: Duration = Duration::from_secs(10);
/// Changes come in flocks; one listing serves those of so long a time.
const SETTLE: Duration = Duration::from_millis(10);

/// Lists, selects and publishes.
pub(super) struct Task {
    pub(super) exclude: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub(super) selection: watch::Sender<Selection>,
    pub(super) known: watch::Sender<BTreeSet<String>>,
    pub(super) usable: watch::Sender<BTreeSet<String>>,
}

impl Task {
    pub(super) async fn run(self, monitor: LinkMonitor) {
        let mut monitor = Some(monitor);
        loop {
            if let Some(working) = monitor.take() {
                monitor = self.watch(working).await;
            } else {
                monitor = LinkMonitor::open()
                    .inspect_err(|error| tracing::error!(%error, "cannot watch links"))
                    .ok();
            }
            if monitor.is_none() {
                time::sleep(RESCAN).await;
            }
        }
    }

    /// Lists once and waits for the next reason to list again; returns the monitor if it still works.
    async fn watch(&self, mut monitor: LinkMonitor) -> Option<LinkMonitor> {
        match monitor.list().await {
            Ok(links) => self.publish(&links),
            // What was known stays in force: announcing on a link that may be gone beats announcing nowhere.
            Err(error) => {
                tracing::error!(%error, "interfaces unknown, keeping the last known ones");
                return None;
            }
        }
        // Cancel-safe: a change that is dropped here is caught by the listing that follows in any case.
        match time::timeout(RESCAN, monitor.changed()).await {
            Ok(false) => None,
            Ok(true) => {
                time::sleep(SETTLE).await;
                Some(monitor)
            }
            Err(_) => Some(monitor),
        }
    }

    fn publish(&self, links: &[LinkFacts]) {
        let selection = select(links, &*self.exclude);
        replace(&self.known, selection.known.clone());
        replace(
            &self.usable,
            selection.links.iter().map(|link| link.name.clone()).collect(),
        );
        replace(&self.selection, selection);
    }
}

fn replace<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|current| {
        let changed = *current != value;
        *current = value;
        changed
    });
}

/// Logs which interfaces announce from now on, and which no longer do.
pub(super) fn log_differences(before: &Selection, after: &Selection) {
    let same = |a: &metallb_l2::Link, b: &metallb_l2::Link| (a.index, &a.name, a.mac) == (b.index, &b.name, b.mac);
    let is_new = |link: &&metallb_l2::Link| !before.links.iter().any(|known| same(known, link));
    for link in after.links.iter().filter(is_new) {
        tracing::info!(event = "createARPResponder", interface = link.name, mac = %link.mac, "interface announces");
    }
    let still = |name: &str| after.links.iter().any(|link| link.name == name);
    for link in before.links.iter().filter(|link| !still(&link.name)) {
        let reason = after
            .unusable
            .iter()
            .find(|(name, _)| *name == link.name)
            .map_or("gone", |(_, r)| r.as_str());
        tracing::info!(
            event = "deleteARPResponder",
            interface = link.name,
            reason,
            "interface no longer announces"
        );
    }
    let odd = |(_, reason): &&(String, Unusable)| *reason == Unusable::HardwareAddress;
    for (name, _) in after
        .unusable
        .iter()
        .filter(odd)
        .filter(|entry| !before.unusable.contains(entry))
    {
        tracing::warn!(
            interface = name,
            "hardware address is not that of Ethernet, cannot announce there"
        );
    }
}
