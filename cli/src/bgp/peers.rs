//! The sessions, and how they are doing.

use std::collections::{BTreeMap, BTreeSet};

use metallb_api::BGPSessionStateStatus;
use metallb_config::Peer;
use metallb_inspect::bgp::Session;
use serde::Serialize;

use super::or_dash;
use crate::facts::Facts;
use crate::report::{Problem, Report, Severity, ago};
use crate::sent::Sent;
use crate::table::{Style, table};
use crate::world::World;

#[derive(Serialize)]
pub(super) struct Body {
    peers: Vec<Row>,
}

/// A session of a node.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    node: String,
    peer: String,
    remote: String,
    #[serde(rename = "as")]
    asn: Option<u32>,
    /// None if nobody knows.
    state: Option<String>,
    since: Option<String>,
    families: Vec<String>,
    hold_seconds: Option<u64>,
    keepalive_seconds: Option<u64>,
    bfd: Option<String>,
    sent: Option<u64>,
    wanted: Option<u64>,
    local: Option<String>,
    router_id: Option<String>,
    capabilities: Vec<String>,
    messages_sent: Option<u64>,
    messages_received: Option<u64>,
    /// Whether there is a password for it.
    md5: Option<bool>,
    graceful_restart: Option<bool>,
    vrf: Option<String>,
    note: String,
}

/// All sessions, or those with one peer or of one node.
pub(super) fn report(facts: &Facts, world: &World, peer: Option<&str>, node: Option<&str>) -> Report<Body> {
    let sent = Sent::new(facts, world);
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let mut add = |row: Row| {
        let asked = peer.is_none_or(|peer| peer == row.peer) && node.is_none_or(|node| node == row.node);
        if asked {
            rows.entry((row.peer.clone(), row.node.clone())).or_insert(row);
        }
    };
    let mut assumption = None;
    if sent.heard.is_empty() {
        assumption = Some(written(facts, world, &mut add));
    }
    for ((node, name), session) in &sent.sessions {
        add(of_session(&sent, world, node, name, session));
    }
    // Those that should be there, too.
    let nobody = BTreeSet::new();
    for peer in world.parsed.config.peers.values() {
        let alive = world.settings.speakers.as_ref().unwrap_or(&nobody);
        let nodes = peer.nodes.iter().filter(|node| alive.contains(node.as_str()));
        for node in nodes {
            let heard = sent.heard.contains_key(node.as_str());
            let mut row = of_peer(world, node, &peer.name);
            row.state = heard.then(|| "Missing".to_owned());
            row.note = match heard {
                true => "its speaker has no such session".to_owned(),
                false => "its speaker has not said".to_owned(),
            };
            add(row);
        }
    }
    let rows: Vec<Row> = rows.into_values().collect();
    let down = rows.iter().filter(|row| {
        let up = row.state.as_ref().is_none_or(|state| state == "Established");
        !up && world
            .parsed
            .config
            .peers
            .get(&row.peer)
            .is_none_or(|peer| peer.nodes.contains(&row.node))
    });
    let problems = down.map(|row| Problem {
        id: "bgp.sessions",
        severity: Severity::Error,
        text: format!("{} from {}: {}", row.peer, row.node, row.state_and_note(facts)),
    });
    let problems = problems.collect();
    let unknown = !rows.is_empty() && rows.iter().all(|row| row.state.is_none());
    let mut report = Report::new("BgpReport", facts, Body { peers: rows });
    report.problems = problems;
    report.unknown = unknown || world.parsed.config.peers.is_empty() && facts.peers.why_not().is_some();
    report.assumptions.extend(assumption);
    report.not_seen = facts.asked.not_seen().into_iter().collect();
    report
}

