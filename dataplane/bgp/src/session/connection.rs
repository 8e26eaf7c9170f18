//! The state of a session that belongs to its TCP connection.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{LinkAddresses, Negotiated};
use crate::wire::{Codec, Family, Framer, Open};

/// How long a session without hold time must stay up before its loss counts as the first.
const STABLE: Duration = Duration::from_secs(30);

/// The state that is lost with the TCP connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: LinkAddresses,
    pub(super) framer: Framer,
    pub(super) open: Open,
    /// Counts octets that the kernel has not taken yet.
    pub(super) unwritten: usize,
    pub(super) negotiated: Option<Box<Negotiated>>,
    pub(super) established: Option<Instant>,
    /// Tells whether the peer knows that it has the whole table (RFC 4724 §2).
    pub(super) rib_ended: bool,
    /// Lists the families that the peer has asked for again.
    pub(super) refreshing: BTreeSet<Family>,
}

impl Connection {
    /// Makes that of a connection on which only our OPEN has been sent.
    pub(super) fn new(link: LinkAddresses, open: Open) -> Self {
        Self {
            link,
            framer: Framer::default(),
            open,
            unwritten: 0,
            negotiated: None,
            established: None,
            rib_ended: false,
            refreshing: BTreeSet::new(),
        }
    }

    /// Returns the codec in force: extensions of the message size start with the first message after the OPENs.
    pub(super) fn codec(&self) -> Codec {
        self.negotiated
            .as_ref()
            .map(|negotiated| negotiated.egress.codec)
            .unwrap_or_default()
    }

    pub(super) fn hold_time(&self) -> Option<Duration> {
        self.negotiated.as_ref().and_then(|negotiated| negotiated.hold_time)
    }

    pub(super) fn stable_since(&self, now: Instant) -> bool {
        let needed = self.hold_time().unwrap_or(STABLE);
        self.established
            .is_some_and(|since| now.saturating_duration_since(since) >= needed)
    }
}
