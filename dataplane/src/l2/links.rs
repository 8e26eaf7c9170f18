//! Keeps the selection of interfaces up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use metallb_l2::{EthernetAddress, Link, LinkFacts, Selection, Unusable, select};
use metallb_net::LinkMonitor;
use tokio::{sync::watch, time};

use super::Command;
use crate::mailbox::Mailbox;

/// Safety net for changes of which no message came.
const RESCAN: Duration = Duration::from_secs(10);
/// Changes come in flocks; one listing serves those of so long a time.
const SETTLE: Duration = Duration::from_millis(10);

/// Lists, selects and publishes.
pub(super) struct Task {
    pub(super) exclude: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub(super) announcer: Mailbox<Command>,
    pub(super) known: watch::Sender<BTreeSet<String>>,
    pub(super) usable: watch::Sender<BTreeSet<String>>,
    pub(super) macs: watch::Sender<BTreeMap<String, EthernetAddress>>,
}

impl Task {
    pub(super) async fn run(self, monitor: LinkMonitor) {
        let mut told = Selection::default();
        let mut monitor = Some(monitor);
        loop {
            if let Some(working) = monitor.take() {
                monitor = self.watch(working, &mut told).await;
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
    async fn watch(&self, mut monitor: LinkMonitor, told: &mut Selection) -> Option<LinkMonitor> {
        match monitor.list().await {
            Ok(links) => self.publish(&links, told),
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

    fn publish(&self, links: &[LinkFacts], told: &mut Selection) {
        let selection = select(links, &*self.exclude);
        // Whoever learns of an interface and announces on it finds that the thread knows it, too.
        if selection != *told {
            told.clone_from(&selection);
            self.announcer.send(Command::Links(selection.clone()));
        }
        let links = selection.links.iter();
        replace(&self.macs, links.map(|link| (link.name.clone(), link.mac)).collect());
        // Whoever learns that interfaces exist finds out at once which of them can be used.
        replace(
            &self.usable,
            selection.links.iter().map(|link| link.name.clone()).collect(),
        );
        replace(&self.known, selection.known);
    }
}

fn replace<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|current| {
        let changed = *current != value;
        *current = value;
        changed
    });
}

/// Logs which interfaces answer from now on, and which no longer do.
pub(super) fn log_differences(before: &Selection, after: &Selection) {
    for link in newly(before, after, |link| Some(link.mac)) {
        let (interface, mac) = (&link.name, link.mac);
        tracing::info!(event = "createARPResponder", interface, %mac, "interface announces");
    }
    for link in newly(before, after, |link| link.link_local.map(|_| link.mac)) {
        let (interface, mac) = (&link.name, link.mac);
        tracing::info!(event = "createNDPResponder", interface, %mac, "interface announces IPv6 addresses");
    }
    for link in lost(before, after, |_| true) {
        let (interface, reason) = (&link.name, why_unusable(after, &link.name));
        tracing::info!(
            event = "deleteARPResponder",
            interface,
            reason,
            "interface no longer announces"
        );
    }
    for link in lost(before, after, |link| link.link_local.is_some()) {
        let interface = &link.name;
        tracing::info!(
            event = "deleteNDPResponder",
            interface,
            "interface no longer announces IPv6 addresses"
        );
    }
    let odd = |(_, reason): &&(String, Unusable)| *reason == Unusable::HardwareAddress;
    let unknown = |entry: &&(String, Unusable)| !before.unusable.contains(entry);
    for (interface, _) in after.unusable.iter().filter(odd).filter(unknown) {
        tracing::warn!(
            interface,
            "hardware address is not that of Ethernet, cannot announce there"
        );
    }
}

/// The links that answer at an address at which they did not.
fn newly<'a>(
    before: &'a Selection,
    after: &'a Selection,
    answers: impl Fn(&Link) -> Option<EthernetAddress> + Copy + 'a,
) -> impl Iterator<Item = &'a Link> {
    let identity = move |link: &Link| answers(link).map(|mac| (link.index, link.name.clone(), mac));
    let known = move |link: &Link| before.links.iter().any(|other| identity(other) == identity(link));
    let answering = after.links.iter().filter(move |link| answers(link).is_some());
    answering.filter(move |link| !known(link))
}

/// The links that no longer answer.
fn lost<'a>(
    before: &'a Selection,
    after: &'a Selection,
    answers: impl Fn(&Link) -> bool + Copy + 'a,
) -> impl Iterator<Item = &'a Link> {
    let still = move |link: &Link| {
        after
            .links
            .iter()
            .any(|other| other.name == link.name && answers(other))
    };
    before.links.iter().filter(move |link| answers(link) && !still(link))
}

fn why_unusable(selection: &Selection, name: &str) -> &'static str {
    let entry = selection.unusable.iter().find(|(other, _)| other == name);
    entry.map_or("gone", |(_, reason)| reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(links: &[(&str, Option<&str>)]) -> Selection {
        let link = |(index, (name, link_local)): (u32, &(&str, Option<&str>))| Link {
            index,
            name: (*name).to_owned(),
            mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            carrier_ups: 1,
            link_local: link_local.map(|ip| ip.parse().unwrap()),
        };
        Selection {
            links: (1..).zip(links).map(link).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn only_what_changes_is_told_and_each_protocol_for_itself() {
        let (mute, speaking) = (selection(&[("eth0", None)]), selection(&[("eth0", Some("fe80::1"))]));
        let arp = |link: &Link| Some(link.mac);
        let ndp = |link: &Link| link.link_local.map(|_| link.mac);
        assert_eq!(newly(&Selection::default(), &mute, arp).count(), 1);
        assert_eq!(newly(&Selection::default(), &mute, ndp).count(), 0);
        assert_eq!(newly(&mute, &speaking, arp).count(), 0);
        assert_eq!(newly(&mute, &speaking, ndp).count(), 1);
        assert_eq!(lost(&speaking, &mute, |_| true).count(), 0);
        assert_eq!(lost(&speaking, &mute, |link| link.link_local.is_some()).count(), 1);
        assert_eq!(lost(&speaking, &Selection::default(), |_| true).count(), 1);
    }
}
