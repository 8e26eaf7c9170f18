//! `explain peer`: who has a session with it, on which terms, and what it is told.

use kube::ResourceExt;
use metallb_config::Peer;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Body, page, part_of, refused, section};
use crate::facts::Facts;
use crate::report::{Problem, Report, age};
use crate::sessions::{Sessions, asn};
use crate::status::rows;
use crate::table::{Style, few, or_dash, table};
use crate::world::World;

/// Sessions in a text.
const SHOWN: usize = 12;

/// A peer.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerCase {
    name: String,
    verdict: String,
    /// What the session is like, with what is not said filled in; empty if the peer is refused.
    terms: Vec<Term>,
    advertisements: Vec<String>,
    sessions: Vec<Session>,
}

/// A parameter.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    name: &'static str,
    value: String,
}

/// The session of a node.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) node: String,
    pub(super) peer: String,
    pub(super) state: String,
    pub(super) since: Option<String>,
    pub(super) families: Vec<String>,
    pub(super) routes: Option<i64>,
    pub(super) bfd: Option<String>,
    pub(super) note: String,
}

pub(super) fn report(facts: &Facts, world: &World, name: &str) -> Option<Report<Body<PeerCase>>> {
    facts.peers.list().iter().find(|peer| peer.name_any() == name)?;
    let peer = world.parsed.config.peers.get(name);
    let mut status = rows::report(facts, world);
    let row = std::mem::take(&mut status.body.status.peers)
        .into_iter()
        .find(|row| row.name == name);
    let states = Sessions::new(facts, world);
    let sessions = peer.map(|peer| {
        peer.nodes
            .iter()
            .map(|node| session(facts, world, node, peer, states.as_ref()))
    });
    let explanation = PeerCase {
        name: name.to_owned(),
        verdict: match &row {
            None => "it is refused, and has no session".to_owned(),
            Some(row) if row.sessions.get().is_none() => "it is not known which sessions are up".to_owned(),
            Some(row) => format!("{} sessions are up", row.sessions),
        },
        terms: peer.map(terms).unwrap_or_default(),
        advertisements: peer.map(|peer| advertisements(world, peer)).unwrap_or_default(),
        sessions: sessions.into_iter().flatten().collect(),
    };
    let needs = ["nodes", "pods", "bgpsessionstates"];
    let about = |problem: &Problem| problem.id.starts_with("bgp.") && problem.is_about(name);
    let mut report = part_of(facts, status, ("PeerExplanation", explanation), about, &needs);
    report.problems.extend(refused(world, "BGPPeer", name));
    Some(report)
}

fn terms(peer: &Peer) -> Vec<Term> {
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    let flag = |on: bool| on.then(|| "yes".to_owned());
    let all = [
        ("address", Some(peer.endpoint.to_string())),
        ("port", Some(peer.port.to_string())),
        ("AS", Some(asn(peer))),
        ("our AS", Some(peer.local_asn.unwrap_or(peer.my_asn).to_string())),
        ("hold time", peer.hold_time.map(seconds)),
        ("keepalive", peer.keepalive_time.map(seconds)),
        ("connect time", peer.connect_time.map(seconds)),
        ("from", peer.source.map(|source| source.to_string())),
        ("router id", peer.router_id.map(|id| id.to_string())),
        ("VRF", peer.vrf.clone()),
        ("BFD profile", peer.bfd_profile.clone()),
        (
            "password",
            flag(peer.password.is_some() || peer.password_secret.is_some()),
        ),
        ("multihop", flag(peer.ebgp_multihop)),
        ("TTL security", flag(peer.ttl_security)),
        ("graceful restart", flag(peer.graceful_restart)),
        ("both families", flag(peer.exchanges(true) && peer.exchanges(false))),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some(Term { name, value: value? }))
        .collect()
}

/// The advertisements that the peer is told of, each with its pool.
fn advertisements(world: &World, peer: &Peer) -> Vec<String> {
    let mut all = Vec::new();
    for pool in world.parsed.config.pools.values() {
        let families = [
            pool.has_v4() && peer.exchanges(true),
            pool.has_v6() && peer.exchanges(false),
        ];
        for ad in pool.bgp.iter().filter(|ad| ad.reaches(&peer.name)) {
            let lacks = if families.contains(&true) {
                ""
            } else {
                ": the session carries none of its families"
            };
            all.push(format!(
                "{} (pool {}){lacks}",
                ad.name.as_ref().unwrap_or(&pool.name),
                pool.name
            ));
        }
    }
    all
}

/// How the session of a node is doing.
pub(super) fn session(facts: &Facts, world: &World, node: &str, peer: &Peer, states: Option<&Sessions<'_>>) -> Session {
    let state = states
        .and_then(|states| states.of(node, &peer.name))
        .filter(|_| world.is_alive(node));
    let since = state.and_then(|state| state.since.as_ref());
    Session {
        node: node.to_owned(),
        peer: peer.name.clone(),
        state: state.map_or("?", |state| state.bgp_status.as_str()).to_owned(),
        since: since.map(|since| age(facts.now, since.0)),
        families: state.map(|state| state.families.clone()).unwrap_or_default(),
        routes: state.and_then(|state| state.prefixes),
        bfd: state
            .map(|state| state.bfd_status.clone())
            .filter(|_| peer.bfd_profile.is_some()),
        note: match state {
            _ if !world.is_alive(node) => "its speaker is not Ready".to_owned(),
            Some(state) => state.last_error.clone(),
            None => String::new(),
        },
    }
}

/// A table of sessions, by node or by peer.
pub(super) fn sessions(all: &[Session], by_peer: bool, style: Style) -> String {
    let shown = if style.wide { usize::MAX } else { SHOWN };
    let rows = all.iter().take(shown).map(|own| {
        vec![
            if by_peer { own.peer.clone() } else { own.node.clone() },
            own.state.clone(),
            or_dash(own.since.as_ref()),
            or_dash(Some(own.families.join(","))),
            or_dash(own.bfd.as_ref()),
            own.routes.map_or_else(|| "?".to_owned(), |routes| format!("~{routes}")),
            own.note.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let first = if by_peer { "PEER" } else { "NODE" };
    let mut text = table(
        0,
        &[first, "STATE", "SINCE", "FAMILIES", "BFD", "ROUTES", "LAST ERROR"],
        &rows,
    );
    if all.len() > rows.len() {
        text += &format!("… and {} (-o wide)\n", all.len() - rows.len());
    }
    text
}

pub(super) fn text(report: &Report<Body<PeerCase>>, style: Style) -> String {
    let own = &report.body.explanation;
    let terms: Vec<String> = own
        .terms
        .iter()
        .map(|term| format!("{} {}", term.name, term.value))
        .collect();
    let mut sections = String::new();
    if !terms.is_empty() {
        sections += &section("Session", &terms.join(", "));
        let told = few(&own.advertisements, if style.wide { usize::MAX - 1 } else { SHOWN });
        sections += &section(
            "Is told of",
            if told.is_empty() {
                "nothing: no BGPAdvertisement reaches it"
            } else {
                &told
            },
        );
        sections += &match own.sessions.is_empty() {
            true => section("Nodes", "none: its nodeSelectors select no Node"),
            false => section("Nodes", &sessions(&own.sessions, false, style)),
        };
    }
    page(report, &format!("BGPPeer {}", own.name), &own.verdict, &sections, style)
}
