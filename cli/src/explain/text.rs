//! The explanation of a Service for people.

use super::explanation::{Answering, Bgp, Body, Clash, Explanation, Layer2, Told, Trial};
use super::service::list;
use crate::report::Report;
use crate::table::{Mark, Style, few, many, table};

/// Rows of one table; `-o wide` shows all.
const ROWS: usize = 12;
/// Nodes named in one row.
const NAMED: usize = 3;

pub(crate) fn text(report: &Report<Body<Explanation>>, style: Style) -> String {
    let own = &report.body.explanation;
    let mark = style.mark(match report.problems.is_empty() {
        true if own.known => Mark::Good,
        true => Mark::Unknown,
        false => Mark::Bad,
    });
    let mut text = format!(
        "Service {}  {}\nVerdict: {mark} {}\n",
        own.service, own.summary, own.verdict
    );
    if own.ours.is_ours && !style.quiet {
        text += &sections(own, style);
    }
    if own.ours.is_ours {
        // What the verdict does not tell.
        text + &report.problem_lines(style, |problem| !own.verdict.contains(&problem.text)) + &report.footer()
    } else {
        text
    }
}

fn sections(own: &Explanation, style: Style) -> String {
    let class = match own.ours.class.as_str() {
        "" => "spec.loadBalancerClass is empty, and the controller runs without --lb-class".to_owned(),
        class => format!("spec.loadBalancerClass is {class}, which the controller serves"),
    };
    let mut text = format!("\n1 Ours?       yes: {class}\n2 Asks for    {}\n", asked(own));
    text += &address(own, style);
    text += &match &own.endpoints {
        None => "4 Endpoints   ? not known\n".to_owned(),
        Some(serving) if !serving.any => "4 Endpoints   none is ready\n".to_owned(),
        Some(serving) => {
            let who = if serving.local {
                "only these nodes may announce"
            } else {
                "every node may announce"
            };
            let policy = if serving.local { "Local" } else { "Cluster" };
            format!(
                "4 Endpoints   ready on {} (policy {policy}: {who})\n",
                nodes(&serving.nodes, style)
            )
        }
    };
    if !own.known {
        text += "5 Layer 2     ? not known\n6 BGP         ? not known\n";
    } else if !own.address.ips.is_empty() {
        text += &layer2(&own.layer2, style);
        text += &bgp(&own.bgp, style);
    }
    text
}

fn asked(own: &Explanation) -> String {
    let asked = &own.asked;
    if let Some(error) = &asked.error {
        return format!("? {error}");
    }
    let mut all = Vec::new();
    if !asked.ips.is_empty() {
        all.push(format!("address {}", list(&asked.ips)));
    }
    all.extend(asked.pool.iter().map(|pool| format!("pool {pool}")));
    all.extend(asked.key.iter().map(|key| format!("sharing key {key:?}")));
    if all.is_empty() {
        all.push("no address, pool or sharing key".to_owned());
    }
    format!("{}; its families: {}", all.join(", "), asked.families)
}

fn address(own: &Explanation, style: Style) -> String {
    let address = &own.address;
    let has = if address.ips.is_empty() {
        "none".to_owned()
    } else {
        list(&address.ips)
    };
    let pool = address
        .pool
        .as_ref()
        .map(|pool| format!(" (annotation ip-allocated-from-pool: {pool})"));
    let mut text = format!("3 Address     {has}{}\n", pool.unwrap_or_default());
    if !address.due.is_empty() && (address.due != address.ips || address.reason != "Allocated") {
        text += &format!("              {}: {}\n", address.reason, address.message);
    }
    if !own.trials.is_empty() {
        if address.due == address.ips && !address.ips.is_empty() && own.asked.ips.is_empty() {
            text += "              kept: a working address is not changed. Were it asked for today:\n";
        }
        let rows: Vec<Vec<String>> = own
            .trials
            .iter()
            .map(|trial| {
                let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
                let tried = number(trial.tried.map(|tried| tried.to_string()));
                let priority = number(
                    trial
                        .priority
                        .filter(|priority| *priority != 0)
                        .map(|priority| priority.to_string()),
                );
                let text = if own.asked.ips.is_empty() {
                    trial.text.clone()
                } else {
                    wanted(trial)
                };
                vec![tried, trial.pool.clone(), priority, text]
            })
            .collect();
        text += &table(14, &["TRY", "POOL", "PRIORITY", "ANSWER"], &rows);
    }
    own.clashes.iter().for_each(|clash| text += &clashing(clash, style));
    text
}

/// The answer of a pool that is asked for an address by name.
fn wanted(trial: &Trial) -> String {
    match trial.ok {
        true => "yes: it is free, or can be shared".to_owned(),
        false => trial.text.clone(),
    }
}

