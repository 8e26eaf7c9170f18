//! What is desired, in the engine's vocabulary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use metallb_announce::Path;
use metallb_dataplane::bgp::Posture;
use metallb_engine::Peers;
use tokio::sync::watch;

use crate::backend::Change;

/// Everything the engine has told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(super) peers: Peers,
    pub(super) routes: BTreeMap<IpNet, Vec<Arc<Path>>>,
    /// The user's own lines; `None` while it is not known whether there are any.
    extras: Option<String>,
    /// How the routes are shown to routers.
    pub(super) posture: Posture,
    known: bool,
}

impl Model {
    /// Applies a change; returns whether the configuration may differ.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Peers(peers) => {
                let news = self.peers != peers;
                self.peers = peers;
                news
            }
            Change::Routes(changes) => {
                for change in changes {
                    match change.paths.is_empty() {
                        true => drop(self.routes.remove(&change.prefix)),
                        false => drop(self.routes.insert(change.prefix, change.paths)),
                    }
                }
                true
            }
            Change::Known => !std::mem::replace(&mut self.known, true),
            Change::Show(posture) => std::mem::replace(&mut self.posture, posture) != posture,
        }
    }

    pub(crate) fn set_extras(&mut self, lines: Option<&str>) -> bool {
        let lines = Some(lines.unwrap_or_default());
        let news = self.extras.as_deref() != lines;
        self.extras = lines.map(str::to_owned);
        news
    }

    /// The user's own lines.
    pub(crate) fn extras(&self) -> &str {
        self.extras.as_deref().unwrap_or_default()
    }

    /// Tells whether the model is complete. Before that, writing it would withdraw what is not known yet.
    pub(crate) fn is_known(&self) -> bool {
        self.known && self.extras.is_some()
    }
}

/// The model, between the shell that changes it and the task that configures FRR; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    model: Arc<Mutex<Model>>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            model: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Takes in what is desired; never waits.
    pub(crate) fn apply(&self, change: Change) {
        self.change(|model| model.apply(change));
    }

    /// Takes in the user's own lines; `None` if there are none.
    pub(crate) fn set_extras(&self, lines: Option<&str>) {
        self.change(|model| model.set_extras(lines));
    }

    fn change(&self, change: impl FnOnce(&mut Model) -> bool) {
        // A panic while it was held leaves out a prefix at worst.
        let news = change(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner));
        if news {
            self.changed.send_replace(());
        }
    }

    /// Copies the model, so that changes need not wait until it is rendered; `None` while it is not complete.
    pub(crate) fn known(&self) -> Option<Model> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.is_known().then(|| model.clone())
    }

    /// Tells when there is something new.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