/// What objects say of sessions; says which objects.
fn written(facts: &Facts, world: &World, add: &mut impl FnMut(Row)) -> String {
    let states = facts
        .session_states
        .list()
        .iter()
        .filter_map(|state| state.status.as_ref());
    let mut any = false;
    for state in states {
        any = true;
        add(of_object(world, state));
    }
    if any {
        return "sessions are as the objects BGPSessionState say; numbers there may be minutes old".to_owned();
    }
    let statuses = facts
        .bgp_statuses
        .list()
        .iter()
        .filter_map(|status| status.status.as_ref());
    for status in statuses {
        for peer in &status.peers {
            let mut row = of_peer(world, &status.node, peer);
            row.note = "by ServiceBGPStatus the node has something for it".to_owned();
            add(row);
        }
    }
    "sessions are as configured and named by ServiceBGPStatus: whether they are up is not known".to_owned()
}

/// What the configuration says of a session.
fn of_peer(world: &World, node: &str, name: &str) -> Row {
    let peer = world.parsed.config.peers.get(name);
    let asn = |peer: &Peer| match peer.remote {
        metallb_config::RemoteAs::Asn(asn) => Some(asn),
        metallb_config::RemoteAs::Internal => Some(peer.my_asn),
        metallb_config::RemoteAs::External => None,
    };
    Row {
        node: node.to_owned(),
        peer: name.to_owned(),
        remote: peer.map(|peer| peer.endpoint.to_string()).unwrap_or_default(),
        asn: peer.and_then(asn),
        md5: peer.map(|peer| peer.password.is_some() || peer.password_secret.is_some()),
        graceful_restart: peer.map(|peer| peer.graceful_restart),
        vrf: peer.and_then(|peer| peer.vrf.clone()),
        ..Row::default()
    }
}

fn of_session(sent: &Sent<'_>, world: &World, node: &str, name: &str, session: &Session) -> Row {
    let agreed = session.negotiated.as_ref();
    let configured = of_peer(world, node, name);
    let counters = &session.counters;
    let mut notes = Vec::new();
    if session.state != "Established" {
        notes.extend(sent.down(session).split_once(": ").map(|(_, why)| why.to_owned()));
    }
    let lacking = agreed.iter().flat_map(|agreed| &agreed.lacking);
    notes.extend(lacking.map(|lacking| format!("{}: {}", lacking.family, lacking.why)));
    if session.drained {
        notes.push("the node is drained".to_owned());
    }
    let view = world.nodes.get(node);
    let excluded = view.and_then(|view| view.excluded_by(world.settings.ignore_exclude_label));
    notes.extend(excluded.map(|reason| reason.to_string()));
    if session.unsendable > 0 {
        notes.push(format!("{} cannot be sent", session.unsendable));
    }
    Row {
        remote: match configured.remote.as_str() {
            "" => session.remote.clone(),
            _ => configured.remote.clone(),
        },
        asn: agreed.map(|agreed| agreed.asn).or(configured.asn),
        state: Some(session.state.clone()),
        since: Some(session.since.clone()),
        families: agreed.map(|agreed| agreed.families.clone()).unwrap_or_default(),
        hold_seconds: agreed.and_then(|agreed| agreed.hold_seconds),
        keepalive_seconds: agreed.and_then(|agreed| agreed.keepalive_seconds),
        bfd: session.bfd.as_ref().map(|bfd| bfd.state.clone()),
        sent: Some(session.advertised),
        wanted: Some(session.desired + session.unsendable),
        local: session.local.clone(),
        router_id: agreed.map(|agreed| agreed.router_id.clone()),
        capabilities: agreed.map(|agreed| agreed.capabilities.clone()).unwrap_or_default(),
        messages_sent: Some(
            counters.opens_sent + counters.updates_sent + counters.notifications_sent + counters.keepalives_sent,
        ),
        messages_received: Some(
            counters.opens_received
                + counters.updates_received
                + counters.notifications_received
                + counters.keepalives_received
                + counters.refreshes_received,
        ),
        vrf: session.device.clone().or_else(|| configured.vrf.clone()),
        note: notes.join("; "),
        ..configured
    }
}

