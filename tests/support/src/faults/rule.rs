//! The script: which requests meet which fault.

use std::fmt;
use std::time::Duration;

use super::request::{Request, Verb};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request waits before it goes on.
    Delay(Duration),
    /// The connection is closed without an answer.
    Refuse,
    /// The connection is reset without an answer; the API server never sees the request.
    Reset,
    /// The API server does what was asked, but the connection is reset instead of the answer.
    LoseAnswer,
    /// 429 with `Retry-After`, in seconds.
    Busy {
        /// The seconds.
        retry_after: u32,
    },
    /// An answer with this status: 500, 503, 403.
    Answer(u16),
    /// 409: somebody else wrote in between.
    Conflict,
    /// 410: a list is told so at once, a watch by an `ERROR` event.
    Gone,
    /// A watch ends, new and running ones.
    DropWatch,
    /// Nothing comes any more, of new requests and running watches; all goes on where it stood when this is over.
    Silence,
    /// Like [`Fault::Silence`], but what has fallen silent stays so: somebody on the way forgot the connection.
    Dead,
    /// The answer comes in pieces of so many bytes, ten a second.
    SlowBody(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "delay {time:?}"),
            Self::Refuse => f.write_str("refuse"),
            Self::Reset => f.write_str("reset"),
            Self::LoseAnswer => f.write_str("lose answer"),
            Self::Busy { retry_after } => write!(f, "429 retry after {retry_after} s"),
            Self::Answer(status) => write!(f, "{status}"),
            Self::Conflict => f.write_str("409"),
            Self::Gone => f.write_str("410"),
            Self::DropWatch => f.write_str("drop watch"),
            Self::Silence => f.write_str("silence"),
            Self::Dead => f.write_str("dead"),
            Self::SlowBody(bytes) => write!(f, "slow body of {bytes} bytes a piece"),
        }
    }
}

/// One line of the script: a fault, and what a request must be to meet it. Without conditions it is every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) fault: Fault,
    component: Option<String>,
    node: Option<String>,
    verbs: Vec<Verb>,
    resource: Option<String>,
    times: Option<u32>,
}

impl Rule {
    /// Every request meets `fault`.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            component: None,
            node: None,
            verbs: Vec::new(),
            resource: None,
            times: None,
        }
    }

    /// Only requests of this component, see [`super::Caller::component`].
    #[must_use]
    pub fn of(self, component: &str) -> Self {
        Self {
            component: Some(component.into()),
            ..self
        }
    }

    /// Only requests of pods of this node.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        Self {
            node: Some(node.into()),
            ..self
        }
    }

    /// Only these verbs.
    #[must_use]
    pub fn verbs(self, verbs: &[Verb]) -> Self {
        Self {
            verbs: verbs.into(),
            ..self
        }
    }

    /// Only what may change something.
    #[must_use]
    pub fn writes(self) -> Self {
        self.verbs(&[Verb::Create, Verb::Update, Verb::Patch, Verb::Delete])
    }

    /// Only this resource: `services` with all its subresources, or `services/status` alone.
    #[must_use]
    pub fn resource(self, resource: &str) -> Self {
        Self {
            resource: Some(resource.into()),
            ..self
        }
    }

    /// Only the first `times` of them.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    pub(super) fn is_used_up(&self, hits: u32) -> bool {
        self.times.is_some_and(|times| hits >= times)
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let resource = self.resource.as_deref().is_none_or(|wanted| {
            let whole = request.resource.as_str();
            wanted == whole || Some(wanted) == whole.split_once('/').map(|(resource, _)| resource)
        });
        let fits = match self.fault {
            Fault::DropWatch => request.verb == Verb::Watch,
            Fault::Gone => matches!(request.verb, Verb::Watch | Verb::List),
            Fault::Conflict => request.verb.writes(),
            _ => true,
        };
        let verb = self.verbs.is_empty() || self.verbs.contains(&request.verb);
        fits && verb
            && resource
            && is(&self.component, &request.caller.component)
            && is(&self.node, &request.caller.node)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.component.as_deref().unwrap_or("everybody"))?;
        if let Some(node) = &self.node {
            write!(f, " on {node}")?;
        }
        for verb in &self.verbs {
            write!(f, " {verb}")?;
        }
        if let Some(resource) = &self.resource {
            write!(f, " {resource}")?;
        }
        write!(f, ": {}", self.fault)?;
        self.times.map_or(Ok(()), |times| write!(f, ", {times} times"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::request::Caller;

    fn request(component: &str, method: &str, uri: &str) -> Request {
        let (head, ()) = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        let caller = Caller {
            component: component.into(),
            ..Caller::default()
        };
        Request::read(caller, &head)
    }

    #[test]
    fn a_rule_hits_what_all_its_conditions_name() {
        let rule = Rule::new(Fault::Conflict)
            .of("controller")
            .verbs(&[Verb::Update])
            .resource("services");
        let hits = |component, method, uri| rule.matches(&request(component, method, uri));
        assert!(hits("controller", "PUT", "/api/v1/namespaces/a/services/b/status"));
        assert!(hits("controller", "PUT", "/api/v1/namespaces/a/services/b"));
        assert!(!hits("speaker", "PUT", "/api/v1/namespaces/a/services/b"));
        assert!(!hits("controller", "PATCH", "/api/v1/namespaces/a/services/b"));
        assert!(!hits("controller", "PUT", "/api/v1/namespaces/a/events/b"));
        assert_eq!(rule.to_string(), "controller update services: 409");
    }

    #[test]
    fn a_fault_hits_only_what_can_have_it() {
        let dropped = Rule::new(Fault::DropWatch);
        assert!(dropped.matches(&request("a", "GET", "/api/v1/pods?watch=true")));
        assert!(!dropped.matches(&request("a", "GET", "/api/v1/pods")));
        assert!(!Rule::new(Fault::Conflict).matches(&request("a", "GET", "/api/v1/pods")));
    }
}
