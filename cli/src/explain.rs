//! `explain`: why something is as it is.

pub(crate) mod announcers;
mod explanation;
mod service;
mod text;

use anyhow::anyhow;

use crate::args::{Explain, Global};
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, print};
use crate::table::Style;
use crate::world::World;

pub(crate) async fn run(global: &Global, what: &Explain) -> Printed {
    let facts = input::read(global, Wanted::Everything).await?;
    let world = World::new(&facts, global).map_err(Failure::Usage)?;
    let Explain::Svc { name } = what;
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => {
            let namespace = global.namespace.as_deref().or(facts.namespace.as_deref());
            (namespace.unwrap_or("default"), name.as_str())
        }
    };
    if let Some(error) = facts.lacking() {
        return Err(Failure::Cluster(error));
    }
    let Some(report) = service::report(&facts, &world, namespace, name) else {
        return Err(Failure::Usage(anyhow!(
            "there is no Service {namespace}/{name} of type LoadBalancer"
        )));
    };
    let report = report.judged(global.fail_on);
    let text = print(
        &report,
        global.output,
        |style| text::text(&report, style),
        Style::of(global),
    );
    Ok((text.map_err(Failure::Usage)?, report.exit_code))
}

#[cfg(test)]
mod tests;
