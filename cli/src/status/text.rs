//! The status for people.

use super::rows::{Body, PoolRow, Status, Usage};
use crate::report::{Report, problems};
use crate::table::{Style, many, table};

/// Above that many nodes only those with a note are shown.
const NODES: usize = 20;
/// Cells of a bar.
const BAR: i64 = 10;

pub(super) fn text(report: &Report<Body>, style: Style) -> String {
    let own = &report.body.status;
    let mut text = String::new();
    if !style.quiet {
        text += &format!(
            "{}\n{}\n{}{}",
            head(own),
            nodes(own, style),
            section(&pools(own, style)),
            section(&peers(own, style))
        );
    }
    text += &match report.problems.as_slice() {
        [] => format!("Problems: none found in {}.\n", looked_at(own)),
        found => problems(found, style),
    };
    text + &report.footer()
}

fn section(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{text}\n")
    }
}

fn looked_at(own: &Status) -> String {
    let services = own.services.get().map(|count| many(*count, "Service"));
    let others = [
        (own.pools.len(), "pool"),
        (own.peers.len(), "peer"),
        (own.speakers.len(), "node"),
    ];
    let all = services
        .into_iter()
        .chain(others.map(|(count, what)| many(count, what)));
    all.collect::<Vec<_>>().join(", ")
}

fn head(own: &Status) -> String {
    let version = |image: &String| image.rsplit_once(':').map_or("?", |(_, tag)| tag).to_owned();
    let mut versions: Vec<String> = own.versions.values().flatten().map(version).collect();
    versions.dedup();
    let version = if versions.is_empty() {
        "?".to_owned()
    } else {
        versions.join(", ")
    };
    let class = if own.class.is_empty() { "-" } else { &own.class };
    let controller = &own.controller;
    let leader = controller.leader.as_ref().map(|leader| {
        let renewed = controller.renewed.as_deref().unwrap_or("never");
        format!("  leader {leader} (renewed {renewed})")
    });
    let webhooks = match &own.webhooks {
        Some(ready) => format!("{ready} ready"),
        None if controller.ready.get().is_none() => "?".to_owned(),
        None => "served by the controller".to_owned(),
    };
    let known: Option<Vec<bool>> = own.speakers.iter().map(|row| row.ready.get().copied()).collect();
    let ready = known.map(|all| format!("{}/{}", all.iter().filter(|ready| **ready).count(), all.len()));
    format!(
        "MetalLB {version}  namespace {}  back-end {}  class {class}\n\
         controller  {} ready  configuration {}{}\nwebhooks    {webhooks}\nspeakers    {} ready\n",
        own.namespace,
        own.backend,
        controller.ready,
        controller.config,
        leader.unwrap_or_default(),
        ready.as_deref().unwrap_or("?")
    )
}

