//! The routes that peers have been sent (Adj-RIB-Out), beside those that they should have been.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Result, bail};
use ipnet::IpNet;
use kube::ResourceExt;
use metallb_announce::ServiceView;
use metallb_inspect::bgp::Route;
use serde::Serialize;

use super::or_dash;
use crate::args::Global;
use crate::explain::announcers;
use crate::facts::Facts;
use crate::report::Report;
use crate::sent::{Sent, Told, problems};
use crate::table::{Style, table};
use crate::world::World;

#[derive(Serialize)]
pub(super) struct Body {
    routes: Vec<Row>,
}

/// A route of a node to a peer.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    node: String,
    peer: String,
    prefix: String,
    /// Whether configuration and Service say so; none if that is not known.
    decided: Option<bool>,
    /// Whether it was sent; none if nobody knows.
    sent: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// As it is sent, or would be.
    #[serde(flatten)]
    attributes: Attributes,
    services: BTreeSet<String>,
    #[serde(skip)]
    told: Option<Told>,
}

/// What is told of a prefix.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    next_hop: Option<String>,
    next_hop_link_local: Option<String>,
    origin: Option<String>,
    as_path: Option<Vec<u32>>,
    local_pref: Option<u32>,
    communities: Vec<String>,
    large_communities: Vec<String>,
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

    fn is(&self, node: &str, peer: &str, prefix: &str) -> bool {
        let overlaps = |wanted: &IpNet| {
            let prefix: Option<IpNet> = prefix.parse().ok();
            prefix.is_some_and(|prefix| prefix.contains(wanted) || wanted.contains(&prefix))
        };
        self.node.is_none_or(|wanted| wanted == node)
            && self.peer.is_none_or(|wanted| wanted == peer)
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
    let same = |service: &&k8s_openapi::api::core::v1::Service| {
        service.name_any() == name && service.namespace().as_deref() == Some(namespace)
    };
    let Some(service) = facts.services.list().iter().find(same) else {
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
        let mut row = Row::of(node, peer, prefix);
        row.attributes = sent_as(route);
        row.told = sent.told(node, peer, prefix);
        row.services = services(facts, prefix);
        rows.insert(row.key(), row);
    }
    let known = facts.nodes.is_known() && facts.services.is_known() && facts.slices.is_known();
    for service in facts.services.list().iter().filter(|_| known) {
        for due in announcers::due(facts, service, world) {
            let prefix = due.route.prefix.to_string();
            let key = (due.node.to_string(), due.peer.clone(), prefix.clone());
            let row = rows.entry(key).or_insert_with(|| {
                let mut row = Row::of(&due.node, &due.peer, &prefix);
                row.told = sent.told(&due.node, &due.peer, &prefix);
                row.attributes = decided_as(&due.route);
                row
            });
            row.decided = Some(true);
            row.services.insert(format!(
                "{}/{}",
                service.namespace().unwrap_or_default(),
                service.name_any()
            ));
        }
    }
    let mut rows: Vec<Row> = rows
        .into_values()
        .filter(|row| only.is(&row.node, &row.peer, &row.prefix))
        .collect();
    for row in &mut rows {
        row.judge(known);
    }
    let found = rows
        .iter()
        .filter_map(|row| Some((&*row.node, &*row.peer, &*row.prefix, row.told.as_ref()?)));
    let problems = problems(found);
    if diff {
        rows.retain(|row| row.sent != row.decided && row.sent.is_some());
    }
    let mut report = Report::new("BgpReport", facts, Body { routes: rows });
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

fn services(facts: &Facts, prefix: &str) -> BTreeSet<String> {
    let Ok(prefix) = prefix.parse::<IpNet>() else {
        return BTreeSet::new();
    };
    let holds = |service: &&k8s_openapi::api::core::v1::Service| {
        let mut ips = ServiceView::from(*service).ingress.into_iter().flatten();
        ips.any(|ip| prefix.contains(&ip))
    };
    let services = facts.services.list().iter().filter(holds);
    services
        .map(|service| format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any()))
        .collect()
}

fn sent_as(route: &Route) -> Attributes {
    Attributes {
        next_hop: route.next_hop.clone(),
        next_hop_link_local: route.next_hop_link_local.clone(),
        origin: Some(route.origin.clone()),
        as_path: Some(route.as_path.clone()),
        local_pref: route.local_pref,
        communities: route.communities.clone(),
        large_communities: route.large_communities.clone(),
    }
}

fn decided_as(route: &metallb_announce::Route) -> Attributes {
    let (large, standard) = route
        .path
        .communities
        .iter()
        .partition(|community| matches!(community, metallb_config::Community::Large { .. }));
    let texts = |all: Vec<_>| all.into_iter().map(announcers::community).collect();
    Attributes {
        local_pref: Some(route.path.local_pref).filter(|local_pref| *local_pref != 0),
        communities: texts(standard),
        large_communities: texts(large),
        ..Attributes::default()
    }
}

impl Row {
    fn of(node: &str, peer: &str, prefix: &str) -> Self {
        Self {
            node: node.to_owned(),
            peer: peer.to_owned(),
            prefix: prefix.to_owned(),
            ..Self::default()
        }
    }

    fn key(&self) -> (String, String, String) {
        (self.node.clone(), self.peer.clone(), self.prefix.clone())
    }

    fn judge(&mut self, known: bool) {
        let (sent, why) = match &self.told {
            None => (None, None),
            Some(Told::Yes) => (Some(true), None),
            Some(Told::Unknown(why)) => (None, Some(why.clone())),
            Some(Told::NotYet(why) | Told::No(why) | Told::Never(why)) => (Some(false), Some(why.clone())),
        };
        (self.sent, self.why) = (sent, why);
        if known && self.decided.is_none() {
            self.decided = Some(false);
            self.why = (sent == Some(true)).then(|| "not decided: the objects do not ask for it".to_owned());
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
        let own = &row.attributes;
        let numbers = |numbers: &Vec<u32>| {
            let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            texts.join(" ")
        };
        let hops: Vec<&str> = [&own.next_hop, &own.next_hop_link_local]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let mut cells = vec![
            row.node.clone(),
            row.peer.clone(),
            row.prefix.clone(),
            or_dash(Some(hops.join(" "))),
        ];
        if style.wide {
            cells.extend([
                or_dash(own.origin.as_ref().map(|origin| origin.to_uppercase())),
                or_dash(own.as_path.as_ref().map(numbers)),
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
        let why = row.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let services: Vec<&str> = row.services.iter().map(String::as_str).collect();
        cells.extend([
            or_dash(Some(all.join(" "))),
            format!("{sent}{why}"),
            or_dash(Some(services.join(", "))),
        ]);
        cells
    };
    let rows: Vec<Vec<String>> = report.body.routes.iter().map(row).collect();
    match rows.as_slice() {
        _ if style.quiet => report.problem_lines(style, |_| true) + &report.footer(),
        [] if report.unknown => "It is not known what is sent.\n".to_owned() + &report.footer(),
        [] => "There is no such route.\n".to_owned() + &report.footer(),
        rows => table(0, &heads, rows) + &report.problem_lines(style, |_| true) + &report.footer(),
    }
}
