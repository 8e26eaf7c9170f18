//! Who takes part in elections: members, and what is known of their Nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metallb_announce::NodeView;

use crate::member::Statements;

/// Nodes that take part in elections differently than before.
#[derive(Debug, Default)]
pub(crate) struct Movement {
    /// May be candidates now.
    pub(crate) came: BTreeSet<Arc<str>>,
    /// May be candidates no longer.
    pub(crate) gone: BTreeSet<Arc<str>>,
}

impl Movement {
    pub(crate) fn is_empty(&self) -> bool {
        self.came.is_empty() && self.gone.is_empty()
    }

    fn note(&mut self, node: &Arc<str>, before: bool, after: bool) {
        if before != after {
            let names = if after { &mut self.came } else { &mut self.gone };
            names.insert(Arc::clone(node));
        }
    }
}

/// All nodes, seen by the API server and by the membership.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// Whether only members are candidates.
    pub(crate) membership: bool,
    /// `--ignore-exclude-lb`.
    pub(crate) ignore_exclude_label: bool,
    pub(crate) views: BTreeMap<Arc<str>, NodeView>,
    pub(crate) members: Option<BTreeSet<Arc<str>>>,
    /// Nodes that may be gone.
    pub(crate) suspects: BTreeSet<Arc<str>>,
    /// Those that do not know it.
    pub(crate) unaware: BTreeSet<String>,
    pub(crate) statements: Statements,
}

impl Nodes {
    /// Takes in a Node; tells whether something about it changed that counts.
    pub(crate) fn set(&mut self, name: &str, view: Option<NodeView>, movement: &mut Movement) -> bool {
        let name: Arc<str> = name.into();
        let before = match view {
            Some(view) => self.views.insert(Arc::clone(&name), view),
            None => self.views.remove(&name),
        };
        movement.note(&name, self.takes_part(before), self.takes_part(view));
        before.unwrap_or_default() != view.unwrap_or_default()
    }

    pub(crate) fn may_own(&self, name: &str) -> bool {
        self.takes_part(self.views.get(name).copied()) && !self.suspects.contains(name)
    }

    /// A member whose Node object is not known takes part: membership saw it alive.
    fn takes_part(&self, view: Option<NodeView>) -> bool {
        view.map_or(self.membership, |view| {
            view.excluded_by(self.ignore_exclude_label).is_none()
        })
    }

    pub(crate) fn set_members(&mut self, members: BTreeSet<String>, movement: &mut Movement) {
        let members: BTreeSet<Arc<str>> = members.into_iter().map(Into::into).collect();
        let before = self.members.replace(members).unwrap_or_default();
        if !self.membership {
            return;
        }
        let now = self.members.as_ref().into_iter().flatten();
        for node in now.filter(|node| !before.contains(*node)) {
            movement.note(node, false, true);
        }
        let still = |node: &Arc<str>| self.members.as_ref().is_some_and(|now| now.contains(node));
        for node in before.iter().filter(|node| !still(node)) {
            movement.note(node, true, false);
        }
    }

    /// Takes in that members have changed, or what they say.
    pub(crate) fn agree(&mut self, movement: &mut Movement) {
        let members = self.members.as_ref().filter(|_| self.membership);
        for node in self.statements.agree(members) {
            movement.gone.insert(Arc::clone(&node));
            movement.came.insert(node);
        }
    }

    /// Who is suspected moves to the end of the order, and back.
    pub(crate) fn set_suspects(&mut self, suspects: BTreeSet<String>, movement: &mut Movement) {
        let suspects = suspects.into_iter().map(Into::into).collect();
        let before = std::mem::replace(&mut self.suspects, suspects);
        for node in before.symmetric_difference(&self.suspects) {
            movement.gone.insert(Arc::clone(node));
            movement.came.insert(Arc::clone(node));
        }
    }
}
