//! `l2`: who answers for addresses on the local network, and who else claims them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::anyhow;
use metallb_announce::ServiceView;
use metallb_inspect::layer2::{Address, Conflict};
use metallb_ipam::Key;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Global, L2};
use crate::ask::{self, LAYER2, MEMBERS};
use crate::explain::announcers::{self, Slices};
use crate::facts::Facts;
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, finish};
use crate::report::{Problem, Report, Severity, ago};
use crate::table::{Style, or_dash, table};
use crate::world::World;

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    owners: Vec<Owner>,
    conflicts: Vec<Claim>,
    /// Whether conflicts alone are asked for.
    #[serde(skip)]
    conflicts_only: bool,
}

/// A node that answers for an address, or should.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    node: String,
    /// What it says; only address, Services and interfaces if it was not asked.
    #[serde(flatten)]
    own: Address,
    /// Whether it was asked.
    asked: bool,
    /// Who would take over.
    next: Option<String>,
    note: String,
}

/// A host that has claimed an address which a node announces.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    address: String,
    node: String,
    /// The node whose hardware address it is; none if it is of no speaker.
    of: Option<String>,
    #[serde(flatten)]
    conflict: Conflict,
}

pub(crate) async fn run(global: &Global, what: &L2) -> Printed {
    let mut facts = input::read(global, Wanted::Statuses).await?;
    let paths = [LAYER2, MEMBERS].map(str::to_owned);
    // All of them: an address of one may be answered by another, too.
    ask::speakers(global, &mut facts, &paths, None).await;
    let world = World::new(&facts, global).map_err(Failure::Usage)?;
    let (only, node, conflicts_only) = match what {
        L2::Owners { what, node } => (what.as_deref(), node.as_deref(), false),
        L2::Conflicts => (None, None, true),
    };
    let only = only.map(|what| addresses(&facts, global, what)).transpose();
    let only = only.map_err(Failure::Usage)?;
    let mut report = report(&facts, &world, only.as_ref(), node);
    report.body.conflicts_only = conflicts_only;
    report.unknown |= conflicts_only && !is_heard(&facts);
    finish(report, global, text)
}

/// Reads an address, or the name of a Service.
fn addresses(facts: &Facts, global: &Global, what: &str) -> anyhow::Result<BTreeSet<IpAddr>> {
    if let Ok(address) = what.parse() {
        return Ok([address].into());
    }
    let (namespace, name) = global.named(facts, what);
    let service = facts.service(namespace, name);
    let service = service.ok_or_else(|| {
        anyhow!("{what} is no address, and there is no Service {namespace}/{name} of type LoadBalancer")
    })?;
    Ok(ServiceView::from(service).ingress.into_iter().flatten().collect())
}

/// Nodes that say they answer for an address, and what they do for it.
type Holders<'a> = Vec<(&'a str, &'a Address)>;

/// Them by address.
pub(crate) type AllHolders<'a> = BTreeMap<IpAddr, Holders<'a>>;

/// Sorts what nodes say they answer for by address.
pub(crate) fn holders(facts: &Facts) -> AllHolders<'_> {
    let mut all = AllHolders::new();
    for (node, heard) in facts.asked.heard() {
        for address in heard.layer2.iter().flat_map(|layer2| &layer2.addresses) {
            if let Ok(ip) = address.address.parse() {
                all.entry(ip).or_default().push((node, address));
            }
        }
    }
    all
}

/// Says that several nodes answer for an address, if so.
pub(crate) fn split(ip: IpAddr, holders: &[(&str, &Address)]) -> Option<Problem> {
    let answering = holders.iter().filter(|(_, address)| !address.yielded);
    let nodes: Vec<&str> = answering.map(|(node, _)| *node).collect();
    (nodes.len() > 1).then(|| {
        let nodes = nodes.join(", ");
        let text = format!("{ip} is announced by {nodes}: clients reach one or the other");
        Problem::new("l2.split", Severity::Error, text)
    })
}

/// Whether any speaker has said what it answers.
pub(crate) fn is_heard(facts: &Facts) -> bool {
    facts.asked.heard().any(|(_, heard)| heard.layer2.is_some())
}

