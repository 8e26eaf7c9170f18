//! `bgp`: the sessions of speakers, and what they have sent over them.

mod peers;
mod routes;

use schemars::JsonSchema;
use serde::Serialize;

use crate::args::{Bgp, Global};
use crate::ask::{self, ROUTES, SESSIONS};
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, finish};
use crate::world::World;

/// What was asked for.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<peers::Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<routes::Row>>,
}

pub(crate) async fn run(global: &Global, what: &Bgp) -> Printed {
    let mut facts = input::read(global, Wanted::Statuses).await?;
    let (node, peer, paths) = match what {
        Bgp::Peers { peer, node } => (node, peer, &[SESSIONS][..]),
        Bgp::Routes { peer, node, .. } => (node, peer, &[SESSIONS, ROUTES][..]),
    };
    let query = peer.as_ref().map(|peer| format!("?peer={peer}")).unwrap_or_default();
    let paths: Vec<String> = paths.iter().map(|path| format!("{path}{query}")).collect();
    ask::speakers(global, &mut facts, &paths, node.as_deref()).await;
    let world = World::new(&facts, global).map_err(Failure::Usage)?;
    match what {
        Bgp::Peers { peer, node } => {
            let report = peers::report(&facts, &world, peer.as_deref(), node.as_deref());
            finish(report, global, peers::text)
        }
        Bgp::Routes { what, peer, node, diff } => {
            let only = routes::Only::new(&facts, global, what.as_deref(), peer.as_deref(), node.as_deref());
            let report = routes::report(&facts, &world, &only.map_err(Failure::Usage)?, *diff);
            finish(report, global, routes::text)
        }
    }
}
