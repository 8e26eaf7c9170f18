//! The limit on connections, and which one is closed when it is exceeded.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// Connections by client network, in the order in which they were accepted.
///
/// A new connection is always accepted. Above the limit, the client with most connections loses one: the oldest that waits
/// for the client, else its oldest. A client that opens too many closes its own.
#[derive(Debug)]
struct Connections<T> {
    limit: usize,
    next: u64,
    by_peer: HashMap<IpAddr, BTreeMap<u64, T>>,
}

impl<T> Connections<T> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            by_peer: HashMap::new(),
        }
    }

    /// Adds one; returns its number, and the connection to close if there are too many.
    fn admit(&mut self, peer: IpAddr, connection: T, waits: impl Fn(&T) -> bool) -> (u64, Option<T>) {
        let number = self.next;
        self.next += 1;
        self.by_peer
            .entry(client_network(peer))
            .or_default()
            .insert(number, connection);
        let count: usize = self.by_peer.values().map(BTreeMap::len).sum();
        let lost = (count > self.limit).then(|| self.evict(number, waits)).flatten();
        (number, lost)
    }

    fn evict(&mut self, newcomer: u64, waits: impl Fn(&T) -> bool) -> Option<T> {
        let others = |connections: &BTreeMap<u64, T>| connections.keys().any(|number| *number != newcomer);
        let held = self.by_peer.iter().filter(|(_, connections)| others(connections));
        // Of equals the one that came first.
        let greediest = held
            .max_by_key(|(_, connections)| (connections.len(), std::cmp::Reverse(connections.keys().next().copied())));
        let peer = *greediest?.0;
        let connections = self.by_peer.get(&peer)?;
        let older = || connections.iter().filter(|(number, _)| **number != newcomer);
        let goes = older()
            .find(|(_, connection)| waits(connection))
            .or_else(|| older().next());
        let number = *goes?.0;
        self.leave(peer, number)
    }

    fn leave(&mut self, peer: IpAddr, number: u64) -> Option<T> {
        let peer = client_network(peer);
        let connections = self.by_peer.get_mut(&peer)?;
        let gone = connections.remove(&number);
        if connections.is_empty() {
            self.by_peer.remove(&peer);
        }
        gone
    }
}

/// What counts as one client: whoever has one IPv6 address has its whole /64.
pub(super) fn client_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6((u128::from(peer) >> 64 << 64).into()),
        peer => peer,
    }
}

struct Connection {
    activity: Activity,
    gone: CancellationToken,
}

/// The connections of a server.
pub(super) struct Registry(Mutex<Connections<Connection>>);

impl Registry {
    pub(super) fn new(limit: usize) -> Self {
        Self(Mutex::new(Connections::new(limit)))
    }

    /// Adds a connection, and closes another if there are too many; it is removed when the slot is dropped.
    pub(super) fn take(&self, peer: IpAddr, activity: Activity) -> Slot<'_> {
        let gone = CancellationToken::new();
        let connection = Connection {
            activity,
            gone: gone.clone(),
        };
        let (number, lost) = self
            .lock()
            .admit(peer, connection, |connection| connection.activity.waits());
        if let Some(connection) = lost {
            connection.gone.cancel();
        }
        Slot {
            registry: self,
            peer,
            number,
            gone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Slot<'a> {
    registry: &'a Registry,
    peer: IpAddr,
    number: u64,
    gone: CancellationToken,
}

impl Slot<'_> {
    /// Ends when this connection has to be closed.
    pub(super) async fn lost(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.registry.lock().leave(self.peer, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Takes them in one after the other and tells who had to go; a name in capitals is busy.
    fn evicted(limit: usize, came: &[(&str, &'static str)]) -> Vec<&'static str> {
        let mut connections = Connections::new(limit);
        let waits = |name: &&str| name.to_lowercase() == **name;
        came.iter()
            .filter_map(|(peer, name)| connections.admit(ip(peer), *name, waits).1)
            .collect()
    }

    #[test]
    fn as_long_as_there_is_room_all_may_stay() {
        assert!(evicted(2, &[("10.0.0.1", "a"), ("10.0.0.1", "b")]).is_empty());
    }

    #[test]
    fn the_greediest_loses_its_oldest_and_the_modest_none() {
        let came = [
            ("10.0.0.9", "modest"),
            ("10.0.0.1", "a"),
            ("10.0.0.1", "b"),
            ("10.0.0.1", "c"),
            ("10.0.0.8", "late"),
        ];
        assert_eq!(evicted(3, &came), ["a", "b"]);
    }

    #[test]
    fn who_waits_for_a_client_goes_before_who_works() {
        let came = [("10.0.0.1", "BUSY"), ("10.0.0.1", "slow"), ("10.0.0.2", "new")];
        assert_eq!(evicted(2, &came), ["slow"]);
        assert_eq!(evicted(1, &came[..1]), [""; 0]);
        assert_eq!(evicted(1, &[("10.0.0.1", "BUSY"), ("10.0.0.1", "new")]), ["BUSY"]);
    }

    #[test]
    fn many_addresses_of_one_machine_are_one_peer() {
        let came = [
            ("2001:db8::9", "a"),
            ("2001:db8::1", "b"),
            ("2001:db8:0:1::1", "other"),
            ("10.0.0.1", "new"),
        ];
        assert_eq!(evicted(3, &came), ["a"]);
        assert_eq!(client_network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn who_leaves_makes_room() {
        let mut connections = Connections::new(1);
        let (number, _) = connections.admit(ip("10.0.0.1"), "a", |_| true);
        assert_eq!(connections.leave(ip("10.0.0.1"), number), Some("a"));
        assert_eq!(connections.admit(ip("10.0.0.1"), "b", |_| true).1, None);
    }
}
