//! Sessions grouped by router and neighbour, in the order of the file, and the `router bgp` blocks.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    Attributes, Endpoint, Neighbour, RemoteAs, Router, Session, Text, filters::Family, lines::line, word::Device,
};

/// The prefix of a neighbour's route-map and prefix list names; upstream's, because users refer to them.
pub(crate) struct Id<'a> {
    endpoint: &'a Endpoint,
    vrf: Option<&'a Device>,
}

impl Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        match self.vrf {
            Some(vrf) => write!(f, "-{vrf}"),
            None => Ok(()),
        }
    }
}

/// What is announced to a neighbour, sorted by the text of the prefix.
pub(crate) type Told = Vec<(IpNet, Attributes)>;

/// A neighbour of a router.
pub(crate) struct Known<'a> {
    pub(crate) id: Id<'a>,
    neighbour: &'a Neighbour,
    pub(crate) told: Told,
}

/// A router with its neighbours.
pub(crate) struct Instance<'a> {
    router: &'a Router,
    pub(crate) neighbours: Vec<Known<'a>>,
}

/// Groups sessions, in the order of upstream's keys.
pub(crate) fn instances(sessions: &[Session]) -> Vec<Instance<'_>> {
    let mut routers: BTreeMap<String, BTreeMap<String, Vec<&Session>>> = BTreeMap::new();
    for session in sessions {
        let neighbours = routers.entry(router_key(&session.router)).or_default();
        neighbours.entry(neighbour_key(session)).or_default().push(session);
    }
    routers.values().filter_map(instance).collect()
}

fn router_key(router: &Router) -> String {
    let id = router.id.map_or_else(|| "<nil>".to_owned(), |id| id.to_string());
    format!("{}@{id}@{}", router.asn, vrf(router))
}

fn neighbour_key(session: &Session) -> String {
    let Neighbour { remote, endpoint, .. } = &session.neighbour;
    format!("{remote}@{endpoint}@{}", vrf(&session.router))
}

fn vrf(router: &Router) -> String {
    router.vrf.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn instance<'a>(neighbours: &BTreeMap<String, Vec<&'a Session>>) -> Option<Instance<'a>> {
    let router = &neighbours.first_key_value()?.1.first()?.router;
    Some(Instance {
        router,
        neighbours: neighbours.values().filter_map(|sessions| known(sessions)).collect(),
    })
}

fn known<'a>(sessions: &[&'a Session]) -> Option<Known<'a>> {
    let Session { router, neighbour, .. } = sessions.first()?;
    let mut told = BTreeMap::<String, (IpNet, Attributes)>::new();
    let routes = sessions.iter().flat_map(|session| &session.routes);
    for (prefix, attributes) in routes.filter(|(prefix, _)| neighbour.carries(**prefix)) {
        let prefix = prefix.trunc();
        let known = told
            .entry(prefix.to_string())
            .or_insert_with(|| (prefix, Attributes::default()));
        known.1.merge(attributes);
    }
    Some(Known {
        id: Id {
            endpoint: &neighbour.endpoint,
            vrf: router.vrf.as_ref(),
        },
        neighbour,
        told: told.into_values().collect(),
    })
}

/// Writes the block of a router.
pub(crate) fn write(text: &mut Text, instance: &Instance<'_>) {
    let router = instance.router;
    match &router.vrf {
        Some(vrf) => line!(text, "router bgp {} vrf {vrf}", router.asn),
        None => line!(text, "router bgp {}", router.asn),
    }
    line!(text, "  no bgp ebgp-requires-policy");
    line!(text, "  no bgp network import-check");
    line!(text, "  no bgp default ipv4-unicast");
    line!(text, "  bgp graceful-restart preserve-fw-state");
    if let Some(id) = router.id {
        line!(text, "  bgp router-id {id}");
    }
    for known in &instance.neighbours {
        session(text, router, known.neighbour);
    }
    for known in &instance.neighbours {
        activate(text, known);
    }
    for family in Family::BOTH {
        networks(text, family, instance);
    }
}

