//! The text of a plan.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::announce::{Owner, Routes, Sessions};
use super::change::{Effect, Field, Object};
use super::{Address, Body, Fate, Plan};
use crate::report::Report;
use crate::table::{Style, many, table};

/// Rows of a table, unless all are asked for.
const ROWS: usize = 20;
/// Names or routes in a cell, unless all are asked for.
const CELL: usize = 5;
/// How far what follows a title is indented.
const INDENT: usize = 11;

pub(super) fn text(report: &Report<Body>, style: Style) -> String {
    let plan = &report.body.plan;
    let mut text = String::new();
    if plan.objects.is_empty() {
        text += "no effect: everything is as the files say\n";
    } else if style.quiet {
        text += &report.problem_lines(style, |_| true);
    } else {
        text += &objects(plan, style);
        text += &addresses(plan, style);
        text += &announced(plan, style);
    }
    if !plan.objects.is_empty() {
        text += &risk(plan);
    }
    if plan.skipped > 0 && !style.quiet {
        text += &format!(
            "Left out: {} of kinds that change nothing here.\n",
            many(plan.skipped, "object")
        );
    }
    if style.quiet { text } else { text + &report.footer() }
}

fn section(title: &str, line: &str) -> String {
    format!("{title:<INDENT$}{line}\n")
}

/// A table of so many rows that people read it.
fn rows(heads: &[&str], mut rows: Vec<Vec<String>>, style: Style) -> String {
    let all = rows.len();
    if all == 0 {
        return String::new();
    }
    if !style.wide {
        rows.truncate(ROWS);
    }
    let mut text = table(INDENT, heads, &rows);
    if rows.len() < all {
        text += &format!("{:INDENT$}… and {} more (-o wide shows all)\n", "", all - rows.len());
    }
    text
}

/// Some of a list, with how many more there are.
fn some<T: AsRef<str>>(list: &[T], style: Style) -> String {
    let shown = if style.wide { list.len() } else { list.len().min(CELL) };
    let mut text = list[..shown].iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if shown < list.len() {
        text += &format!(", … {} more", list.len() - shown);
    }
    text
}

fn objects(plan: &Plan, style: Style) -> String {
    let count = |effect| plan.objects.iter().filter(|object| object.effect == effect).count();
    let line = format!(
        "{} created, {} changed, {} deleted, {} refused",
        count(Effect::Created),
        count(Effect::Changed),
        count(Effect::Deleted),
        count(Effect::Refused)
    );
    let mut lines = Vec::new();
    for object in &plan.objects {
        let Object {
            object,
            effect,
            rule,
            text,
            fields,
        } = object;
        match effect {
            Effect::Created => lines.push(vec![object.clone(), "created".to_owned()]),
            Effect::Deleted => lines.push(vec![object.clone(), "deleted".to_owned()]),
            Effect::Refused => {
                let (rule, text) = (rule.unwrap_or_default(), text.as_deref().unwrap_or_default());
                lines.push(vec![object.clone(), format!("REFUSED by {rule}: {text}")]);
            }
            Effect::Changed => lines.extend(fields.iter().map(|field| vec![object.clone(), changed(field)])),
        }
    }
    section("Objects", &line) + &rows(&["OBJECT", "CHANGE"], lines, style)
}

fn changed(field: &Field) -> String {
    format!("{}: {} → {}", field.path, value(&field.before), value(&field.after))
}