fn of_object(world: &World, state: &BGPSessionStateStatus) -> Row {
    // frr-k8s itself tells the address alone.
    let peers = world.parsed.config.peers.values();
    let by_address = || peers.into_iter().find(|peer| peer.endpoint.to_string() == state.peer);
    let name = match state.peer_name.as_str() {
        "" => by_address().map_or(state.peer.as_str(), |peer| &peer.name),
        name => name,
    };
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Row {
        remote: state.peer.clone(),
        state: Some(state.bgp_status.clone()),
        since: state.since.as_ref().map(|since| since.0.to_string()),
        families: state.families.clone(),
        bfd: Some(state.bfd_status.clone()).filter(|bfd| !["", "N/A"].contains(&bfd.as_str())),
        sent: number(state.prefixes),
        wanted: number(state.prefixes_wanted),
        vrf: Some(state.vrf.clone()).filter(|vrf| !vrf.is_empty()),
        note: match state.bgp_status.as_str() {
            "Established" => String::new(),
            _ => state.last_error.clone(),
        },
        ..of_peer(world, &state.node, name)
    }
}

impl Row {
    fn state_and_note(&self, facts: &Facts) -> String {
        let since = self
            .since
            .as_ref()
            .map(|since| format!(" for {}", ago(facts.now, since)));
        let note = Some(&self.note)
            .filter(|note| !note.is_empty())
            .map(|note| format!(": {note}"));
        let state = self.state.as_deref().unwrap_or("?");
        format!("{state}{}{}", since.unwrap_or_default(), note.unwrap_or_default())
    }
}

pub(super) fn text(report: &Report<Body>, style: Style) -> String {
    let mut heads = vec![
        "NODE", "PEER", "REMOTE", "AS", "STATE", "SINCE", "FAMILIES", "HOLD", "BFD", "SENT", "WANTED",
    ];
    if style.wide {
        heads.extend([
            "LOCAL",
            "ROUTER ID",
            "KEEPALIVE",
            "GR",
            "MD5",
            "VRF",
            "MESSAGES",
            "CAPABILITIES",
        ]);
    }
    heads.push("NOTE");
    let seconds = |seconds: Option<u64>| or_dash(seconds.map(|seconds| format!("{seconds}s")));
    let yes = |yes: Option<bool>| or_dash(yes.map(|yes| if yes { "yes" } else { "no" }));
    let row = |row: &Row| {
        let known = |text: Option<String>| {
            if row.state.is_none() {
                "?".to_owned()
            } else {
                or_dash(text)
            }
        };
        let mut cells = vec![
            row.node.clone(),
            row.peer.clone(),
            row.remote.clone(),
            or_dash(row.asn),
            known(row.state.clone()),
            known(row.since.as_ref().map(|since| ago(report.now, since))),
            known(Some(row.families.join(","))),
            seconds(row.hold_seconds),
            or_dash(row.bfd.as_ref()),
            known(row.sent.map(|sent| sent.to_string())),
            known(row.wanted.map(|wanted| wanted.to_string())),
        ];
        if style.wide {
            let messages = row.messages_sent.zip(row.messages_received);
            cells.extend([
                or_dash(row.local.as_ref()),
                or_dash(row.router_id.as_ref()),
                seconds(row.keepalive_seconds),
                yes(row.graceful_restart),
                yes(row.md5),
                or_dash(row.vrf.as_ref()),
                or_dash(messages.map(|(sent, received)| format!("{sent}/{received}"))),
                or_dash(Some(row.capabilities.join(","))),
            ]);
        }
        cells.push(row.note.clone());
        cells
    };
    let rows: Vec<Vec<String>> = report.body.peers.iter().map(row).collect();
    match rows.as_slice() {
        _ if style.quiet => report.problem_lines(style, |_| true) + &report.footer(),
        [] => "There is no session.\n".to_owned() + &report.footer(),
        rows => table(0, &heads, rows) + &report.problem_lines(style, |_| true) + &report.footer(),
    }
}
