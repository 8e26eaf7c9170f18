//! Inspection of a running session: its state, and its Adj-RIB-Out page by page.

use ipnet::IpNet;
use metallb_bgp::{Listed, Negotiated, Posture, Session, State};
use tokio::sync::oneshot;

use super::{BgpHandle, command::Command};

/// Which routes are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// None.
    Nothing,
    /// At most so many, in order, from behind this prefix on or from the first.
    After(Option<IpNet>, usize),
    /// That of one prefix.
    At(IpNet),
}

/// A question to the task of a session.
#[derive(Debug)]
pub struct Look {
    pub(super) part: Part,
    pub(super) answer: oneshot::Sender<View>,
}

/// A session at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Where it stands.
    pub state: State,
    /// What both sides agreed on, if they did.
    pub negotiated: Option<Negotiated>,
    /// Whether everything is withdrawn on purpose.
    pub drained: bool,
    /// The routes that were asked for, in the order of their prefixes.
    pub routes: Vec<Listed>,
}

impl Look {
    pub(super) fn at(self, session: &Session) {
        let rib = session.rib();
        let routes = match self.part {
            Part::Nothing => Vec::new(),
            Part::After(after, limit) => rib.listed(after).take(limit).collect(),
            Part::At(prefix) => rib.listed_at(prefix).into_iter().collect(),
        };
        let view = View {
            state: session.state(),
            negotiated: session.negotiated().cloned(),
            drained: rib.posture() == Posture::Withdraw,
            routes,
        };
        // Fails if the caller has stopped waiting.
        drop(self.answer.send(view));
    }
}

impl BgpHandle {
    /// Looks at the session with a peer; `None` if there is none, or its task has failed. It is up to the caller how long to
    /// wait.
    pub async fn look(&self, peer: &str, part: Part) -> Option<View> {
        let (answer, view) = oneshot::channel();
        self.command(peer, Command::Look(Look { part, answer }));
        view.await.ok()
    }
}
