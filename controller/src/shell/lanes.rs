//! Two lanes for writes: those that hang, be they many, hold up nobody else.
//!
//! Everybody begins in the quick lane. A write that takes long leaves it to the next one, and its Service keeps to the
//! slow lane until it was quick again. Both lanes are bounded, and so is the number of writes that have left the first.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metallb_ipam::Key;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A write takes longer only if something is wrong.
const QUICK: Duration = Duration::from_millis(500);
/// Places in the slow lane.
const SLOW_PLACES: usize = 64;

/// A place in the quick lane.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// See the module.
pub(super) struct Lanes {
    quick: Arc<Semaphore>,
    slow: Semaphore,
    /// Services whose last write took long.
    late: Mutex<HashSet<Key>>,
}

impl Lanes {
    /// Lanes of which the quick one has so many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            quick: Arc::new(Semaphore::new(places)),
            slow: Semaphore::new(SLOW_PLACES),
            late: Mutex::default(),
        }
    }

    /// Waits for a place in the quick lane. Cancel-safe.
    pub(super) async fn place(&self) -> Place {
        Arc::clone(&self.quick).acquire_owned().await.ok()
    }

    /// Carries out the write of a Service in the lane that it belongs to; not at all if the slow lane is full.
    pub(super) async fn carry<T>(&self, key: &Key, place: Place, write: impl Future<Output = T>) -> Option<T> {
        let late = self.late(|late| late.contains(key));
        let quick = place.filter(|_| !late);
        let _slow = match late {
            true => Some(self.slow.try_acquire().ok()?),
            false => None,
        };
        tokio::pin!(write);
        let first = timeout(QUICK, &mut write).await;
        match first {
            Ok(_) => self.forget(key),
            Err(_) => drop(self.late(|late| late.insert(key.clone()))),
        }
        drop(quick);
        Some(match first {
            Ok(done) => done,
            Err(_) => write.await,
        })
    }

    /// Lets a Service begin anew in the quick lane.
    pub(super) fn forget(&self, key: &Key) {
        self.late(|late| late.remove(key));
    }

    fn late<T>(&self, change: impl FnOnce(&mut HashSet<Key>) -> T) -> T {
        change(&mut self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("default", name)
    }

    /// Begins a write that never ends, and lets it leave the quick lane.
    async fn hang(lanes: &Arc<Lanes>, name: &str) -> tokio::task::JoinHandle<Option<()>> {
        let (own, key, place) = (Arc::clone(lanes), key(name), lanes.place().await);
        let write = tokio::spawn(async move { own.carry(&key, place, std::future::pending()).await });
        tokio::time::sleep(QUICK * 2).await;
        write
    }

    async fn is_carried(lanes: &Lanes, name: &str) -> bool {
        let place = timeout(QUICK / 2, lanes.place()).await.unwrap();
        lanes.carry(&key(name), place, async {}).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_leaves_its_place_to_others() {
        let lanes = Arc::new(Lanes::new(1));
        hang(&lanes, "bad").await;
        assert!(is_carried(&lanes, "good").await);
    }

    /// Writes, and tells how many quick places were free meanwhile.
    async fn free_meanwhile(lanes: &Lanes, name: &str) -> Option<usize> {
        let place = lanes.place().await;
        let write = async { lanes.quick.available_permits() };
        lanes.carry(&key(name), place, write).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_late_does_not_take_a_quick_place_until_it_was_quick() {
        let lanes = Arc::new(Lanes::new(1));
        hang(&lanes, "bad").await.abort();
        assert_eq!(free_meanwhile(&lanes, "bad").await, Some(1));
        assert_eq!(free_meanwhile(&lanes, "bad").await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_slow_lane_turns_away_the_late_and_nobody_else() {
        let lanes = Arc::new(Lanes::new(1));
        hang(&lanes, "bad").await.abort();
        for number in 0..SLOW_PLACES {
            let name = number.to_string();
            hang(&lanes, &name).await.abort();
            hang(&lanes, &name).await;
        }
        assert!(!is_carried(&lanes, "bad").await);
        assert!(is_carried(&lanes, "good").await);
        lanes.forget(&key("bad"));
        assert!(is_carried(&lanes, "bad").await);
    }
}
