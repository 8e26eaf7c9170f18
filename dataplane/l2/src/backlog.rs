//! Changes that wait.

use std::{collections::VecDeque, net::IpAddr, vec};

use crate::interfaces::Interfaces;

/// Changes that came together.
#[derive(Debug)]
pub(crate) enum Batch {
    /// Announce on other interfaces, or withdraw.
    Changes(vec::IntoIter<(IpAddr, Option<Interfaces>)>),
    /// Leave to another node.
    Releases(vec::IntoIter<IpAddr>),
}

/// One of them.
#[derive(Debug)]
pub(crate) enum Change {
    Wanted(IpAddr, Option<Interfaces>),
    Released(IpAddr),
}

/// Changes that are not handled yet. Adding a long list costs no more than a short one.
#[derive(Debug, Default)]
pub(crate) struct Backlog(VecDeque<Batch>);

impl Backlog {
    pub(crate) fn push(&mut self, batch: Batch) {
        self.0.push_back(batch);
    }

    pub(crate) fn pop(&mut self) -> Option<Change> {
        loop {
            let change = match self.0.front_mut()? {
                Batch::Changes(changes) => changes.next().map(|(ip, wanted)| Change::Wanted(ip, wanted)),
                Batch::Releases(addresses) => addresses.next().map(Change::Released),
            };
            match change {
                Some(change) => return Some(change),
                None => drop(self.0.pop_front()),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|batch| match batch {
            Batch::Changes(changes) => changes.as_slice().is_empty(),
            Batch::Releases(addresses) => addresses.as_slice().is_empty(),
        })
    }
}
