//! `explain`: why something is as it is.

pub(crate) mod announcers;
mod explanation;
mod service;
mod text;

use std::collections::BTreeSet;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use metallb_ipam::is_of_class;

use crate::args::{Explain, Global};
use crate::ask::{self, LAYER2, ROUTES, SESSIONS};
use crate::facts::Facts;
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, print};
use crate::table::Style;
use crate::world::World;

pub(crate) async fn run(global: &Global, what: &Explain) -> Printed {
    let mut facts = input::read(global, Wanted::Everything).await?;
    let world = World::new(&facts, global).map_err(Failure::Usage)?;
    let Explain::Svc { name } = what;
    if let Some(paths) = questions(&facts, &world, global.named(&facts, name)) {
        ask::speakers(global, &mut facts, &paths, None).await;
    }
    let (namespace, name) = global.named(&facts, name);
    // Without any of these the question cannot be answered.
    let needed = [
        ("Services", facts.services.why_not()),
        ("IPAddressPools", facts.pools.why_not()),
        ("AddressPools", facts.address_pools.why_not()),
        ("L2Advertisements", facts.l2_advertisements.why_not()),
        ("BGPAdvertisements", facts.bgp_advertisements.why_not()),
        ("BGPPeers", facts.peers.why_not()),
        ("Communities", facts.communities.why_not()),
    ];
    if let Some((what, why)) = needed.into_iter().find_map(|(what, why)| Some((what, why?))) {
        return Err(Failure::Cluster(anyhow!("{what} cannot be listed: {why}")));
    }
    let Some(report) = service::report(&facts, &world, namespace, name) else {
        return Err(Failure::Usage(anyhow!(
            "there is no Service {namespace}/{name} of type LoadBalancer"
        )));
    };
    let report = report.judged(global.fail_on);
    let text = print(
        &report,
        global.output,
        |style| text::text(&report, style),
        Style::of(global),
    );
    Ok((text.map_err(Failure::Usage)?, report.exit_code))
}

/// What speakers are to be asked about a Service, if it is ours: of routes those alone that it may have.
fn questions(facts: &Facts, world: &World, (namespace, name): (&str, &str)) -> Option<Vec<String>> {
    let same = |service: &&Service| service.name_any() == name && service.namespace().as_deref() == Some(namespace);
    let service = facts.services.list().iter().find(same)?;
    if !is_of_class(service, &world.settings.class) {
        return None;
    }
    let due = announcers::due(facts, service, world);
    let prefixes: BTreeSet<_> = due.into_iter().map(|due| due.route.prefix).collect();
    let routes = prefixes.iter().map(|prefix| format!("{ROUTES}?prefix={prefix}"));
    Some(
        [SESSIONS, LAYER2]
            .map(str::to_owned)
            .into_iter()
            .chain(routes)
            .collect(),
    )
}

#[cfg(test)]
mod tests;
