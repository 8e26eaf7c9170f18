//! Who announces what, before and after: owners in layer 2, routes of nodes to peers, sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use metallb_announce::{Endpoints, Path, Route, ServiceView, bgp_case, layer2_case};
use metallb_bgp::GracefulRestart;
use metallb_config::{Community, Peer, Pool};
use metallb_ipam::Key;
use schemars::JsonSchema;
use serde::Serialize;

use crate::explain::announcers::{Slices, everywhere, is_for};
use crate::world::World;

/// Who answers for the addresses of a Service in layer 2.
#[derive(JsonSchema, Serialize)]
pub(super) struct Owner {
    pub(super) service: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// The addresses are not those of before.
    pub(super) moved: bool,
}

/// What nodes tell peers besides, and no more.
#[derive(JsonSchema, Serialize)]
pub(super) struct Routes {
    pub(super) nodes: Vec<String>,
    pub(super) peers: Vec<String>,
    pub(super) add: Vec<String>,
    pub(super) remove: Vec<String>,
}

/// What happens to the sessions of nodes with a peer.
#[derive(JsonSchema, Serialize)]
pub(super) struct Sessions {
    pub(super) peer: String,
    pub(super) nodes: Vec<String>,
    /// `new`, `ends`, `reset`, or `live` for what changes while it goes on.
    pub(super) effect: &'static str,
    pub(super) fields: Vec<&'static str>,
}

/// All of it.
#[derive(Default)]
pub(super) struct Announced {
    pub(super) owners: Vec<Owner>,
    pub(super) routes: Vec<Routes>,
    pub(super) sessions: Vec<Sessions>,
    /// Services with addresses that somebody announced, and nobody does any more.
    pub(super) silenced: Vec<Key>,
}

/// Configuration and Services of one side of the change.
pub(super) struct Side<'a> {
    pub(super) world: &'a World,
    pub(super) services: &'a BTreeMap<Key, Arc<Service>>,
}

/// What a Service is announced by on one side.
struct Case {
    addresses: Vec<IpAddr>,
    owner: Option<Arc<str>>,
    /// Nodes that announce the same stand together.
    routes: Vec<(Nodes, Vec<Route>)>,
}

/// Routes as numbers of a table, by node.
#[derive(Default)]
struct Tables {
    known: BTreeMap<Route, usize>,
    before: BTreeMap<Arc<str>, Vec<usize>>,
    after: BTreeMap<Arc<str>, Vec<usize>>,
}

/// Names of nodes.
type Nodes = Vec<Arc<str>>;

/// A route as a peer hears it.
type Heard<'a> = (IpNet, u32, &'a BTreeSet<Community>);

impl Side<'_> {
    fn config(&self) -> &metallb_config::Config {
        &self.world.parsed.config
    }

    fn view(&self, key: &Key) -> Option<ServiceView> {
        self.services.get(key).map(|service| ServiceView::from(&**service))
    }

    fn pool(&self, view: Option<&ServiceView>) -> Option<&Pool> {
        self.config().pool_holding(&view?.addresses()?)
    }

    fn case(&self, view: Option<&ServiceView>, endpoints: &Endpoints) -> Case {
        let mut case = Case {
            addresses: view.and_then(ServiceView::addresses).unwrap_or_default(),
            owner: None,
            routes: Vec::new(),
        };
        let Some(view) = view else { return case };
        let (inputs, pool) = (self.world.inputs(), self.pool(Some(view)));
        let layer2 = layer2_case(&inputs, pool, view, endpoints).ok();
        case.owner = layer2.and_then(|layer2| Some(Arc::clone(&layer2.ranked.first()?.node)));
        for (node, routes) in bgp_case(&inputs, pool, view, endpoints).into_iter().flatten() {
            let Ok(routes) = routes else { continue };
            if !self.world.announces(&node) {
                continue;
            }
            match case.routes.iter_mut().find(|(_, known)| *known == routes) {
                Some((nodes, _)) => nodes.push(node),
                None => case.routes.push((vec![node], routes)),
            }
        }
        case
    }

    /// Whether anybody announces it.
    fn is_heard(&self, case: &Case) -> bool {
        let heard = |nodes: &[Arc<str>], route: &Route| {
            let mut peers = self.config().peers.values().filter(|peer| is_for(peer, route));
            peers.any(|peer| nodes.iter().any(|node| peer.nodes.contains(&**node)))
        };
        case.owner.is_some()
            || case
                .routes
                .iter()
                .any(|(nodes, routes)| routes.iter().any(|route| heard(nodes, route)))
    }
}