/// A value in short.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn ips(ips: &[IpAddr]) -> String {
    match ips {
        [] => "-".to_owned(),
        ips => ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn addresses(plan: &Plan, style: Style) -> String {
    let count = |fate| plan.addresses.iter().filter(|address| address.effect == fate).count();
    let line = format!(
        "{} moved, {} lost, {} new, {} released; {} {}, {} on waiting",
        count(Fate::Moved),
        count(Fate::Lost),
        count(Fate::Gets),
        count(Fate::Released),
        many(plan.kept, "Service"),
        if plan.kept == 1 {
            "keeps its own"
        } else {
            "keep their own"
        },
        match plan.waiting {
            1 => "1 goes".to_owned(),
            waiting => format!("{waiting} go"),
        },
    );
    let row = |address: &Address| {
        let why = address.text.as_deref().unwrap_or_default();
        let what = match address.effect {
            Fate::Moved => format!("moved: {why}"),
            Fate::Lost => format!("LOST: {why}"),
            Fate::Gets => "gets it".to_owned(),
            Fate::Released => "released".to_owned(),
        };
        vec![address.service.clone(), ips(&address.before), ips(&address.after), what]
    };
    let all = plan.addresses.iter().map(row).collect();
    section("Addresses", &line) + &rows(&["SERVICE", "NOW", "THEN", ""], all, style)
}

fn announced(plan: &Plan, style: Style) -> String {
    let (Some(owners), Some(sessions), Some(routes)) = (&plan.owners, &plan.sessions, &plan.routes) else {
        return section("Layer 2", "? Nodes are not known") + &section("BGP", "? Nodes are not known");
    };
    layer2(owners, style) + &bgp(sessions, routes, style)
}

fn layer2(owners: &[Owner], style: Style) -> String {
    let moved = owners.iter().filter(|owner| owner.moved).count();
    let line = match (owners.len() - moved, moved) {
        (0, 0) => "no owner changes".to_owned(),
        (changed, moved) => format!(
            "{} with another owner, {moved} with other addresses",
            many(changed, "Service")
        ),
    };
    let node = |node: &Option<String>| node.as_deref().unwrap_or("-").to_owned();
    let row = |owner: &Owner| {
        vec![
            owner.service.clone(),
            ips(&owner.addresses),
            node(&owner.before),
            node(&owner.after),
        ]
    };
    let all = owners.iter().map(row).collect();
    section("Layer 2", &line) + &rows(&["SERVICE", "ADDRESS", "NOW", "THEN"], all, style)
}

fn bgp(sessions: &[Sessions], routes: &[Routes], style: Style) -> String {
    let count = |effect| -> usize {
        let own = sessions.iter().filter(|own| own.effect == effect);
        own.map(|own| own.nodes.len()).sum()
    };
    let line = match (sessions.is_empty(), routes.is_empty()) {
        (true, true) => "no session and no route changes".to_owned(),
        _ => format!(
            "sessions: {} end, {} reset, {} new, {} changed live",
            count("ends"),
            count("reset"),
            count("new"),
            count("live")
        ),
    };
    let row = |own: &Sessions| {
        let fields = match own.fields.is_empty() {
            true => String::new(),
            false => format!(" ({})", own.fields.join(", ")),
        };
        vec![
            own.peer.clone(),
            some(&own.nodes, style),
            format!("{}{fields}", own.effect),
        ]
    };
    let of_sessions = rows(&["PEER", "NODES", "SESSION"], sessions.iter().map(row).collect(), style);
    let row = |own: &Routes| {
        let sign = |sign: char, list: &[String]| list.iter().map(|route| format!("{sign}{route}")).collect::<Vec<_>>();
        let signed: Vec<String> = [sign('+', &own.add), sign('-', &own.remove)].concat();
        vec![some(&own.peers, style), some(&own.nodes, style), some(&signed, style)]
    };
    let of_routes = rows(&["PEERS", "NODES", "ROUTES"], routes.iter().map(row).collect(), style);
    section("BGP", &line) + &of_sessions + &of_routes
}

fn risk(plan: &Plan) -> String {
    let moved: BTreeSet<&String> = plan.addresses.iter().map(|address| &address.service).collect();
    let silenced = plan
        .interrupted
        .iter()
        .filter(|service| !moved.contains(service))
        .count();
    let mut line = match plan.interrupted.len() {
        0 => "no Service is interrupted".to_owned(),
        count => format!("{} interrupted", many(count, "Service")),
    };
    if plan.interrupted.len() > silenced {
        line += ": DNS and clients must learn the new address";
    }
    if silenced > 0 {
        line += &format!("; {silenced} announced by nobody any more");
    }
    section("Risk", &format!("{line}. Nothing was changed in the cluster."))
}
