//! `explain ip`: whose an address is.

use std::net::IpAddr;

use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Body, page, section};
use crate::facts::Facts;
use crate::report::{NotSeen, Problem, Report, Severity};
use crate::table::Style;
use crate::world::World;

/// Whose an address is.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ip {
    address: IpAddr,
    verdict: String,
    pool: Option<String>,
    /// Those that have it, each as `NAMESPACE/NAME`.
    services: Vec<String>,
    /// Those that ask for it by name and do not have it.
    asking: Vec<String>,
    /// The node that has it.
    node: Option<String>,
}

pub(super) fn report(facts: &Facts, world: &World, address: IpAddr) -> Report<Body<Ip>> {
    let (mut services, mut asking) = (Vec::new(), Vec::new());
    for service in facts.services.list() {
        let seen = metallb_ipam::Service::from(service);
        if seen.shown().contains(&address) {
            services.push(seen.key.to_string());
        } else if seen.load_balancer && seen.wanted().is_ok_and(|wanted| wanted.contains(&address)) {
            asking.push(seen.key.to_string());
        }
    }
    let node = facts.nodes.list().iter().find(|node| {
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        addresses.into_iter().any(|own| own.address.parse() == Ok(address))
    });
    let node = node.map(ResourceExt::name_any);
    let pool = world.parsed.config.pool_of(address).map(|pool| pool.name.clone());
    let free = world.assigner(facts).allocator().pool_of(address).is_some();
    let place = pool
        .as_ref()
        .map_or_else(|| "in no pool".to_owned(), |pool| format!("of pool {pool}"));
    let verdict = match (&node, services.is_empty(), &pool) {
        (Some(node), true, _) => format!("it is the address of node {node}, and {place}"),
        (_, false, _) => format!("{} has it, {place}", services.join(", ")),
        (None, true, None) => "it is in no pool: no Service can get it".to_owned(),
        (None, true, Some(pool)) if !free => format!("pool {pool} leaves it out, by avoidBuggyIPs"),
        (None, true, Some(pool)) => format!("it is free, in pool {pool}"),
    };
    let mut problems = Vec::new();
    if let (Some(node), Some(pool)) = (&node, &pool) {
        let text = format!("{address} of pool {pool} is the address of node {node}: a Service must not get it");
        let problem = Problem::new("pool.overlap", Severity::Error, text).about("IPAddressPool", pool);
        problems.push(problem.next(format!("kubectl metallb explain pool {pool}")));
    }
    if pool.is_none() && !services.is_empty() {
        let text = format!("{} has {address}, which is in no pool", services.join(", "));
        let problem = Problem::new("service.not-announced", Severity::Error, text).about("Service", &services[0]);
        problems.push(problem.next(format!("kubectl metallb explain svc {}", services[0])));
    }
    let explanation = Ip {
        address,
        verdict,
        pool,
        services,
        asking,
        node,
    };
    let mut report = Report::new("IpExplanation", facts, Body { explanation });
    report.problems = problems;
    report.not_seen = NotSeen::of(&facts.nodes, "nodes", "it may be the address of a node")
        .into_iter()
        .collect();
    report
}

pub(super) fn text(report: &Report<Body<Ip>>, style: Style) -> String {
    let own = &report.body.explanation;
    let services = own.services.iter().chain(&own.asking);
    let lines: Vec<String> = services
        .map(|service| format!("kubectl metallb explain svc {service}"))
        .collect();
    let mut sections = String::new();
    if !own.asking.is_empty() {
        sections += &section("Asked for by", &own.asking.join(", "));
    }
    if !lines.is_empty() {
        sections += &section("More", &lines.join("\n"));
    }
    page(
        report,
        &format!("Address {}", own.address),
        &own.verdict,
        &sections,
        style,
    )
}
