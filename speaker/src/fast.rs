//! Fast failover between the membership, which finds out who is silent, and the segment, which has the second opinion.

use std::net::IpAddr;
use std::time::Duration;

use metallb_dataplane::l2::{Found, L2Handle};
use metallb_dataplane::members::{Heartbeat, MembersHandle, Question, Suspects};
use metallb_engine::{Engine, Links, Mac};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::gateway;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(500);

/// Something of the fast path to react to.
#[derive(Debug)]
pub(crate) enum News {
    /// These members may be gone.
    Suspects(Suspects),
    /// This is to be asked on the segment.
    Question(Question),
    /// Somebody on the segment has this address.
    Found(Found),
}

/// The fast path; forever silent where it is off.
#[derive(Debug)]
pub(crate) struct FastPath {
    members: Option<MembersHandle>,
    suspects: Option<watch::Receiver<Suspects>>,
    questions: Option<broadcast::Receiver<Question>>,
    l2: L2Handle,
    found: broadcast::Receiver<Found>,
    asked: Asked,
    signs: Option<SignsOfLife>,
}

/// Signs of life, so that nobody takes a speaker for well of which only the fast path is.
#[derive(Debug)]
struct SignsOfLife {
    /// Of whoever waits for what is next here, which is the one that decides.
    engine: Heartbeat,
    /// Of whoever answers ARP and NDP, as often as it answers an echo.
    layer2: Heartbeat,
    beat: Interval,
    echo: Option<oneshot::Receiver<()>>,
}

impl SignsOfLife {
    fn new(members: &MembersHandle) -> Option<Self> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self {
            engine: members.heartbeat("engine")?,
            layer2: members.heartbeat("layer 2")?,
            beat,
            echo: None,
        })
    }

    /// Gives signs of life for ever. Cancel-safe: an echo is awaited again.
    async fn give(&mut self, l2: &L2Handle) {
        loop {
            let answered = async {
                match &mut self.echo {
                    Some(echo) => echo.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.beat.tick() => {
                    self.engine.beat();
                    self.echo.get_or_insert_with(|| l2.echo());
                }
                answer = answered => {
                    self.echo = None;
                    if answer.is_ok() {
                        self.layer2.beat();
                    }
                }
            }
        }
    }
}

/// By which address each question was asked last.
#[derive(Debug, Default)]
struct Asked(Vec<(IpAddr, Question)>);

impl Asked {
    fn ask(&mut self, ip: Option<IpAddr>, question: Question) {
        self.0.retain(|(_, asked)| *asked != question);
        self.0.extend(ip.map(|ip| (ip, question)));
    }

    /// The questions that are answered by a host that has `ip`. That of another host says nothing of the node that should: it
    /// is asked further.
    fn answered(&mut self, ip: IpAddr, is_of: impl Fn(&str) -> bool) -> Vec<Question> {
        let answers = |question: &Question| match question {
            Question::Member(node) => is_of(node),
            Question::Witness => true,
        };
        let answered = self
            .0
            .extract_if(.., |(asked, question)| *asked == ip && answers(question));
        answered.map(|(_, question)| question).collect()
    }
}

impl FastPath {
    pub(crate) fn new(members: Option<MembersHandle>, l2: L2Handle) -> Self {
        Self {
            suspects: members.as_ref().and_then(MembersHandle::suspects),
            questions: members.as_ref().and_then(MembersHandle::questions),
            found: l2.found(),
            signs: members.as_ref().and_then(SignsOfLife::new),
            members,
            l2,
            asked: Asked::default(),
        }
    }

    /// Waits for something to react to. Cancel-safe. What is lost by a slow reader is asked again.
    pub(crate) async fn next(&mut self) -> News {
        let (Some(suspects), Some(questions), Some(signs)) = (&mut self.suspects, &mut self.questions, &mut self.signs)
        else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                () = signs.give(&self.l2) => {}
                Ok(()) = suspects.changed() => return News::Suspects(suspects.borrow_and_update().clone()),
                question = questions.recv() => match question {
                    Ok(question) => return News::Question(question),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    // Its end is seen elsewhere.
                    Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
                },
                Ok(found) = self.found.recv() => return News::Found(found),
                else => return std::future::pending().await,
            }
        }
    }

    /// Tells the others whether this node can announce on any interface.
    pub(crate) fn has_links(&self, links: &Links) {
        if let Some(members) = &self.members {
            members.set_fit(!links.usable.is_empty());
        }
    }

    /// Asks the segment. A member that owns nothing there cannot be asked, nor can a gateway that there is not.
    pub(crate) fn ask(&mut self, engine: &Engine, question: Question) {
        let ip = match &question {
            Question::Member(node) => engine.address_of(node),
            Question::Witness => gateway::default(),
        };
        if let Some(ip) = ip {
            self.l2.probe(ip);
        }
        self.asked.ask(ip, question);
    }

    /// Tells the membership of an answer.
    pub(crate) fn found(&mut self, engine: &Engine, found: Found) {
        let is_of = |node: &str| engine.may_be_of(Mac(found.mac.0), node);
        for question in self.asked.answered(found.ip, is_of) {
            if let Some(members) = &self.members {
                members.answered(question);
            }
        }
    }

    /// Has those watched that this node may have to stand in for.
    pub(crate) fn watch(&self, engine: &mut Engine) {
        if let (Some(members), Some(partners)) = (&self.members, engine.changed_partners()) {
            members.set_partners(partners);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_node_itself_answers_for_it() {
        let [ip, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let member = |node: &str| Question::Member(node.to_owned());
        let mut asked = Asked::default();
        asked.ask(Some(ip), member("node-b"));
        asked.ask(Some(ip), Question::Witness);
        asked.ask(None, member("node-c"));
        assert_eq!(asked.answered(other, |_| true), []);
        assert_eq!(asked.answered(ip, |_| false), [Question::Witness], "any host may be it");
        assert_eq!(asked.answered(ip, |node| node == "node-b"), [member("node-b")]);
        assert_eq!(asked.answered(ip, |_| true), [], "once");
    }
}
