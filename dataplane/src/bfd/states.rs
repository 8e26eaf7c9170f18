//! Reports about sessions: log lines, and the table of states.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use metallb_bfd::{Refusal, SessionId, SessionKey, State, Status};
use tokio::sync::watch;

use super::counters::{Counters, count};

/// How a session is doing.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its state when that changed last.
    pub status: Status,
    /// How often the path failed: the session was up and went down without being switched off.
    pub failures: u64,
    /// Why this node cannot send to the peer or receive from it, or sends no echoes although it should.
    pub error: Option<String>,
    /// Packet and event counts, live.
    pub counters: Arc<Counters>,
}

/// All sessions.
pub type Sessions = BTreeMap<SessionKey, SessionState>;

/// How many packets were discarded, by reason.
pub(super) type Refusals = Arc<Mutex<BTreeMap<Refusal, u64>>>;

/// Keeps the table.
pub(super) struct States {
    table: watch::Sender<Sessions>,
    counters: HashMap<SessionId, Arc<Counters>>,
}

pub(super) fn new() -> (States, watch::Receiver<Sessions>) {
    let (table, sessions) = watch::channel(Sessions::new());
    let states = States {
        table,
        counters: HashMap::new(),
    };
    (states, sessions)
}

impl States {
    pub(super) fn opened(&mut self, id: SessionId, key: &SessionKey, status: Status) {
        let counters = Arc::<Counters>::default();
        self.counters.insert(id, Arc::clone(&counters));
        let state = SessionState {
            status,
            failures: 0,
            error: None,
            counters,
        };
        self.table
            .send_modify(|sessions| drop(sessions.insert(key.clone(), state)));
    }

    pub(super) fn closed(&mut self, id: SessionId, key: &SessionKey) {
        self.counters.remove(&id);
        self.table.send_modify(|sessions| drop(sessions.remove(key)));
    }

    pub(super) fn changed(&self, key: &SessionKey, status: Status) {
        self.table.send_if_modified(|sessions| {
            let Some(session) = sessions.get_mut(key) else {
                return false;
            };
            let before = session.status.state;
            if before != State::Up && status.state == State::Up {
                count(&session.counters.ups);
                tracing::info!(event = "bfdUp", peer = %key, interval = ?status.transmit_interval, "BFD session up");
            } else if before == State::Up && status.state != State::Up {
                count(&session.counters.downs);
                let failed = status.has_failed() && status.state != State::AdminDown;
                session.failures += u64::from(failed);
                log_down(key, &status, failed);
            }
            session.status = status;
            true
        });
    }

    /// Sets or clears the error of a session.
    pub(super) fn set_error(&self, key: &SessionKey, error: Option<String>) {
        self.table.send_if_modified(|sessions| {
            let Some(session) = sessions.get_mut(key).filter(|session| session.error != error) else {
                return false;
            };
            if let Some(error) = &error {
                tracing::warn!(event = "bfdError", peer = %key, %error, "the BFD session does not work as configured");
            }
            session.error = error;
            true
        });
    }

    /// The counters of a session.
    pub(super) fn counters(&self, id: SessionId) -> Option<&Counters> {
        self.counters.get(&id).map(|counters| &**counters)
    }
}

fn log_down(key: &SessionKey, status: &Status, failed: bool) {
    let diagnostic = status.diagnostic;
    if failed {
        let remote = status.remote_diagnostic;
        tracing::warn!(event = "bfdDown", peer = %key, %diagnostic, %remote, "BFD session down");
    } else {
        tracing::info!(event = "bfdDown", peer = %key, %diagnostic, "BFD session switched off");
    }
}