/// Compares both sides. Services whose verdict cannot differ, for nothing that it depends on does, are not judged.
pub(super) fn compare(before: &Side<'_>, after: &Side<'_>, slices: &Slices<'_>) -> Announced {
    let mut announced = Announced {
        sessions: sessions(before, after),
        ..Announced::default()
    };
    let same_nodes = before.world.nodes == after.world.nodes && before.world.drained == after.world.drained;
    let same_peers = before.config().peers == after.config().peers;
    let (old, new) = (&before.config().pools, &after.config().pools);
    let same: BTreeSet<&str> = old
        .iter()
        .filter(|(name, pool)| new.get(*name) == Some(*pool))
        .map(|(name, _)| name.as_str())
        .collect();
    let endpoints = |key: &Key| match before.services.contains_key(key) {
        true => slices.endpoints(key, after.world),
        // A new Service is taken for one whose pods are ready.
        false => everywhere(after.world),
    };
    let keys: BTreeSet<&Key> = before.services.keys().chain(after.services.keys()).collect();
    let (mut tables, mut unchanged) = (Tables::default(), Vec::new());
    for key in keys {
        let (old, new) = (before.view(key), after.view(key));
        let pools = (before.pool(old.as_ref()), after.pool(new.as_ref()));
        let same_pool = match pools {
            (None, None) => true,
            (Some(old), Some(new)) => old.name == new.name && same.contains(old.name.as_str()),
            _ => false,
        };
        if same_nodes && same_peers && same_pool && old == new {
            unchanged.extend(new.map(|view| (key, view)));
            continue;
        }
        let endpoints = endpoints(key);
        let (old, new) = (
            before.case(old.as_ref(), &endpoints),
            after.case(new.as_ref(), &endpoints),
        );
        if before.is_heard(&old) && !new.addresses.is_empty() && !after.is_heard(&new) {
            announced.silenced.push(key.clone());
        }
        let moved = old.addresses != new.addresses;
        if old.owner != new.owner || (moved && new.owner.is_some()) {
            announced.owners.push(Owner {
                service: key.to_string(),
                addresses: if new.owner.is_some() {
                    new.addresses
                } else {
                    old.addresses
                },
                before: old.owner.as_deref().map(str::to_owned),
                after: new.owner.as_deref().map(str::to_owned),
                moved,
            });
        }
        tables.add(old.routes, |tables| &mut tables.before);
        tables.add(new.routes, |tables| &mut tables.after);
    }
    // Others may announce the same prefixes, and keep them so.
    let prefixes: BTreeSet<IpNet> = tables.known.keys().map(|route| route.prefix).collect();
    let lengths: BTreeSet<u8> = prefixes.iter().map(IpNet::prefix_len).collect();
    let touched = |ip: &IpAddr| {
        let nets = lengths
            .iter()
            .filter_map(|length| Some(IpNet::new(*ip, *length).ok()?.trunc()));
        nets.into_iter().any(|net| prefixes.contains(&net))
    };
    for (key, view) in unchanged {
        if view.ingress.iter().flatten().any(touched) {
            let routes = after.case(Some(&view), &endpoints(key)).routes;
            tables.add(routes.clone(), |tables| &mut tables.before);
            tables.add(routes, |tables| &mut tables.after);
        }
    }
    announced.routes = tables.compare(before, after);
    announced
}

impl Tables {
    fn add(
        &mut self,
        routes: Vec<(Nodes, Vec<Route>)>,
        side: impl Fn(&mut Self) -> &mut BTreeMap<Arc<str>, Vec<usize>>,
    ) {
        for (nodes, routes) in routes {
            for route in routes {
                let next = self.known.len();
                let number = *self.known.entry(route).or_insert(next);
                for node in &nodes {
                    side(self).entry(Arc::clone(node)).or_default().push(number);
                }
            }
        }
    }