fn nodes(own: &Status, style: Style) -> String {
    let all = style.wide || own.speakers.len() <= NODES;
    let shown = own.speakers.iter().filter(|row| all || row.note.is_some());
    let rows = shown.map(|row| {
        let ready = row.ready.get().map_or("?", |ready| if *ready { "yes" } else { "no" });
        let routes = row
            .routes
            .get()
            .map_or_else(|| "?".to_owned(), |count| format!("~{count}"));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![row.node.clone(), or_dash(row.pod.clone()), ready.to_owned()];
        if style.wide {
            cells.extend([
                or_dash(row.image.clone()),
                or_dash(row.restarts.map(|count| count.to_string())),
            ]);
        }
        cells.extend([
            row.config.to_string(),
            row.l2_addresses.to_string(),
            row.sessions.to_string(),
            routes,
        ]);
        cells.extend(row.note.clone());
        cells
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut heads = vec!["NODE", "SPEAKER", "READY"];
    if style.wide {
        heads.extend(["IMAGE", "RESTARTS"]);
    }
    heads.extend(["CONFIG", "L2 ADDRESSES", "SESSIONS", "ROUTES", "NOTE"]);
    let hidden = own.speakers.len() - rows.len();
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        table(0, &heads, &rows)
    };
    if hidden > 0 {
        text += &format!("… and {} without notes (-o wide)\n", many(hidden, "more node"));
    }
    text
}

fn pools(own: &Status, style: Style) -> String {
    let rows = own.pools.iter().map(|row| {
        let (bar, used, free) = usage_of(row);
        let mut cells = vec![row.name.clone(), format!("{bar}  {used}"), free];
        if style.wide {
            cells.extend(
                [&row.v4, &row.v6].map(|half| format!("{}/{}", number(half.used.get()), number(Some(&half.total)))),
            );
        }
        let auto = if row.auto_assign { "yes" } else { "no" };
        let by = if row.advertised_by.is_empty() {
            "-".to_owned()
        } else {
            row.advertised_by.join(", ")
        };
        cells.extend([auto.to_owned(), row.whom.clone(), by]);
        cells
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut heads = vec!["POOL", "USED", "FREE"];
    if style.wide {
        heads.extend(["IPV4", "IPV6"]);
    }
    heads.extend(["AUTO", "FOR", "ADVERTISED BY"]);
    if rows.is_empty() {
        String::new()
    } else {
        table(0, &heads, &rows)
    }
}

/// A bar, what is used, and what is free.
pub(crate) fn usage_of(row: &PoolRow) -> (String, String, String) {
    usage(&both(row))
}

/// Both families together.
fn both(row: &PoolRow) -> Usage {
    let used = row.v4.used.get().zip(row.v6.used.get());
    Usage {
        total: row.v4.total.saturating_add(row.v6.total),
        used: used.map(|(v4, v6)| v4.saturating_add(*v6)).into(),
    }
}

fn usage(own: &Usage) -> (String, String, String) {
    let Some(used) = own.used.get() else {
        return (
            "?".repeat(10),
            format!("?/{}", number(Some(&own.total))),
            "?".to_owned(),
        );
    };
    let part = |whole: i64| {
        let part = i128::from(*used) * i128::from(whole) / i128::from(own.total.max(1));
        i64::try_from(part).unwrap_or(whole).clamp(0, whole)
    };
    let full = usize::try_from(part(BAR).max(i64::from(*used > 0))).unwrap_or_default();
    let bar: String = (0..10).map(|cell| if cell < full { '█' } else { '░' }).collect();
    let used_of = format!("{}/{} ({}%)", number(Some(used)), number(Some(&own.total)), part(100));
    (bar, used_of, number(Some(&own.total.saturating_sub(*used))))
}

/// A number, rounded where nobody would read it.
fn number(count: Option<&i64>) -> String {
    match count {
        None => "?".to_owned(),
        Some(count) if *count < 10_000_000 => count.to_string(),
        Some(count) => format!("{count:.1e}"),
    }
}

fn peers(own: &Status, style: Style) -> String {
    let rows = own.peers.iter().map(|row| {
        let bfd = row
            .bfd
            .as_ref()
            .map_or_else(|| "-".to_owned(), |bfd| format!("{bfd} up"));
        let routes = row
            .routes
            .get()
            .map_or_else(|| "?".to_owned(), |count| format!("~{count}"));
        let mut cells = vec![
            row.name.clone(),
            row.address.clone(),
            row.asn.clone(),
            format!("{} up", row.sessions),
            bfd,
            routes,
        ];
        if style.wide {
            cells.push(row.vrf.clone().unwrap_or_else(|| "-".to_owned()));
        }
        cells
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut heads = vec!["PEER", "ADDRESS", "AS", "SESSIONS", "BFD", "ROUTES SENT"];
    if style.wide {
        heads.push("VRF");
    }
    if rows.is_empty() {
        String::new()
    } else {
        table(0, &heads, &rows)
    }
}
