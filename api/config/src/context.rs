//! What the parsers of the kinds share.

use std::collections::BTreeMap;

use crate::error::{Findings, ObjectRef};
use crate::model::Peer;
use crate::resources::{Change, Labelled, Objects, Options, Resources};
use crate::rule::Rule;
use crate::selector::Selector;

/// What the parsers of the kinds share.
pub(crate) struct Context<'a> {
    pub(crate) objects: Objects<'a>,
    pub(crate) resources: &'a Resources,
    pub(crate) options: &'a Options,
    pub(crate) nodes: Labelled<'a>,
    pub(crate) namespaces: Labelled<'a>,
    /// The peers in use so far.
    pub(crate) running: &'a BTreeMap<String, Peer>,
}

impl Context<'_> {
    /// Tells whether the configuration is used, or only what was found on the way.
    pub(crate) fn wants_config(&self) -> bool {
        self.objects.change.is_none()
    }

    /// Tells whether pools and advertisements matter. To judge a peer, a profile or aliases they do for F-4 alone.
    pub(crate) fn wants_pools(&self) -> bool {
        let apart = |change: &Change<'_>| ["BGPPeer", "BFDProfile", "Community"].contains(&change.object.kind.as_str());
        self.wants_announcements() || !self.objects.change.is_some_and(apart)
    }

    /// Tells whether it matters which announcements a pool has. To judge a change it does for F-4 alone.
    pub(crate) fn wants_announcements(&self) -> bool {
        let echo = || {
            self.objects
                .ours(|all| &all.bfd_profiles)
                .any(|profile| profile.spec.echo_mode)
        };
        self.wants_config() || (self.options.backend.is_frr() && echo())
    }

    /// Warns of selectors that select none of the Nodes (W-10). Without any Node nothing is known.
    pub(crate) fn warn_of_no_node(
        &self,
        object: &ObjectRef,
        selectors: &[Selector],
        consequence: &str,
        findings: &mut Findings,
    ) {
        let known = !self.resources.nodes.is_empty() && !selectors.is_empty();
        if known && self.nodes.matching_or_all(selectors).next().is_none() {
            let reason = format!("no Node matches, so {consequence}");
            findings.warn(Rule::W10, object, "spec.nodeSelectors", reason);
        }
    }

    /// Refuses to admit names that no object can have (M-3). A stored object that has one stays in use: that name matches
    /// nothing, the others in the list do.
    pub(crate) fn check_names(&self, object: &ObjectRef, field: &str, names: &[String], findings: &mut Findings) {
        if self.options.strict() {
            findings.refuse_control_characters_in(object, field, names);
        }
    }

    /// The same of a single name.
    pub(crate) fn check_name(&self, object: &ObjectRef, field: &str, name: Option<&str>, findings: &mut Findings) {
        if self.options.strict() {
            findings.refuse_control_characters(object, field, name.unwrap_or_default());
        }
    }
}
