//! Changes that wait.

use std::{collections::VecDeque, net::IpAddr, vec};

use crate::interfaces::Interfaces;

pub(crate) type Change = (IpAddr, Option<Interfaces>);

/// Changes that are still to be worked through; taking in a long list costs no more than a short one.
#[derive(Debug, Default)]
pub(crate) struct Backlog(VecDeque<vec::IntoIter<Change>>);

impl Backlog {
    pub(crate) fn push(&mut self, changes: Vec<Change>) {
        self.0.push_back(changes.into_iter());
    }

    pub(crate) fn pop(&mut self) -> Option<Change> {
        loop {
            match self.0.front_mut()?.next() {
                Some(change) => return Some(change),
                None => drop(self.0.pop_front()),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|changes| changes.as_slice().is_empty())
    }
}
