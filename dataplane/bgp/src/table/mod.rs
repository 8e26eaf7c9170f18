//! The routes of all peers: one table, which each peer reads from where it left off.
//!
//! ```text
//! entries:  10.0.0.1/32 ─► version 7, paths      log:  4 ─► 10.0.0.2/32    cursors:  peer a ─► 7
//!           10.0.0.2/32 ─► version 4, paths            7 ─► 10.0.0.1/32              peer b ─► 4
//!           10.0.0.3/32 ─► version 9, no path          9 ─► 10.0.0.3/32
//! ```
//!
//! The log has each prefix at its latest version only, so it never grows beyond the table, however slow a reader is. A
//! withdrawn prefix stays until every reader has passed it.

mod intern;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ipnet::IpNet;

use self::intern::Interner;
use crate::{Attributes, Path, RouteChange};

/// A prefix with what one peer should be told about it: attributes, or to forget it.
pub type PeerRoute = (IpNet, Option<Arc<Attributes>>);

/// Names a reader of a [`RouteTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(u64);

/// Holds what is announced, for all peers at once.
#[derive(Debug, Default)]
pub struct RouteTable {
    entries: HashMap<IpNet, Entry>,
    log: BTreeMap<u64, IpNet>,
    /// The versions of entries without paths.
    tombstones: BTreeSet<u64>,
    version: u64,
    /// The version up to which each reader has read.
    cursors: BTreeMap<ReaderId, u64>,
    readers: u64,
    attributes: Interner,
    known: bool,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    paths: Box<[Path]>,
}

impl RouteTable {
    /// Takes a change in; tells whether it is one.
    pub fn change(&mut self, change: RouteChange) -> bool {
        let prefix = change.prefix.trunc();
        let known = self.entries.get(&prefix);
        if known.map_or(&[][..], |entry| &entry.paths) == change.paths {
            return false;
        }
        if let Some(entry) = known {
            self.log.remove(&entry.version);
            self.tombstones.remove(&entry.version);
        }
        self.version += 1;
        let shared = change.paths.into_iter().map(|path| Path {
            attributes: self.attributes.share(path.attributes),
            ..path
        });
        let entry = Entry {
            version: self.version,
            paths: shared.collect(),
        };
        if entry.paths.is_empty() {
            self.tombstones.insert(entry.version);
        }
        self.log.insert(entry.version, prefix);
        self.entries.insert(prefix, entry);
        self.drop_passed_tombstones();
        true
    }

    /// Marks the table as complete for the first time: until then readers get nothing, since "nothing to announce" differs
    /// from "not known yet" (RFC 4724 §2: End-of-RIB must not be sent too early). Tells whether that is news.
    pub fn set_known(&mut self) -> bool {
        !std::mem::replace(&mut self.known, true)
    }

    /// Returns how many prefixes are announced.
    pub fn len(&self) -> usize {
        self.entries.len() - self.tombstones.len()
    }

    /// Tells whether nothing is announced.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a reader, which has read nothing yet.
    pub fn add_reader(&mut self) -> ReaderId {
        let id = ReaderId(self.readers);
        self.readers += 1;
        self.cursors.insert(id, 0);
        id
    }

    /// Removes a reader, for which nothing is kept from now on.
    pub fn remove_reader(&mut self, reader: ReaderId) {
        self.cursors.remove(&reader);
        self.drop_passed_tombstones();
    }

    /// Returns what changed for `peer` since `reader` read last; `None` while the table is not known, or for a reader
    /// that was removed.
    pub fn read(&mut self, reader: ReaderId, peer: &str) -> Option<Vec<PeerRoute>> {
        if !self.known {
            return None;
        }
        let cursor = self.cursors.get_mut(&reader)?;
        let since = std::mem::replace(cursor, self.version);
        let mut routes = Vec::new();
        for prefix in self.log.range(since + 1..).map(|(_, prefix)| *prefix) {
            let paths = self.entries.get(&prefix).map_or(&[][..], |entry| &entry.paths);
            // A reader that has read nothing has nothing to withdraw.
            if since > 0 || !paths.is_empty() {
                routes.push((prefix, for_peer(paths, peer, &mut self.attributes)));
            }
        }
        self.drop_passed_tombstones();
        Some(routes)
    }

    /// Forgets the withdrawn prefixes that every reader has passed.
    fn drop_passed_tombstones(&mut self) {
        let passed = self.cursors.values().min().copied().unwrap_or(self.version);
        while let Some(version) = self.tombstones.first().copied().filter(|version| *version <= passed) {
            self.tombstones.pop_first();
            if let Some(prefix) = self.log.remove(&version) {
                self.entries.remove(&prefix);
            }
        }
    }
}

/// Makes one path of all that are meant for a peer.
fn for_peer(paths: &[Path], peer: &str, known: &mut Interner) -> Option<Arc<Attributes>> {
    let mut meant = paths.iter().filter(|path| path.is_for(peer));
    let first = &meant.next()?.attributes;
    let Some(second) = meant.next() else {
        return Some(Arc::clone(first));
    };
    let mut merged = Attributes::clone(first);
    std::iter::once(second)
        .chain(meant)
        .for_each(|path| merged.merge(&path.attributes));
    Some(known.share(Arc::new(merged)))
}
