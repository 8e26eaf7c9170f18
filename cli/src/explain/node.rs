//! `explain node`: what it may announce, what not, and to whom.

use kube::ResourceExt;
use metallb_announce::{Inputs, ServiceView, decide};
use metallb_ipam::Key;
use schemars::JsonSchema;
use serde::Serialize;

use super::announcers::Slices;
use super::peer::{Session, session, sessions};
use super::{Body, page, part_of, section};
use crate::facts::Facts;
use crate::report::{NotSeen, Problem, Report};
use crate::sessions::Sessions;
use crate::status::rows::{self, Speaker, against};
use crate::table::{Style, few, many};
use crate::world::{World, speaker_pods};

/// Addresses in a text.
const SHOWN: usize = 8;

/// A node.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeCase {
    name: String,
    verdict: String,
    /// What keeps it from announcing.
    against: Vec<String>,
    speaker: Speaker,
    /// Addresses that it should answer for, each with its Service.
    layer2: Vec<String>,
    /// Services that it should announce over BGP.
    pub(super) bgp: Vec<String>,
    sessions: Vec<Session>,
}

pub(super) fn report(facts: &Facts, world: &World, name: &str) -> Option<Report<Body<NodeCase>>> {
    let node = facts.nodes.list().iter().find(|node| node.name_any() == name)?;
    let mut status = rows::report(facts, world);
    let mut rows = std::mem::take(&mut status.body.status.speakers).into_iter();
    let speaker = rows.find(|row| row.node == name)?;
    let pod = speaker_pods(facts, &world.namespace).find(|pod| Some(pod.name_any()) == speaker.pod);
    let against = against(facts, world, name, Some(node), pod);
    let (layer2, bgp) = announces(facts, world, name);
    let peers = world
        .parsed
        .config
        .peers
        .values()
        .filter(|peer| peer.nodes.contains(name));
    let states = Sessions::new(facts, world);
    let sessions: Vec<Session> = peers
        .map(|peer| session(facts, world, name, peer, states.as_ref()))
        .collect();
    let announces = match facts.services.is_known() {
        false => "what it should announce is not known".to_owned(),
        true => format!(
            "it should answer for {}, and announce {} over BGP",
            many(layer2.len(), "Service"),
            many(bgp.len(), "Service")
        ),
    };
    let verdict = against
        .first()
        .map_or_else(|| announces.clone(), |first| format!("{first}; {announces}"));
    let explanation = NodeCase {
        name: name.to_owned(),
        verdict,
        against,
        speaker,
        layer2,
        bgp,
        sessions,
    };
    let about = |problem: &Problem| problem.node.as_deref() == Some(name);
    let needs = ["services", "pods"];
    let mut report = part_of(facts, status, ("NodeExplanation", explanation), about, &needs);
    let without = "some ready endpoints are assumed, and traffic policy Local is not judged";
    report
        .not_seen
        .extend(NotSeen::of(&facts.slices, "endpointslices", without));
    Some(report)
}

/// What the node should answer for, and what it should announce over BGP.
fn announces(facts: &Facts, world: &World, name: &str) -> (Vec<String>, Vec<String>) {
    let slices = Slices::new(facts);
    let inputs = Inputs {
        node: name,
        ..world.inputs()
    };
    let (mut layer2, mut bgp) = (Vec::new(), Vec::new());
    for service in facts.services.list() {
        let view = ServiceView::from(service);
        let Some(ips) = view.addresses() else { continue };
        if view.local && !facts.slices.is_known() {
            continue;
        }
        let key = Key::of(service);
        let endpoints = slices.endpoints(&key, world);
        let decision = decide(&inputs, world.parsed.config.pool_holding(&ips), &view, &endpoints);
        if decision.layer2.is_ok() {
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            layer2.push(format!("{} ({key})", ips.join(", ")));
        }
        if decision.bgp.is_ok_and(|routes| !routes.is_empty()) && world.announces(name) {
            bgp.push(key.to_string());
        }
    }
    (layer2, bgp)
}

pub(super) fn text(report: &Report<Body<NodeCase>>, style: Style) -> String {
    let own = &report.body.explanation;
    let most = if style.wide { usize::MAX - 1 } else { SHOWN };
    let known = report.not_seen.iter().all(|unseen| unseen.what != "services");
    let named = |names: &[String]| match names {
        [] if known => "nothing".to_owned(),
        [] => "?".to_owned(),
        names => few(names, most),
    };
    let speaker = own.speaker.pod.as_deref().unwrap_or("no pod");
    let mut sections = section("Speaker", &format!("{speaker}, configuration {}", own.speaker.config));
    if !own.against.is_empty() {
        sections += &section("Against it", &own.against.join("\n"));
    }
    let says = own
        .speaker
        .l2_addresses
        .get()
        .map(|count| format!("; its speaker answers for {count}, it says"));
    sections += &section(
        "Layer 2",
        &format!("should answer for {}{}", named(&own.layer2), says.unwrap_or_default()),
    );
    sections += &section("BGP", &format!("should announce {}", named(&own.bgp)));
    sections += &match own.sessions.is_empty() {
        true => section("Peers", "none: no BGPPeer selects it"),
        false => section("Peers", &sessions(&own.sessions, true, style)),
    };
    page(report, &format!("Node {}", own.name), &own.verdict, &sections, style)
}
