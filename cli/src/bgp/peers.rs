//! The sessions, and how they are doing.

use std::collections::BTreeMap;

use metallb_api::BGPSessionStateStatus;
use metallb_config::Peer;
use metallb_inspect::bfd::Path;
use metallb_inspect::bgp::{Negotiated, Session};
use schemars::JsonSchema;
use serde::Serialize;

use super::Body;
use crate::facts::Facts;
use crate::report::{Problem, Report, Severity, ago};
use crate::sent::Sent;
use crate::sessions::{PeerNames, UP, is_up, wanted};
use crate::table::{Style, or_dash, table};
use crate::world::World;

/// A session of a node.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// As the speaker or an object tells it; without a state if nobody does.
    #[serde(flatten)]
    session: Session,
    #[serde(rename = "as")]
    asn: Option<u32>,
    /// Whether prefixes were counted.
    counted: bool,
    /// Whether there is a password for it.
    md5: Option<bool>,
    graceful_restart: Option<bool>,
    note: String,
}

/// All sessions, or those with one peer or of one node.
pub(super) fn report(facts: &Facts, world: &World, peer: Option<&str>, node: Option<&str>) -> Report<Body> {
    let sent = Sent::new(facts, world);
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let mut add = |row: Row| {
        let own = &row.session;
        if peer.is_none_or(|peer| peer == own.peer) && node.is_none_or(|node| node == own.node) {
            rows.entry((own.peer.clone(), own.node.clone())).or_insert(row);
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
    for peer in world.parsed.config.peers.values() {
        for node in wanted(world, peer) {
            let heard = sent.heard.contains_key(node);
            let mut row = of_peer(world, node, &peer.name);
            row.session.state = if heard { "Missing" } else { "" }.to_owned();
            row.note = match heard {
                true => "its speaker has no such session".to_owned(),
                false => "its speaker has not said".to_owned(),
            };
            add(row);
        }
    }
    let rows: Vec<Row> = rows.into_values().collect();
    let down = rows.iter().map(|row| (row, &row.session)).filter(|(_, own)| {
        let configured = world.parsed.config.peers.get(&own.peer);
        let decided = configured.is_none_or(|peer| peer.nodes.contains(&own.node));
        decided && !["", UP].contains(&own.state.as_str())
    });
    let problems = down.map(|(row, own)| {
        let since = Some(&own.since).filter(|since| !since.is_empty());
        let since = since.map(|since| format!(" for {}", ago(facts.now, since)));
        let note = Some(&row.note).filter(|note| !note.is_empty());
        let note = note.map(|note| format!(": {note}"));
        let (since, note) = (since.unwrap_or_default(), note.unwrap_or_default());
        let text = format!("{} from {}: {}{since}{note}", own.peer, own.node, own.state);
        let problem = Problem::new("bgp.sessions", Severity::Error, text);
        problem.about("BGPPeer", &own.peer).on(&own.node)
    });
    let problems = problems.collect();
    let unknown = !rows.is_empty() && rows.iter().all(|row| row.session.state.is_empty());
    let body = Body {
        peers: Some(rows),
        ..Body::default()
    };
    let mut report = Report::new("BgpReport", facts, body);
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
    let (names, mut any) = (PeerNames::new(world), false);
    for state in states {
        any = true;
        add(of_object(world, names.of(state).unwrap_or(&state.peer), state));
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
        session: Session {
            node: node.to_owned(),
            peer: name.to_owned(),
            remote: peer.map(|peer| peer.endpoint.to_string()).unwrap_or_default(),
            device: peer.and_then(|peer| peer.vrf.clone()),
            ..Session::default()
        },
        asn: peer.and_then(asn),
        md5: peer.map(|peer| peer.password.is_some() || peer.password_secret.is_some()),
        graceful_restart: peer.map(|peer| peer.graceful_restart),
        ..Row::default()
    }
}

fn of_session(sent: &Sent<'_>, world: &World, node: &str, name: &str, session: &Session) -> Row {
    let agreed = session.negotiated.as_ref();
    let configured = of_peer(world, node, name);
    let mut notes = Vec::new();
    if session.state != UP {
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
    let mut own = session.clone();
    if !configured.session.remote.is_empty() {
        own.remote.clone_from(&configured.session.remote);
    }
    Row {
        session: own,
        asn: agreed.map(|agreed| agreed.asn).or(configured.asn),
        counted: true,
        note: notes.join("; "),
        ..configured
    }
}

fn of_object(world: &World, name: &str, state: &BGPSessionStateStatus) -> Row {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let mut row = of_peer(world, &state.node, name);
    let own = &mut row.session;
    own.remote.clone_from(&state.peer);
    own.state.clone_from(&state.bgp_status);
    own.since = state
        .since
        .as_ref()
        .map(|since| since.0.to_string())
        .unwrap_or_default();
    own.device = Some(state.vrf.clone()).filter(|vrf| !vrf.is_empty());
    own.negotiated = (!state.families.is_empty()).then(|| Negotiated {
        families: state.families.clone(),
        ..Negotiated::default()
    });
    let bfd = Some(state.bfd_status.clone()).filter(|bfd| !["", "N/A"].contains(&bfd.as_str()));
    own.bfd = bfd.map(|state| Path {
        state,
        ..Path::default()
    });
    if let Some((sent, wanted)) = number(state.prefixes).zip(number(state.prefixes_wanted)) {
        (own.advertised, own.desired) = (sent, wanted);
        row.counted = true;
    }
    if !is_up(state) {
        row.note.clone_from(&state.last_error);
    }
    row
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
        let own = &row.session;
        let agreed = own.negotiated.as_ref();
        let known = |text: Option<String>| match own.state.as_str() {
            "" => "?".to_owned(),
            _ => or_dash(text),
        };
        let mut cells = vec![
            own.node.clone(),
            own.peer.clone(),
            own.remote.clone(),
            or_dash(row.asn),
            known(Some(own.state.clone())),
            known((!own.since.is_empty()).then(|| ago(report.now, &own.since))),
            known(agreed.map(|agreed| agreed.families.join(","))),
            seconds(agreed.and_then(|agreed| agreed.hold_seconds)),
            or_dash(own.bfd.as_ref().map(|bfd| &bfd.state)),
            known(row.counted.then(|| own.advertised.to_string())),
            known(row.counted.then(|| (own.desired + own.unsendable).to_string())),
        ];
        if style.wide {
            let told = &own.counters;
            let sent = told.opens_sent + told.updates_sent + told.notifications_sent + told.keepalives_sent;
            let heard = told.opens_received + told.updates_received + told.notifications_received;
            let heard = heard + told.keepalives_received + told.refreshes_received;
            cells.extend([
                or_dash(own.local.as_ref()),
                or_dash(agreed.map(|agreed| &agreed.router_id)),
                seconds(agreed.and_then(|agreed| agreed.keepalive_seconds)),
                yes(row.graceful_restart),
                yes(row.md5),
                or_dash(own.device.as_ref()),
                format!("{sent}/{heard}"),
                or_dash(agreed.map(|agreed| agreed.capabilities.join(","))),
            ]);
        }
        cells.push(row.note.clone());
        cells
    };
    let rows: Vec<Vec<String>> = report.body.peers.iter().flatten().map(row).collect();
    match rows.as_slice() {
        _ if style.quiet => report.problem_lines(style, |_| true) + &report.footer(),
        [] => "There is no session.\n".to_owned() + &report.footer(),
        rows => table(0, &heads, rows) + &report.problem_lines(style, |_| true) + &report.footer(),
    }
}
