//! Who is connected, and who must go when one more comes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::pulse::Pulse;

/// Connections by peer, in the order in which they came.
///
/// The newcomer always gets a place. If there is none, the peer that holds most loses one: the oldest that waits for
/// its client, else its oldest. So the connections of somebody greedy push out each other.
#[derive(Debug)]
struct Guests<T> {
    places: usize,
    next: u64,
    by_peer: HashMap<IpAddr, BTreeMap<u64, T>>,
}

impl<T> Guests<T> {
    fn new(places: usize) -> Self {
        Self {
            places,
            next: 0,
            by_peer: HashMap::new(),
        }
    }

    /// Takes one in, and returns its number and who has lost the place.
    fn admit(&mut self, peer: IpAddr, guest: T, waits: impl Fn(&T) -> bool) -> (u64, Option<T>) {
        let number = self.next;
        self.next += 1;
        self.by_peer.entry(household(peer)).or_default().insert(number, guest);
        let count: usize = self.by_peer.values().map(BTreeMap::len).sum();
        let lost = (count > self.places).then(|| self.evict(number, waits)).flatten();
        (number, lost)
    }

    fn evict(&mut self, newcomer: u64, waits: impl Fn(&T) -> bool) -> Option<T> {
        let others = |guests: &BTreeMap<u64, T>| guests.keys().any(|number| *number != newcomer);
        let held = self.by_peer.iter().filter(|(_, guests)| others(guests));
        // Of equals the one that came first.
        let greediest = held.max_by_key(|(_, guests)| (guests.len(), std::cmp::Reverse(guests.keys().next().copied())));
        let peer = *greediest?.0;
        let guests = self.by_peer.get(&peer)?;
        let older = || guests.iter().filter(|(number, _)| **number != newcomer);
        let goes = older().find(|(_, guest)| waits(guest)).or_else(|| older().next());
        let number = *goes?.0;
        self.leave(peer, number)
    }

    fn leave(&mut self, peer: IpAddr, number: u64) -> Option<T> {
        let peer = household(peer);
        let guests = self.by_peer.get_mut(&peer)?;
        let gone = guests.remove(&number);
        if guests.is_empty() {
            self.by_peer.remove(&peer);
        }
        gone
    }
}

/// Whoever has one address of a /64 has them all.
pub(super) fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6((u128::from(peer) >> 64 << 64).into()),
        peer => peer,
    }
}

struct Guest {
    pulse: Pulse,
    gone: CancellationToken,
}

/// The guests of a server.
pub(super) struct Hall(Mutex<Guests<Guest>>);

impl Hall {
    pub(super) fn new(places: usize) -> Self {
        Self(Mutex::new(Guests::new(places)))
    }

    /// Takes a place, if need be from somebody else; it is free again when dropped.
    pub(super) fn take(&self, peer: IpAddr, pulse: Pulse) -> Place<'_> {
        let gone = CancellationToken::new();
        let guest = Guest {
            pulse,
            gone: gone.clone(),
        };
        let (number, lost) = self.lock().admit(peer, guest, |guest| guest.pulse.waits());
        if let Some(guest) = lost {
            guest.gone.cancel();
        }
        Place {
            hall: self,
            peer,
            number,
            gone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guests<Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Place<'a> {
    hall: &'a Hall,
    peer: IpAddr,
    number: u64,
    gone: CancellationToken,
}

impl Place<'_> {
    /// Ends when somebody else has got the place.
    pub(super) async fn lost(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.hall.lock().leave(self.peer, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Takes them in one after the other and tells who had to go; a name in capitals is busy.
    fn evicted(places: usize, came: &[(&str, &'static str)]) -> Vec<&'static str> {
        let mut guests = Guests::new(places);
        let waits = |name: &&str| name.to_lowercase() == **name;
        came.iter()
            .filter_map(|(peer, name)| guests.admit(ip(peer), *name, waits).1)
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
        assert_eq!(household(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn who_leaves_makes_room() {
        let mut guests = Guests::new(1);
        let (number, _) = guests.admit(ip("10.0.0.1"), "a", |_| true);
        assert_eq!(guests.leave(ip("10.0.0.1"), number), Some("a"));
        assert_eq!(guests.admit(ip("10.0.0.1"), "b", |_| true).1, None);
    }
}