fn clashing(clash: &Clash, style: Style) -> String {
    let key = |key: &Option<String>| key.as_ref().map_or_else(|| "none".to_owned(), |key| format!("{key:?}"));
    let same_key = clash.own_key.is_some() && clash.own_key == clash.their_key;
    let mark = |good| style.mark(if good { Mark::Good } else { Mark::Bad });
    let sign = if same_key { "=" } else { "≠" };
    let ports = match clash.ports.as_slice() {
        [] => "no port in both".to_owned(),
        ports => format!("{} in both", ports.join(", ")),
    };
    let policy = if clash.same_backend {
        "same Pods"
    } else {
        "other Pods (traffic policy and selector)"
    };
    let mut text = format!("              {} is held by {}:\n", clash.ip, clash.services.join(", "));
    text += &format!(
        "              key {} {sign} {} {}  {ports} {}  {policy} {}\n",
        key(&clash.own_key),
        key(&clash.their_key),
        mark(same_key),
        mark(clash.ports.is_empty()),
        mark(clash.same_backend)
    );
    if same_key && clash.ports.is_empty() && clash.same_backend {
        return text;
    }
    let shared = match (&clash.own_key, &clash.their_key) {
        (_, Some(theirs)) => format!("give this Service the annotation metallb.io/allow-shared-ip: {theirs}"),
        (Some(own), None) => format!(
            "give {} the annotation metallb.io/allow-shared-ip: {own}",
            clash.services.join(", ")
        ),
        (None, None) => "give all of them the same annotation metallb.io/allow-shared-ip".to_owned(),
    };
    let mut fixes = Vec::new();
    if !same_key {
        fixes.push(shared);
    }
    if !clash.ports.is_empty() {
        fixes.push("use different ports".to_owned());
    }
    if !clash.same_backend {
        fixes.push("use externalTrafficPolicy: Cluster in all".to_owned());
    }
    text + &format!("              To fix: {}; or drop the request.\n", fixes.join(", and "))
}

fn layer2(layer2: &Layer2, style: Style) -> String {
    let ads = match layer2.advertisements.as_slice() {
        [] => "no L2Advertisement selects it".to_owned(),
        names => format!("L2Advertisement {}", names.join(", ")),
    };
    let mut text = format!("5 Layer 2     {ads}\n");
    if let Some(reason) = layer2.reason.as_ref().filter(|_| !layer2.advertisements.is_empty()) {
        text += &format!("              {reason}\n");
    }
    let shown = if style.wide { usize::MAX } else { ROWS };
    let mut heads = vec!["RANK", "NODE", "HASH", "MAY ANNOUNCE"];
    if style.wide {
        heads.insert(3, "PREFERENCE");
    }
    let row = |rank: String, node: &str, hash: &str, score: String, text: String| match style.wide {
        true => vec![rank, node.to_owned(), hash.to_owned(), score, text],
        false => vec![rank, node.to_owned(), hash.chars().take(8).collect(), text],
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (place, rank) in layer2.ranked.iter().enumerate().take(shown) {
        let note = match place {
            0 => "yes  ← owner",
            1 => "yes    would take over",
            _ => "yes",
        };
        rows.push(row(
            (place + 1).to_string(),
            &rank.node,
            &rank.hash,
            rank.score.to_string(),
            note.to_owned(),
        ));
    }
    for out in layer2.out.iter().take(shown) {
        rows.push(row(
            "-".to_owned(),
            &out.node,
            "-",
            "-".to_owned(),
            format!("no: {}", out.reason),
        ));
    }
    if !rows.is_empty() && !layer2.advertisements.is_empty() {
        text += &table(14, &heads, &rows);
    }
    let hidden = layer2.ranked.len().saturating_sub(shown) + layer2.out.len().saturating_sub(shown);
    if hidden > 0 {
        text += &format!("              … and {} (-o wide)\n", many(hidden, "more node"));
    }
    if let Some(sent) = &layer2.sent {
        text += &answering(layer2.decided.as_deref(), sent);
    }
    text
}

/// Who should answer, and who says that it does.
fn answering(decided: Option<&str>, sent: &[Answering]) -> String {
    let mut text = format!("              decided  {}\n", decided.unwrap_or("nobody"));
    for Answering { node, address } in sent {
        let silent = if address.yielded { ", silent for now" } else { "" };
        text += &format!(
            "              sent     {node}: {} since {} on {}: {} requests, {} answers, {} gratuitous{silent}\n",
            address.address,
            address.since,
            address.interfaces.join(", "),
            address.requests,
            address.answers,
            address.gratuitous
        );
    }
    let agree = match sent {
        [] => "no speaker that was asked answers",
        sent if sent.iter().all(|own| Some(own.node.as_str()) == decided) => "all speakers that were asked agree",
        _ => "this is not what is decided",
    };
    text + &format!("              {agree}\n")
}

fn bgp(bgp: &Bgp, style: Style) -> String {
    let ads = match bgp.advertisements.as_slice() {
        [] => "no BGPAdvertisement selects it".to_owned(),
        names => format!("BGPAdvertisement {}", names.join(", ")),
    };
    let mut text = format!("6 BGP         {ads}\n");
    if let Some(reason) = bgp.reason.as_ref().filter(|_| !bgp.advertisements.is_empty()) {
        text += &format!("              {reason}\n");
    }
    let row = |told: &Told| {
        let peers = if told.peers.is_empty() {
            "-".to_owned()
        } else {
            told.peers.join(", ")
        };
        let what = told
            .reason
            .as_ref()
            .map_or_else(|| told.routes.join("; "), |reason| format!("no: {reason}"));
        vec![nodes(&told.nodes, style), peers, what]
    };
    let mut rows: Vec<Vec<String>> = bgp.rows.iter().map(row).collect();
    let mut heads = vec!["NODES", "PEERS", "SHOULD ANNOUNCE"];
    if bgp.rows.iter().any(|told| told.sent.is_some()) {
        heads.push("SENT");
        let sent = bgp
            .rows
            .iter()
            .map(|told| told.sent.clone().unwrap_or_else(|| "-".to_owned()));
        rows.iter_mut().zip(sent).for_each(|(row, sent)| row.push(sent));
    }
    if !rows.is_empty() {
        text += &table(14, &heads, &rows);
    }
    text
}

/// Names of nodes, not more than a few.
fn nodes(names: &[String], style: Style) -> String {
    match names {
        [] => "no node that is named".to_owned(),
        names if style.wide => names.join(", "),
        names => few(names, NAMED),
    }
}