fn report(facts: &Facts, world: &World, only: Option<&BTreeSet<IpAddr>>, node: Option<&str>) -> Report<Body> {
    let macs = macs(facts);
    let mut ranked: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    let mut users: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    let slices = Slices::new(facts);
    for service in facts.services.list() {
        let order = announcers::ranked(&slices, service, world);
        for ip in ServiceView::from(service).ingress.into_iter().flatten() {
            ranked.entry(ip).or_default().extend(order.iter().cloned());
            users.entry(ip).or_default().push(Key::of(service).to_string());
        }
    }
    let (heard, holders, written) = (is_heard(facts), holders(facts), written(facts, world));
    let said: BTreeSet<IpAddr> = ranked.keys().chain(holders.keys()).copied().collect();
    let (mut owners, mut conflicts, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for ip in said.into_iter().filter(|ip| only.is_none_or(|only| only.contains(ip))) {
        let order = ranked.get(&ip).map_or(&[][..], Vec::as_slice);
        let services = users.get(&ip).cloned().unwrap_or_default();
        let holders = holders.get(&ip).map_or(&[][..], Vec::as_slice);
        let mut own: Vec<Owner> = match heard {
            true => holders
                .iter()
                .map(|(node, address)| told_by(facts, &macs, node, address))
                .collect(),
            false => services
                .iter()
                .filter_map(|service| written.get(service.as_str()))
                .flatten()
                .cloned()
                .collect(),
        };
        if !heard && own.is_empty() {
            own.extend(order.first().map(|node| Owner {
                node: node.clone(),
                note: "decided".to_owned(),
                ..Owner::default()
            }));
        }
        for owner in &mut own {
            owner.own.address = ip.to_string();
            owner.next = order.iter().find(|next| **next != owner.node).cloned();
            if owner.own.services.is_empty() {
                owner.own.services.clone_from(&services);
            }
        }
        own.retain(|owner| node.is_none_or(|node| node == owner.node));
        if !own.is_empty() {
            problems.extend(split(ip, holders));
        }
        owners.extend(own);
        for (node, address) in holders {
            conflicts.extend(address.conflicts.iter().map(|conflict| Claim {
                address: address.address.clone(),
                node: (*node).to_owned(),
                of: macs.get(conflict.mac.as_str()).map(|of| (*of).to_owned()),
                conflict: conflict.clone(),
            }));
        }
    }
    let mut report = Report::new(
        "L2Report",
        facts,
        Body {
            owners,
            conflicts,
            conflicts_only: false,
        },
    );
    report.problems = problems;
    report.not_seen = facts.asked.not_seen().into_iter().collect();
    if !heard {
        let by = if facts.l2_statuses.list().is_empty() {
            "decided"
        } else {
            "written in ServiceL2Status"
        };
        report
            .assumptions
            .push(format!("owners are those {by}: no speaker has said what it answers"));
        report.unknown = facts.services.why_not().is_some();
    }
    report
}

/// By hardware address, the node whose speaker has said that it is its own.
fn macs(facts: &Facts) -> BTreeMap<&str, &str> {
    let members = facts.asked.heard().filter_map(|(_, heard)| heard.members.as_ref());
    let members = members.flat_map(|members| &members.members);
    let own = members.flat_map(|member| {
        member
            .interfaces
            .values()
            .map(|mac| (mac.as_str(), member.name.as_str()))
    });
    own.collect()
}

fn told_by(facts: &Facts, macs: &BTreeMap<&str, &str>, node: &str, address: &Address) -> Owner {
    let conflicts = address.conflicts.iter().map(|conflict| {
        let of = macs.get(conflict.mac.as_str()).unwrap_or(&"foreign");
        format!(
            "conflict: {} ({of}) {} ago",
            conflict.mac,
            ago(facts.now, &conflict.last)
        )
    });
    let yielded = address
        .yielded
        .then(|| "silent: another node announces it, too".to_owned());
    Owner {
        node: node.to_owned(),
        own: address.clone(),
        asked: true,
        note: yielded.into_iter().chain(conflicts).collect::<Vec<_>>().join("; "),
        ..Owner::default()
    }
}

/// Owners by Service, as the objects of living speakers say.
fn written(facts: &Facts, world: &World) -> BTreeMap<String, Vec<Owner>> {
    let mut owners = BTreeMap::<_, Vec<Owner>>::new();
    let statuses = facts.l2_statuses.list().iter();
    let statuses = statuses.filter_map(|status| status.status.as_ref());
    for status in statuses.filter(|status| world.is_alive(&status.node)) {
        let service = Key::new(&status.service_namespace, &status.service_name).to_string();
        owners.entry(service).or_default().push(Owner {
            node: status.node.clone(),
            own: Address {
                interfaces: status.interfaces.iter().map(|own| own.name.clone()).collect(),
                ..Address::default()
            },
            ..Owner::default()
        });
    }
    owners
}

fn text(report: &Report<Body>, style: Style) -> String {
    let end = report.problem_lines(style, |_| true) + &report.footer();
    if style.quiet {
        return end;
    }
    if report.body.conflicts_only {
        let row = |claim: &Claim| {
            let own = &claim.conflict;
            let of = claim.of.clone().unwrap_or_else(|| "foreign".to_owned());
            let age = |at: &str| format!("{} ago", ago(report.now, at));
            let count = own.count.to_string();
            let (mac, interface) = (own.mac.clone(), own.interface.clone());
            vec![
                claim.address.clone(),
                claim.node.clone(),
                mac,
                of,
                interface,
                age(&own.first),
                age(&own.last),
                count,
            ]
        };
        let rows: Vec<Vec<String>> = report.body.conflicts.iter().map(row).collect();
        let heads = [
            "ADDRESS",
            "NODE",
            "CLAIMED BY",
            "OF",
            "INTERFACE",
            "FIRST",
            "LAST",
            "COUNT",
        ];
        return match rows.as_slice() {
            [] if report.unknown => "It is not known who else claims addresses.\n".to_owned() + &end,
            [] => "No speaker has told of a conflict.\n".to_owned() + &end,
            rows => table(0, &heads, rows) + &end,
        };
    }
    let row = |owner: &Owner| {
        let own = &owner.own;
        let number = |number: u64| or_dash(owner.asked.then(|| number.to_string()));
        vec![
            own.address.clone(),
            or_dash(Some(own.services.join(","))),
            owner.node.clone(),
            or_dash(owner.asked.then(|| ago(report.now, &own.since))),
            or_dash(Some(own.interfaces.join(","))),
            number(own.requests),
            number(own.answers),
            number(own.gratuitous),
            or_dash(owner.next.as_ref()),
            owner.note.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = report.body.owners.iter().map(row).collect();
    let heads = [
        "ADDRESS",
        "SERVICE",
        "OWNER",
        "SINCE",
        "INTERFACES",
        "REQUESTS",
        "ANSWERS",
        "GRATUITOUS",
        "NEXT",
        "NOTE",
    ];
    match rows.as_slice() {
        [] => "No node answers for such an address.\n".to_owned() + &end,
        rows => table(0, &heads, rows) + &end,
    }
}
