//! The routes that peers have been sent (Adj-RIB-Out), beside those that they should have been.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Result, bail};
use ipnet::IpNet;
use metallb_announce::ServiceView;
use metallb_config::Community;
use metallb_inspect::bgp::Route;
use metallb_ipam::Key;
use schemars::JsonSchema;
use serde::Serialize;

use super::Body;
use crate::args::Global;
use crate::explain::announcers::{self, Due, Slices};
use crate::facts::Facts;
use crate::report::Report;
use crate::sent::{Sent, Told, problems};
use crate::table::{Style, or_dash, table};
use crate::world::World;

/// A route of a node to a peer.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    node: String,
    /// As it is sent, or would be.
    #[serde(flatten)]
    route: Route,
    /// Whether configuration and Service say so; none if that is not known.
    decided: Option<bool>,
    /// Whether it was sent; none if nobody knows.
    sent: Option<bool>,
    services: BTreeSet<String>,
    #[serde(skip)]
    told: Option<Told>,
}

/// What is asked for.
pub(super) struct Only<'a> {
    peer: Option<&'a str>,
    node: Option<&'a str>,
    prefixes: Option<Vec<IpNet>>,
}

impl<'a> Only<'a> {
    /// Reads a prefix, an address or the name of a Service.
    pub(super) fn new(
        facts: &Facts,
        global: &Global,
        what: Option<&str>,
        peer: Option<&'a str>,
        node: Option<&'a str>,
    ) -> Result<Self> {
        let prefixes = what.map(|what| prefixes(facts, global, what)).transpose()?;
        Ok(Self { peer, node, prefixes })
    }

    fn is(&self, row: &Row) -> bool {
        let overlaps = |wanted: &IpNet| {
            let prefix: Option<IpNet> = row.route.prefix.parse().ok();
            prefix.is_some_and(|prefix| prefix.contains(wanted) || wanted.contains(&prefix))
        };
        self.node.is_none_or(|wanted| wanted == row.node)
            && self.peer.is_none_or(|wanted| wanted == row.route.peer)
            && self.prefixes.as_ref().is_none_or(|all| all.iter().any(overlaps))
    }
}

fn prefixes(facts: &Facts, global: &Global, what: &str) -> Result<Vec<IpNet>> {
    if let Ok(prefix) = what.parse::<IpNet>() {
        return Ok(vec![prefix]);
    }
    if let Ok(address) = what.parse::<IpAddr>() {
        return Ok(vec![address.into()]);
    }
    let (namespace, name) = global.named(facts, what);
    let Some(service) = facts.service(namespace, name) else {
        bail!("{what} is no prefix and no address, and there is no Service {namespace}/{name} of type LoadBalancer");
    };
    let addresses = ServiceView::from(service).addresses().unwrap_or_default();
    Ok(addresses.into_iter().map(IpNet::from).collect())
}

/// The routes that are asked for; only those that differ from what is decided, with `diff`.
pub(super) fn report(facts: &Facts, world: &World, only: &Only<'_>, diff: bool) -> Report<Body> {
    let sent = Sent::new(facts, world);
    let mut rows: BTreeMap<(String, String, String), Row> = BTreeMap::new();
    for ((node, peer, prefix), route) in &sent.routes {
        let key = (node.to_string(), peer.to_string(), prefix.to_string());
        rows.insert(key, Row::new(&sent, node, (*route).clone()));
    }
    let known = facts.nodes.is_known() && facts.services.is_known() && facts.slices.is_known();
    let slices = Slices::new(facts);
    for service in facts.services.list().iter().filter(|_| known) {
        for due in announcers::due(&slices, service, world) {
            let route = decided(&due);
            let key = (due.node.to_string(), due.peer, route.prefix.clone());
            let row = rows.entry(key).or_insert_with(|| Row::new(&sent, &due.node, route));
            row.decided = Some(true);
            row.services.insert(Key::of(service).to_string());
        }
    }
    let mut rows: Vec<Row> = rows.into_values().filter(|row| only.is(row)).collect();
    for row in &mut rows {
        row.judge(known);
    }
    let found = rows
        .iter()
        .filter_map(|row| Some((&*row.node, &*row.route.peer, &*row.route.prefix, row.told.as_ref()?)));
    let problems = problems(found);
    if diff {
        rows.retain(|row| row.sent != row.decided && row.sent.is_some());
    }
    let body = Body {
        routes: Some(rows),
        ..Body::default()
    };
    let mut report = Report::new("BgpReport", facts, body);
    report.problems = problems;
    report.not_seen = facts.asked.not_seen().into_iter().collect();
    if sent.heard.is_empty() {
        // What was sent is the question, and with --diff the only one.
        report.unknown = diff;
        report
            .assumptions
            .push("routes are those decided: no speaker has said what it sends".to_owned());
    }
    report
}

