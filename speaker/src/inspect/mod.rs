//! The looking glass: read-only answers about BGP, BFD, layer 2, membership and configuration, beside `/metrics` and
//! guarded as that is.
//!
//! Each session's task answers one page of routes at a time, between two of its events, and so does the engine for all
//! Services: no answer delays a packet. Routes are never held in memory as a whole.

mod answer;
mod records;
mod routes;
mod views;
mod whole;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::join_all;
use metallb_config::Backend;
use metallb_dataplane::bgp::{Part, View};
use metallb_inspect::{Head, Index, ROOT, SCHEMA};
use serde::Deserialize;
use tokio::time::timeout;

use crate::backend::Bgp;
use crate::sessions::{Source, rfc3339};
use answer::whole;
pub(crate) use records::Records;
pub(crate) use whole::{Question, Sources, flags};

/// How long a session's task may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the handlers answer from.
#[derive(Clone, Debug)]
struct Glass {
    bgp: Bgp,
    /// `None` with FRR, which has the sessions then, and which this container cannot ask.
    source: Option<Source>,
    backend: Backend,
    node: String,
    pod: String,
    /// The paths of [`Sources`] are there.
    whole: bool,
}

/// The parameters of a query.
#[derive(Clone, Debug, Default, Deserialize)]
struct Wanted {
    peer: Option<String>,
    prefix: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    more: Option<String>,
}

/// The paths of the looking glass, for [`MetricsOptions`](metallb_runtime::admin::MetricsOptions).
pub(crate) fn routes(bgp: &Bgp, backend: Backend, node: &str, pod: &str, sources: Option<Sources>) -> Router {
    let glass = Glass {
        bgp: bgp.clone(),
        source: Source::new(bgp),
        backend,
        node: node.to_owned(),
        pod: pod.to_owned(),
        whole: sources.is_some(),
    };
    let rest = sources.map(|sources| whole::routes(glass.clone(), sources));
    let path = |rest: &str| format!("{ROOT}{rest}");
    Router::new()
        .route(ROOT, get(index))
        .route(&path("/bgp/sessions"), get(sessions))
        .route(&path("/bgp/routes"), get(table))
        .route(&path("/bfd"), get(bfd))
        .with_state(glass)
        .merge(rest.unwrap_or_default())
}

impl Glass {
    fn head(&self) -> Head {
        Head {
            schema: SCHEMA.to_owned(),
            component: "speaker".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            pod: self.pod.clone(),
            time: rfc3339(SystemTime::now()),
        }
    }

    /// Says who knows of the sessions: an empty list would say that there are none.
    fn unknown(&self) -> Response {
        let ask = match self.backend {
            Backend::FrrK8s => "kubectl get bgpsessionstates -A -l frrk8s.metallb.io/node=",
            Backend::Native | Backend::Frr => "its metrics on port 9121, or vtysh in the container frr, of node ",
        };
        let text = format!(
            "the speaker does not know: with the back-end {} the sessions are FRR's; ask {ask}{}\n",
            self.backend.name(),
            self.node
        );
        (StatusCode::NOT_IMPLEMENTED, text).into_response()
    }

    /// Looks at one session; an error if its task does not answer in time.
    async fn look(&self, peer: &str, part: Part) -> Result<Option<View>, Response> {
        let late = || {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the BGP session with {peer} did not answer within {TIMEOUT:?}\n"),
            )
                .into_response()
        };
        timeout(TIMEOUT, self.bgp.look(peer, part)).await.map_err(|_| late())
    }
}

async fn index(State(glass): State<Glass>) -> Response {
    let paths = [
        ("/bgp/sessions", "BGP sessions of this node"),
        (
            "/bgp/routes",
            "routes that peers have been sent, or should be (?peer=, ?prefix=)",
        ),
        ("/bfd", "BFD sessions of this node"),
    ];
    let rest = whole::PATHS.into_iter().filter(|_| glass.whole);
    let index = Index {
        paths: paths
            .into_iter()
            .chain(rest)
            .map(|(path, about)| (format!("{ROOT}{path}"), about.to_owned()))
            .collect(),
        backend: glass.backend.name().to_owned(),
    };
    whole(&glass.head(), &index)
}

async fn sessions(State(glass): State<Glass>, Query(wanted): Query<Wanted>) -> Response {
    let Some(source) = &glass.source else {
        return glass.unknown();
    };
    let sessions = source.sessions.borrow().clone();
    let sessions: BTreeMap<_, _> = sessions
        .into_iter()
        .filter(|(peer, _)| wanted.peer.as_ref().is_none_or(|wanted| wanted == peer))
        .collect();
    let looks = join_all(sessions.keys().map(|peer| glass.look(peer, Part::Nothing))).await;
    let mut answer = Vec::new();
    for ((peer, session), view) in sessions.iter().zip(looks) {
        match view {
            Ok(view) => {
                let path = views::path_of(source, peer);
                answer.push(views::session(&glass.node, peer, session, view.as_ref(), path));
            }
            Err(late) => return late,
        }
    }
    whole(&glass.head(), &answer)
}

async fn bfd(State(glass): State<Glass>) -> Response {
    match &glass.source {
        Some(source) => whole(&glass.head(), &views::paths(source)),
        None => glass.unknown(),
    }
}

async fn table(State(glass): State<Glass>, Query(wanted): Query<Wanted>) -> Response {
    routes::answer(glass, wanted).await.unwrap_or_else(|refused| refused)
}

#[cfg(test)]
mod tests;
