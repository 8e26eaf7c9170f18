//! The one table of routes, shared by the handle that changes it and the peers that read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metallb_bgp::{PeerRoute, ReaderId, RouteChange, RouteTable};
use tokio::sync::watch;

/// Changes the table.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    table: Arc<Mutex<RouteTable>>,
    changed: watch::Sender<()>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            table: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn change(&self, changes: Vec<RouteChange>) {
        let mut table = lock(&self.table);
        let mut news = false;
        for change in changes {
            news |= table.change(change);
        }
        drop(table);
        if news {
            self.changed.send_replace(());
        }
    }

    pub(super) fn known(&self) {
        if lock(&self.table).set_known() {
            self.changed.send_replace(());
        }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader {
            id: lock(&self.table).add_reader(),
            table: Arc::clone(&self.table),
            changed: self.changed.subscribe(),
        }
    }
}

/// Reads the table from where it left off; keeps its place in it until dropped.
#[derive(Debug)]
pub(super) struct Reader {
    id: ReaderId,
    table: Arc<Mutex<RouteTable>>,
    changed: watch::Receiver<()>,
}

impl Reader {
    /// Waits until there may be something to read; fails when the last [`Routes`] is gone. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.changed.changed().await
    }

    /// Returns what changed for `peer`; `None` while the table is not known.
    pub(super) fn read(&mut self, peer: &str) -> Option<Vec<PeerRoute>> {
        // Later changes notify again.
        self.changed.mark_unchanged();
        lock(&self.table).read(self.id, peer)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.table).remove_reader(self.id);
    }
}

/// A panic while the table was locked leaves a prefix half entered at worst, and must not end the other tasks.
fn lock(table: &Mutex<RouteTable>) -> MutexGuard<'_, RouteTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