/// A route as it would be sent.
fn decided(due: &Due) -> Route {
    let path = &due.route.path;
    let large = |community: &&Community| matches!(community, Community::Large { .. });
    let (large, standard): (Vec<_>, Vec<_>) = path.communities.iter().partition(large);
    Route {
        peer: due.peer.clone(),
        prefix: due.route.prefix.to_string(),
        local_pref: Some(path.local_pref).filter(|local_pref| *local_pref != 0),
        communities: standard.into_iter().map(announcers::community).collect(),
        large_communities: large.into_iter().map(announcers::community).collect(),
        state: "decided".to_owned(),
        ..Route::default()
    }
}

impl Row {
    fn new(sent: &Sent<'_>, node: &str, route: Route) -> Self {
        Self {
            node: node.to_owned(),
            decided: None,
            sent: None,
            told: sent.told(node, &route.peer, &route.prefix),
            route,
            services: BTreeSet::new(),
        }
    }

    fn judge(&mut self, known: bool) {
        let (sent, why) = match &self.told {
            None => (None, None),
            Some(Told::Yes) => (Some(true), None),
            Some(Told::Unknown(why)) => (None, Some(why.clone())),
            Some(Told::NotYet(why) | Told::No(why) | Told::Never(why)) => (Some(false), Some(why.clone())),
        };
        (self.sent, self.route.why) = (sent, why);
        if known && self.decided.is_none() {
            self.decided = Some(false);
            self.route.why = (sent == Some(true)).then(|| "not decided: the objects do not ask for it".to_owned());
        }
    }
}

pub(super) fn text(report: &Report<Body>, style: Style) -> String {
    let mut heads = vec!["NODE", "PEER", "PREFIX", "NEXT HOP"];
    if style.wide {
        heads.extend(["ORIGIN", "AS PATH", "LOCAL PREF"]);
    }
    heads.extend(["COMMUNITIES", "SENT", "FOR"]);
    let row = |row: &Row| {
        let own = &row.route;
        let as_path: Vec<String> = own.as_path.iter().map(ToString::to_string).collect();
        let hops: Vec<&str> = [&own.next_hop, &own.next_hop_link_local]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let mut cells = vec![
            row.node.clone(),
            own.peer.clone(),
            own.prefix.clone(),
            or_dash(Some(hops.join(" "))),
        ];
        if style.wide {
            cells.extend([
                or_dash(Some(own.origin.to_uppercase())),
                or_dash(Some(as_path.join(" "))),
                or_dash(own.local_pref),
            ]);
        }
        let all: Vec<&str> = own
            .communities
            .iter()
            .chain(&own.large_communities)
            .map(String::as_str)
            .collect();
        let sent = match row.sent {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        let why = own.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let services: Vec<&str> = row.services.iter().map(String::as_str).collect();
        cells.extend([
            or_dash(Some(all.join(" "))),
            format!("{sent}{why}"),
            or_dash(Some(services.join(", "))),
        ]);
        cells
    };
    let rows: Vec<Vec<String>> = report.body.routes.iter().flatten().map(row).collect();
    match rows.as_slice() {
        _ if style.quiet => report.problem_lines(style, |_| true) + &report.footer(),
        [] if report.unknown => "It is not known what is sent.\n".to_owned() + &report.footer(),
        [] => "There is no such route.\n".to_owned() + &report.footer(),
        rows => table(0, &heads, rows) + &report.problem_lines(style, |_| true) + &report.footer(),
    }
}