fn session(text: &mut Text, router: &Router, neighbour: &Neighbour) {
    let (peer, remote) = (&neighbour.endpoint, neighbour.remote);
    match peer {
        Endpoint::Address(_) => line!(text, "  neighbor {peer} remote-as {remote}"),
        Endpoint::Interface(_) => line!(text, "  neighbor {peer} interface remote-as {remote}"),
    }
    if neighbour.ebgp_multihop {
        // With the TTL, as FRR shows it.
        line!(text, "  neighbor {peer} ebgp-multihop 255");
    }
    if let Some(asn) = neighbour.local_asn {
        line!(text, "  neighbor {peer} local-as {asn} no-prepend replace-as");
    }
    // Upstream: always written. FRR does not show the default, so each reload would set it again.
    if neighbour.port != Neighbour::DEFAULT_PORT {
        line!(text, "  neighbor {peer} port {}", neighbour.port);
    }
    if let Some(timers) = neighbour.timers {
        line!(text, "  neighbor {peer} timers {} {}", timers.keepalive, timers.hold);
    }
    if let Some(connect) = neighbour.connect {
        line!(text, "  neighbor {peer} timers connect {connect}");
    }
    if let Some(password) = &neighbour.password {
        line!(text, "  neighbor {peer} password {}", password.expose());
    }
    if let Some(source) = neighbour.source {
        line!(text, "  neighbor {peer} update-source {source}");
    }
    if neighbour.graceful_restart {
        line!(text, "  neighbor {peer} graceful-restart");
    }
    if let Some(profile) = &neighbour.bfd_profile {
        // FRR shows both lines: with only the second, each reload would remove the first, and thereby the session.
        line!(text, "  neighbor {peer} bfd");
        line!(text, "  neighbor {peer} bfd profile {profile}");
    }
    if is_adjacent_by_ipv6(router, neighbour) {
        line!(text, "  neighbor {peer} disable-connected-check");
    }
}

/// Tells whether this is a single-hop eBGP session over IPv6 that carries IPv6 only.
fn is_adjacent_by_ipv6(router: &Router, neighbour: &Neighbour) -> bool {
    let external = match neighbour.remote {
        RemoteAs::Asn(asn) => asn != router.asn,
        RemoteAs::Internal => false,
        RemoteAs::External => true,
    };
    let ipv6 = matches!(neighbour.endpoint, Endpoint::Address(IpAddr::V6(_)));
    external && ipv6 && !neighbour.dual_stack && !neighbour.ebgp_multihop
}

fn activate(text: &mut Text, known: &Known<'_>) {
    let (peer, id) = (&known.neighbour.endpoint, &known.id);
    for family in Family::BOTH {
        let carried = match family {
            Family::V4 => known.neighbour.carries_ipv4(),
            Family::V6 => known.neighbour.carries_ipv6(),
        };
        if carried {
            line!(text, "  address-family {} unicast", family.name());
            line!(text, "    neighbor {peer} activate");
            line!(text, "    neighbor {peer} route-map {id}-in in");
            line!(text, "    neighbor {peer} route-map {id}-out out");
            line!(text, "  exit-address-family");
        }
    }
}

/// A router has a network line for every prefix that any neighbour is told.
fn networks(text: &mut Text, family: Family, instance: &Instance<'_>) {
    let told = instance.neighbours.iter().flat_map(|known| &known.told);
    let prefixes = told
        .map(|(prefix, _)| *prefix)
        .filter(|prefix| Family::of(*prefix) == family);
    let sorted: BTreeMap<String, IpNet> = prefixes.map(|prefix| (prefix.to_string(), prefix)).collect();
    if sorted.is_empty() {
        return;
    }
    line!(text, "  address-family {} unicast", family.name());
    for prefix in sorted.keys() {
        line!(text, "    network {prefix}");
    }
    line!(text, "  exit-address-family");
}
