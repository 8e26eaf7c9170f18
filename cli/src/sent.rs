//! What speakers have sent to BGP peers, to be held against what they should have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use metallb_config::Backend;
use metallb_inspect::bgp::{Route, Session};

use crate::facts::Facts;
use crate::report::{Problem, Severity, ago};
use crate::sessions::UP;
use crate::world::World;

/// What is not sent for longer is a problem.
pub(crate) const SETTLES: Duration = Duration::from_secs(5);

/// What speakers have said of their sessions and routes.
pub(crate) struct Sent<'a> {
    pub(crate) sessions: BTreeMap<(&'a str, &'a str), &'a Session>,
    /// By node, peer and prefix.
    pub(crate) routes: BTreeMap<(&'a str, &'a str, &'a str), &'a Route>,
    /// Nodes whose speaker has said what it sends.
    pub(crate) heard: BTreeMap<&'a str, Timestamp>,
    now: Timestamp,
    asked: bool,
}

/// Whether a peer has been sent what it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// It has.
    Yes,
    /// It has not, on purpose or for a moment.
    NotYet(String),
    /// It has not, and should have been.
    No(String),
    /// It cannot be told over this session.
    Never(String),
    /// Nobody knows.
    Unknown(String),
}

impl<'a> Sent<'a> {
    pub(crate) fn new(facts: &'a Facts, world: &World) -> Self {
        let mut sent = Self {
            sessions: BTreeMap::new(),
            routes: BTreeMap::new(),
            heard: BTreeMap::new(),
            now: facts.now,
            asked: !facts.asked.speakers.is_empty() && world.settings.backend == Backend::Native,
        };
        for (node, heard) in facts.asked.heard().filter(|_| sent.asked) {
            let (Some(sessions), routes) = (&heard.sessions, heard.routes.iter().flatten()) else {
                continue;
            };
            sent.heard.insert(node, heard.at);
            let sessions = sessions.iter().map(|session| ((node, session.peer.as_str()), session));
            sent.sessions.extend(sessions);
            let routes = routes.map(|route| ((node, route.peer.as_str(), route.prefix.as_str()), route));
            sent.routes.extend(routes);
        }
        sent
    }

    /// Whether a peer has been sent a prefix; none if no speaker was asked, or none knows.
    pub(crate) fn told(&self, node: &str, peer: &str, prefix: &str) -> Option<Told> {
        if !self.asked {
            return None;
        }
        let Some(at) = self.heard.get(node) else {
            return Some(Told::Unknown("its speaker has not said".to_owned()));
        };
        let Some(session) = self.sessions.get(&(node, peer)) else {
            return Some(Told::No("its speaker has no such session".to_owned()));
        };
        let since: Timestamp = session.since.parse().unwrap_or_default();
        let settled = u64::try_from(at.duration_since(since).as_secs()).is_ok_and(|age| age > SETTLES.as_secs());
        let no = |why| Some(if settled { Told::No(why) } else { Told::NotYet(why) });
        if session.state != UP {
            return no(format!("session {}", self.down(session)));
        }
        if session.drained {
            return Some(Told::NotYet("the node is drained".to_owned()));
        }
        let Some(route) = self.routes.get(&(node, peer, prefix)) else {
            return no("its speaker does not know of it".to_owned());
        };
        match route.state.as_str() {
            "advertised" => Some(Told::Yes),
            "unsendable" => Some(Told::Never(route.why.clone().unwrap_or_default())),
            _ => no("not sent yet".to_owned()),
        }
    }

    /// State and age of a session that is not up, and why it is not.
    pub(crate) fn down(&self, session: &Session) -> String {
        let mut text = format!("{} for {}", session.state, ago(self.now, &session.since));
        if let Some(error) = &session.last_error {
            text += &format!(": {}", error.text);
            if error.count > 1 {
                text += &format!(", {} times", error.count);
            }
        }
        text
    }
}

impl Told {
    /// For people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::NotYet(why) | Self::No(why) | Self::Never(why) => format!("no: {why}"),
            Self::Unknown(why) => format!("? {why}"),
        }
    }

    fn problem(&self) -> Option<(&'static str, Severity, &str)> {
        match self {
            Self::No(why) => Some(("bgp.not-sent", Severity::Error, why)),
            Self::Never(why) => Some(("bgp.family", Severity::Warning, why)),
            Self::Yes | Self::NotYet(_) | Self::Unknown(_) => None,
        }
    }
}

/// What is wrong, once for each node, peer and reason: `all` has node, peer, prefix, and whether it was sent.
pub(crate) fn problems<'a>(all: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a Told)>) -> Vec<Problem> {
    let mut found: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for (node, peer, prefix, told) in all {
        if let Some((id, severity, why)) = told.problem() {
            found.entry((peer, node, id, severity, why)).or_default().insert(prefix);
        }
    }
    let text = |prefixes: &BTreeSet<&str>| match prefixes.first() {
        Some(only) if prefixes.len() == 1 => format!("{only} is not sent"),
        _ => format!("{} routes are not sent", prefixes.len()),
    };
    let found = found.iter();
    found
        .map(|((peer, node, id, severity, why), prefixes)| {
            let text = format!("{peer} from {node}: {}: {why}", text(prefixes));
            Problem::new(id, *severity, text).about("BGPPeer", peer).on(node)
        })
        .collect()
}
