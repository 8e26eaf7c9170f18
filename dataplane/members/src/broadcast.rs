//! What is to be told, and how often it has been.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Told less often first, then longer, then newer.
type Rank = (usize, Reverse<usize>, Reverse<u64>);

/// Messages that are told to others, on their own or with something else, until that was often enough. There is one about
/// each node, the newest.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_node: BTreeMap<String, (Rank, Vec<u8>)>,
    order: BTreeSet<(Rank, String)>,
    last: u64,
}

impl Queue {
    /// Replaces what is told about `node`.
    pub(crate) fn put(&mut self, node: String, message: Vec<u8>) {
        self.remove(&node);
        self.last += 1;
        self.insert((0, Reverse(message.len()), Reverse(self.last)), node, message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    /// Takes what fits into `room` with `overhead` a message, and drops what has been told `limit` times thereby.
    pub(crate) fn take(&mut self, overhead: usize, mut room: usize, limit: usize) -> Vec<Vec<u8>> {
        let mut fitting = Vec::new();
        for (rank @ (_, Reverse(len), _), node) in &self.order {
            if len + overhead <= room {
                room -= len + overhead;
                fitting.push((*rank, node.clone()));
            }
            if room <= overhead {
                break;
            }
        }
        fitting
            .into_iter()
            .filter_map(|((told, len, id), node)| {
                let message = self.remove(&node)?;
                if told + 1 < limit {
                    self.insert((told + 1, len, id), node, message.clone());
                }
                Some(message)
            })
            .collect()
    }

    fn insert(&mut self, rank: Rank, node: String, message: Vec<u8>) {
        self.order.insert((rank, node.clone()));
        self.by_node.insert(node, (rank, message));
    }

    fn remove(&mut self, node: &str) -> Option<Vec<u8>> {
        let (node, (rank, message)) = self.by_node.remove_entry(node)?;
        self.order.remove(&(rank, node));
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: &[(&str, &str)]) -> Queue {
        let mut queue = Queue::default();
        for (node, message) in messages {
            queue.put((*node).to_owned(), message.as_bytes().to_vec());
        }
        queue
    }

    fn taken(queue: &mut Queue, room: usize, limit: usize) -> Vec<String> {
        let messages = queue.take(2, room, limit).into_iter();
        messages.map(|message| String::from_utf8(message).unwrap()).collect()
    }

    #[test]
    fn a_newer_message_about_a_node_replaces_the_older() {
        let mut queue = queue(&[("a", "alive"), ("b", "alive too"), ("a", "dead")]);
        assert_eq!(taken(&mut queue, 1000, 1), ["alive too", "dead"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_told_less_often_comes_first() {
        let mut queue = queue(&[("a", "aaaa")]);
        assert_eq!(taken(&mut queue, 1000, 3), ["aaaa"]);
        queue.put("b".into(), b"b".to_vec());
        assert_eq!(taken(&mut queue, 1000, 3), ["b", "aaaa"]);
        assert_eq!(taken(&mut queue, 1000, 3), ["b", "aaaa"]);
        assert_eq!(taken(&mut queue, 1000, 3), ["b"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_does_not_fit_waits() {
        let mut queue = queue(&[("a", "aaaaaaaa"), ("b", "bbb"), ("c", "ccc")]);
        assert_eq!(taken(&mut queue, 9, 9), ["ccc"]);
        assert_eq!(taken(&mut queue, 10, 9), ["aaaaaaaa"]);
    }
}
