//! From resources to configuration.

use std::collections::BTreeMap;

use crate::advertisement;
use crate::bfd;
use crate::community::Aliases;
use crate::error::{Findings, ObjectRef, Refused, Warning};
use crate::model::{Config, Peer};
use crate::peer;
use crate::pool;
use crate::resources::{Change, Labelled, Objects, Options, Resources};
use crate::rule::Rule;
use crate::selector::Selector;

/// What parsing yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// Everything that can be used.
    pub config: Config,
    /// Everything that cannot, in the order of kind and name.
    pub refused: Vec<Refused>,
    /// Everything that is odd, in the order of kind and name.
    pub warnings: Vec<Warning>,
}

/// What is to be said about a changed object: what it takes part in, and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Everything that cannot be used, in the order of kind and name.
    pub refused: Vec<Refused>,
    /// Everything that is odd, in the order of kind and name.
    pub warnings: Vec<Warning>,
}

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
    fn wants_pools(&self) -> bool {
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
}

impl Context<'_> {
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

/// Parses all resources into the usable configuration and the list of what was refused.
///
/// One bad object never disables the others. Of two objects that exclude each other the older one stays (creation
/// time, then name). The outcome does not depend on the order of the lists.
#[must_use]
pub fn parse(resources: &Resources, options: &Options) -> Parsed {
    parse_beside(resources, options, &BTreeMap::new())
}

/// Parses like [`parse`], but of two peers that exclude each other the one stays that is in use already.
pub(crate) fn parse_beside(resources: &Resources, options: &Options, running: &BTreeMap<String, Peer>) -> Parsed {
    let change = None;
    parse_objects(Objects { resources, change }, options, running)
}

/// Says what is wrong with an object as it would be after a change.
///
/// That is what [`parse`] would say of the object if the change were made, but without copying the resources and
/// without reading those that cannot take part.
#[must_use]
pub fn judge_change(resources: &Resources, change: &Change<'_>, options: &Options) -> Judged {
    let me = &change.object;
    let change = Some(change);
    let mut parsed = parse_objects(Objects { resources, change }, options, &BTreeMap::new());
    parsed.refused.retain(|refused| refused.concerns(me));
    parsed.warnings.retain(|warning| warning.object == *me);
    Judged {
        refused: parsed.refused,
        warnings: parsed.warnings,
    }
}

fn parse_objects(objects: Objects<'_>, options: &Options, running: &BTreeMap<String, Peer>) -> Parsed {
    let resources = objects.resources;
    let mut nodes = Labelled::of(&resources.nodes);
    // Before our own Node was seen it counts as one without labels.
    if let Some(node) = options.node() {
        nodes.ensure(node);
    }
    let context = Context {
        objects,
        resources,
        options,
        nodes,
        namespaces: Labelled::of(&resources.namespaces),
        running,
    };
    let mut findings = Findings::default();
    let aliases = Aliases::parse(&context, &mut findings);
    let mut pools = if context.wants_pools() {
        pool::parse(&context, &mut findings)
    } else {
        Vec::new()
    };
    let bfd_profiles = bfd::parse(&context, &mut findings);
    let peers = peer::parse(&context, &bfd_profiles, &mut findings);
    if context.wants_pools() {
        advertisement::attach(&context, &aliases, &mut pools, &mut findings);
    }
    let config = Config {
        pools: pools
            .into_iter()
            .map(|candidate| (candidate.pool.name.clone(), candidate.pool))
            .collect(),
        peers,
        bfd_profiles,
    };
    bfd::check_echo(&context, &config, &mut findings);
    let Findings {
        mut refused,
        mut warnings,
    } = findings;
    refused.sort();
    warnings.sort();
    Parsed {
        config,
        refused,
        warnings,
    }
}
