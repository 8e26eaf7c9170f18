//! `version`: of this program, and of the components.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Global;
use crate::facts::Facts;
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, finish};
use crate::report::{NotSeen, Report};
use crate::world;

#[derive(JsonSchema, Serialize)]
pub(crate) struct Versions {
    /// Of this program.
    client: &'static str,
    /// The images of the pods, by component.
    components: BTreeMap<&'static str, BTreeSet<String>>,
}

pub(crate) async fn run(global: &Global) -> Printed {
    let facts = input::read(global, Wanted::Programs).await;
    let report = match &facts {
        Ok(facts) => report(facts),
        // This program knows its own version without a cluster.
        Err(Failure::Cluster(error)) => {
            let mut report = report(&Facts {
                now: input::now(),
                ..Facts::default()
            });
            let why = format!("{error:#}");
            report.not_seen = vec![NotSeen {
                what: "pods",
                why,
                without: WITHOUT,
            }];
            report
        }
        Err(Failure::Usage(error)) => return Err(Failure::Usage(anyhow::anyhow!("{error:#}"))),
    };
    finish(report, global, |report, _| text(report))
}

const WITHOUT: &str = "the versions of the components are not known";

fn report(facts: &Facts) -> Report<Versions> {
    let versions = Versions {
        client: env!("CARGO_PKG_VERSION"),
        components: world::versions(facts),
    };
    let mut report = Report::new("VersionReport", facts, versions);
    report.not_seen = NotSeen::of(&facts.pods, "pods", WITHOUT).into_iter().collect();
    report.unknown = !report.not_seen.is_empty();
    report
}

fn text(report: &Report<Versions>) -> String {
    let mut text = format!("kubectl-metallb  {}\n", report.body.client);
    for (component, images) in &report.body.components {
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        text += &format!("{component:<15}  {}\n", images.join(", "));
    }
    if report.not_seen.is_empty() && report.body.components.is_empty() {
        text += "No pods of MetalLB were found.\n";
    }
    for unseen in &report.not_seen {
        text += &unseen.line();
    }
    text
}
