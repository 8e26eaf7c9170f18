//! From resources to configuration.

use std::collections::BTreeMap;

use crate::advertisement;
use crate::bfd;
use crate::community::Aliases;
use crate::context::Context;
use crate::error::{Findings, Refused, Warning};
use crate::model::{Config, Peer};
use crate::peer;
use crate::pool;
use crate::resources::{Change, Labelled, Objects, Options, Resources};

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
