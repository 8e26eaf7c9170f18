//! `explain`: why something is as it is.

pub(crate) mod announcers;
mod explanation;
mod ip;
mod node;
mod peer;
mod pool;
mod service;
mod text;

use std::collections::BTreeSet;

use anyhow::anyhow;
use kube::ResourceExt;
use metallb_ipam::is_of_class;

use crate::args::{Explain, Global};
use crate::ask::{self, LAYER2, ROUTES, SESSIONS};
use crate::facts::{Facts, Read};
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, finish};
use crate::report::{Problem, Report, Severity, problems};
use crate::status::rows;
use crate::table::{Mark, Style, meant};
use crate::world::World;

use announcers::Slices;
pub(crate) use announcers::sentence;
pub(crate) use explanation::Body;

pub(crate) async fn run(global: &Global, what: &Explain) -> Printed {
    let wanted = match what {
        Explain::Svc { .. } => Wanted::Everything,
        Explain::Ip { .. } | Explain::Pool { .. } => Wanted::Services,
        Explain::Node { .. } | Explain::Peer { .. } => Wanted::Statuses,
    };
    let mut facts = input::read(global, wanted).await?;
    let world = World::new(&facts, global).map_err(Failure::Usage)?;
    if let Some(text) = facts.lacks_configuration() {
        return Err(Failure::Cluster(anyhow!(text)));
    }
    if let Explain::Svc { name } = what
        && let Some(paths) = questions(&facts, &world, global.named(&facts, name))
    {
        ask::speakers(global, &mut facts, &paths, None).await;
    }
    let (facts, world) = (&facts, &world);
    match what {
        Explain::Svc { name } => {
            let (namespace, name) = global.named(facts, name);
            known(&facts.services, "Services")?;
            let none = || absent(&format!("Service {namespace}/{name} of type LoadBalancer"));
            let report = service::report(facts, world, namespace, name).ok_or_else(none)?;
            finish(report, global, text::text)
        }
        Explain::Ip { address } => {
            known(&facts.services, "Services")?;
            finish(ip::report(facts, world, *address), global, ip::text)
        }
        Explain::Pool { name } => {
            let names = [named(&facts.pools), named(&facts.address_pools)].concat();
            let report = pool::report(facts, world, name).ok_or_else(|| misnamed("pool", name, &names))?;
            finish(report, global, pool::text)
        }
        Explain::Node { name } => {
            known(&facts.nodes, "Nodes")?;
            let report = node::report(facts, world, name);
            let report = report.ok_or_else(|| misnamed("Node", name, &named(&facts.nodes)))?;
            finish(report, global, node::text)
        }
        Explain::Peer { name } => {
            known(&facts.nodes, "Nodes")?;
            let report = peer::report(facts, world, name);
            let report = report.ok_or_else(|| misnamed("BGPPeer", name, &named(&facts.peers)))?;
            finish(report, global, peer::text)
        }
    }
}

/// Without these the question cannot be answered.
fn known<T>(read: &Read<T>, what: &str) -> Result<(), Failure> {
    let lacking = |text| Err(Failure::Cluster(anyhow!("{text}")));
    read.lacks(what).map_or(Ok(()), lacking)
}

fn absent(what: &str) -> Failure {
    Failure::Usage(anyhow!("there is no {what}"))
}

fn named<K: ResourceExt>(read: &Read<K>) -> Vec<String> {
    read.list().iter().map(ResourceExt::name_any).collect()
}

fn misnamed(what: &str, name: &str, names: &[String]) -> Failure {
    let meant = meant(name, names.iter().map(String::as_str));
    let meant = meant.map(|name| format!(" (did you mean {name}?)"));
    absent(&format!("{what} {name}{}", meant.unwrap_or_default()))
}

/// What the configuration says of an object that it refuses.
fn refused(world: &World, kind: &str, name: &str) -> Option<Problem> {
    let mut refused = world.parsed.refused.iter();
    let refused = refused.find(|refused| refused.object.kind == kind && refused.object.name == name)?;
    let text = format!("should be refused: {refused}");
    Some(Problem::new("control.config", Severity::Error, text).about(kind, name))
}

/// Titles, a verdict, what it rests on, and what is wrong.
fn page<T>(report: &Report<Body<T>>, title: &str, verdict: &str, sections: &str, style: Style) -> String {
    let worst = report.problems.iter().map(|problem| problem.severity).max();
    let mark = style.mark(match worst {
        None if report.not_seen.is_empty() => Mark::Good,
        None => Mark::Unknown,
        Some(Severity::Warning) => Mark::Doubtful,
        Some(Severity::Error) => Mark::Bad,
    });
    let mut text = format!("{title}\nVerdict: {mark} {verdict}.\n");
    if !style.quiet && !sections.is_empty() {
        text += &format!("\n{sections}");
    }
    if !report.problems.is_empty() {
        text += &format!("\n{}", problems(&report.problems, style));
    }
    text + &report.footer()
}

/// A section: its name, and lines beside each other.
fn section(name: &str, text: &str) -> String {
    let text = text.trim_end().replace('\n', &format!("\n{:14}", ""));
    format!("{name:<13} {text}\n")
}

/// What `status` says of one thing: those of its problems, and of what was not seen there, that matter to it.
fn part_of<T>(
    facts: &Facts,
    status: Report<rows::Body>,
    (kind, explanation): (&'static str, T),
    about: impl Fn(&Problem) -> bool,
    needs: &[&str],
) -> Report<Body<T>> {
    let mut report = Report::new(kind, facts, Body { explanation });
    let concerned = status.problems.into_iter().filter(about);
    // What follows would be the command that was given.
    report.problems = concerned.map(|problem| Problem { next: None, ..problem }).collect();
    report.assumptions = status.assumptions;
    report.not_seen = status.not_seen;
    report.not_seen.retain(|unseen| needs.contains(&unseen.what));
    report
}

/// What speakers are to be asked about a Service, if it is ours: of routes those alone that it may have.
fn questions(facts: &Facts, world: &World, (namespace, name): (&str, &str)) -> Option<Vec<String>> {
    let service = facts.service(namespace, name)?;
    if !is_of_class(service, &world.settings.class) {
        return None;
    }
    let due = announcers::due(&Slices::new(facts), service, world);
    let prefixes: BTreeSet<_> = due.into_iter().map(|due| due.route.prefix).collect();
    let routes = prefixes.iter().map(|prefix| format!("{ROUTES}?prefix={prefix}"));
    Some(
        [SESSIONS, LAYER2]
            .map(str::to_owned)
            .into_iter()
            .chain(routes)
            .collect(),
    )
}

#[cfg(test)]
pub(crate) fn schemas() -> std::collections::BTreeMap<&'static str, serde_json::Value> {
    fn schema<T: schemars::JsonSchema>() -> serde_json::Value {
        schemars::schema_for!(Report<Body<T>>).to_value()
    }
    std::collections::BTreeMap::from([
        ("Explanation", schema::<explanation::Explanation>()),
        ("IpExplanation", schema::<ip::Ip>()),
        ("NodeExplanation", schema::<node::NodeCase>()),
        ("PeerExplanation", schema::<peer::PeerCase>()),
        ("PoolExplanation", schema::<pool::PoolCase>()),
    ])
}

#[cfg(test)]
pub(crate) mod tests;