    /// What each node tells each peer of both sides besides, and no more; those that do the same stand together.
    fn compare(mut self, before: &Side<'_>, after: &Side<'_>) -> Vec<Routes> {
        let mut all: Vec<&Route> = self.known.keys().collect();
        all.sort_by_key(|route| self.known[*route]);
        let nodes: BTreeSet<Arc<str>> = self.before.keys().chain(self.after.keys()).cloned().collect();
        let mut groups: BTreeMap<[Vec<usize>; 2], Nodes> = BTreeMap::new();
        for node in nodes {
            let sorted = |side: &mut BTreeMap<Arc<str>, Vec<usize>>| {
                let mut numbers = side.remove(&node).unwrap_or_default();
                numbers.sort_unstable();
                numbers.dedup();
                numbers
            };
            let both = [sorted(&mut self.before), sorted(&mut self.after)];
            groups.entry(both).or_default().push(node);
        }
        let lasting = |peer: &&Peer| after.config().peers.contains_key(&peer.name);
        let peers: Vec<&Peer> = before.config().peers.values().filter(lasting).collect();
        let mut rows: BTreeMap<[Vec<String>; 2], BTreeMap<String, Nodes>> = BTreeMap::new();
        for ([old, new], nodes) in groups {
            // Peers that hear the same of these routes need one look.
            let mut alike: BTreeMap<[Vec<bool>; 2], Vec<(&str, Nodes)>> = BTreeMap::new();
            for was in &peers {
                let Some(is) = after.config().peers.get(&was.name) else {
                    continue;
                };
                let both = |node: &&Arc<str>| was.nodes.contains(&***node) && is.nodes.contains(&***node);
                let nodes: Nodes = nodes.iter().filter(both).cloned().collect();
                if nodes.is_empty() {
                    continue;
                }
                let heard = |peer: &Peer, numbers: &[usize]| -> Vec<bool> {
                    numbers.iter().map(|number| is_for(peer, all[*number])).collect()
                };
                alike
                    .entry([heard(was, &old), heard(is, &new)])
                    .or_default()
                    .push((&was.name, nodes));
            }
            for ([was, is], peers) in alike {
                let of = |numbers: &[usize], heard: Vec<bool>| -> BTreeSet<Heard<'_>> {
                    let numbers = numbers.iter().zip(heard).filter(|(_, heard)| *heard);
                    numbers.map(|(number, _)| heard_as(all[*number])).collect()
                };
                let (was, is) = (of(&old, was), of(&new, is));
                let texts = |routes: &BTreeSet<Heard<'_>>, others: &BTreeSet<Heard<'_>>| -> Vec<String> {
                    routes.difference(others).map(text).collect()
                };
                let told = [texts(&is, &was), texts(&was, &is)];
                if told.iter().all(Vec::is_empty) {
                    continue;
                }
                let row = rows.entry(told).or_default();
                for (peer, nodes) in peers {
                    row.entry(peer.to_owned()).or_default().extend(nodes);
                }
            }
        }
        let mut routes = Vec::new();
        for ([add, remove], by_peer) in rows {
            let mut by_nodes: BTreeMap<Nodes, Vec<String>> = BTreeMap::new();
            for (peer, mut nodes) in by_peer {
                nodes.sort();
                by_nodes.entry(nodes).or_default().push(peer);
            }
            routes.extend(by_nodes.into_iter().map(|(nodes, peers)| Routes {
                nodes: nodes.iter().map(ToString::to_string).collect(),
                peers,
                add: add.clone(),
                remove: remove.clone(),
            }));
        }
        routes
    }
}

fn heard_as(route: &Route) -> Heard<'_> {
    let Path {
        local_pref,
        communities,
        ..
    } = &*route.path;
    (route.prefix, *local_pref, communities)
}

fn text((prefix, local_pref, communities): &Heard<'_>) -> String {
    crate::explain::announcers::route(*prefix, *local_pref, communities)
}

/// What happens to each session of a node that is alive.
fn sessions(before: &Side<'_>, after: &Side<'_>) -> Vec<Sessions> {
    let (old, new) = (before.config(), after.config());
    let names: BTreeSet<&String> = old.peers.keys().chain(new.peers.keys()).collect();
    let mut sessions = Vec::new();
    for name in names {
        let (was, is) = (old.peers.get(name), new.peers.get(name));
        let nodes = |side: &Side<'_>, peer: Option<&Peer>| -> BTreeSet<String> {
            let nodes = peer.into_iter().flat_map(|peer| &peer.nodes);
            nodes.filter(|node| side.world.is_alive(node)).cloned().collect()
        };
        let (had, has) = (nodes(before, was), nodes(after, is));
        let mut row = |nodes: Vec<String>, effect, fields| {
            if !nodes.is_empty() {
                sessions.push(Sessions {
                    peer: name.clone(),
                    nodes,
                    effect,
                    fields,
                });
            }
        };
        row(had.difference(&has).cloned().collect(), "ends", Vec::new());
        row(has.difference(&had).cloned().collect(), "new", Vec::new());
        let (Some(was), Some(is)) = (was, is) else { continue };
        let kept: Vec<String> = had.intersection(&has).cloned().collect();
        // They differ in nothing but the name of the node.
        let session = |peer: &Peer| peer.session("", GracefulRestart::default());
        let mut resets: Vec<&str> = session(was).resets(&session(is)).into_iter().map(field).collect();
        // Secrets are not read: another one is taken for another password.
        if was.password_secret != is.password_secret && !resets.contains(&"password") {
            resets.push("passwordSecret");
        }
        let profile = |peer: &Peer, side: &metallb_config::Config| {
            peer.bfd_profile
                .as_ref()
                .and_then(|name| side.bfd_profiles.get(name).cloned())
        };
        if !resets.is_empty() {
            row(kept, "reset", resets);
        } else if was.bfd_profile != is.bfd_profile || profile(was, old) != profile(is, new) {
            row(kept, "live", vec!["bfdProfile"]);
        }
    }
    sessions
}

/// The field of a BGPPeer by that of its session.
fn field(of_session: &'static str) -> &'static str {
    match of_session {
        "address" => "peerAddress",
        "zone" => "interface",
        "port" => "peerPort",
        "source" => "sourceAddress",
        "device" => "vrf",
        "my_asn" => "myASN",
        "local_asn" => "localASN",
        "remote" => "peerASN",
        "router_id" => "routerID",
        "hold_time" => "holdTime",
        "keepalive_time" => "keepaliveTime",
        "connect_time" => "connectTime",
        "ebgp_multihop" => "ebgpMultiHop",
        "ttl_security" => "ttlSecurity",
        "dual_stack" | "offer" => "dualStackAddressFamily",
        "graceful_restart" => "enableGracefulRestart",
        other => other,
    }
}
