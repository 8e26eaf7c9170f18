//! The rules that are in force, and the record of requests; shared by all connections.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::request::{Caller, Request};
use super::rule::{Fault, Rule};

#[derive(Debug)]
struct Line {
    id: u64,
    rule: Rule,
    hits: u32,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    next: u64,
    /// By what is in the `Authorization` header. Never logged.
    callers: HashMap<String, Caller>,
    /// With the number of the first.
    requests: Vec<Request>,
    first: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Script {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::channel(()).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whenever a rule comes or goes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn add(&self, rule: Rule) -> u64 {
        let id = {
            let mut state = self.state();
            state.next += 1;
            let id = state.next;
            state.lines.push(Line { id, rule, hits: 0 });
            id
        };
        self.changed.send_replace(());
        id
    }

    pub(super) fn remove(&self, id: u64) {
        self.state().lines.retain(|line| line.id != id);
        self.changed.send_replace(());
    }

    pub(super) fn hits(&self, id: u64) -> u32 {
        let state = self.state();
        state
            .lines
            .iter()
            .find(|line| line.id == id)
            .map_or(0, |line| line.hits)
    }

    pub(super) fn is_in_force(&self, id: u64) -> bool {
        self.state().lines.iter().any(|line| line.id == id)
    }

    /// The faults that this request meets now and has not met before, which counts as a hit each.
    pub(super) fn meet(&self, request: &Request, met: &mut Vec<u64>) -> Vec<(u64, Fault)> {
        let mut found = Vec::new();
        for line in &mut self.state().lines {
            if met.contains(&line.id) || line.rule.is_used_up(line.hits) || !line.rule.matches(request) {
                continue;
            }
            line.hits += 1;
            met.push(line.id);
            found.push((line.id, line.rule.fault.clone()));
        }
        found
    }

    pub(super) fn learn(&self, token: &str, caller: Caller) {
        self.state().callers.insert(format!("Bearer {token}"), caller);
    }

    pub(super) fn caller(&self, head: &http::request::Parts) -> Caller {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let known = header(http::header::AUTHORIZATION).and_then(|token| self.state().callers.get(token).cloned());
        known.unwrap_or_else(|| Caller {
            component: header(http::header::USER_AGENT)
                .and_then(|agent| agent.split('/').next())
                .unwrap_or("nobody")
                .into(),
            ..Caller::default()
        })
    }

    /// Puts a request on record; returns its number.
    pub(super) fn record(&self, request: Request) -> u64 {
        let mut state = self.state();
        state.requests.push(request);
        state.first + state.requests.len() as u64 - 1
    }

    pub(super) fn answered(&self, number: u64, status: u16) {
        let mut state = self.state();
        let at = number.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        if let Some(request) = at.and_then(|at| state.requests.get_mut(at)) {
            request.status = Some(status);
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.first += state.requests.len() as u64;
        state.requests.clear();
    }
}
