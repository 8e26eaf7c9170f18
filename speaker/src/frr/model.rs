//! What is desired, in the engine's vocabulary.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use metallb_announce::Path;
use metallb_dataplane::bgp::Posture;
use metallb_engine::Peers;

use crate::backend::Change;

/// Everything the engine has told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(super) peers: Peers,
    pub(super) routes: BTreeMap<IpNet, Vec<Arc<Path>>>,
    /// The user's own lines; `None` while it is not known whether there are any.
    pub(super) extras: Option<String>,
    /// How the routes are shown to routers.
    pub(super) posture: Posture,
    known: bool,
}

impl Model {
    /// Applies a change; returns whether the configuration may differ.
    pub(super) fn apply(&mut self, change: Change) -> bool {
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

    pub(super) fn set_extras(&mut self, lines: Option<&str>) -> bool {
        let lines = Some(lines.unwrap_or_default());
        let news = self.extras.as_deref() != lines;
        self.extras = lines.map(str::to_owned);
        news
    }

    /// Tells whether the model is complete. Before that, writing it would withdraw what is not known yet.
    pub(super) fn is_known(&self) -> bool {
        self.known && self.extras.is_some()
    }
}
