//! Bodies of requests: how large, how long, and how many at the same time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use http_body_util::LengthLimitError;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Peer;
use super::connections::client_network;

/// Bodies up to this size are not counted: the limit on connections bounds what they take together.
const SMALL: usize = 32 * 1024;
/// For all of a body. In a cluster the largest takes a second; the API server waits 10 s for the whole answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The client of a request that does not say.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// How long a body waits for memory.
const QUEUE: Duration = Duration::from_secs(5);

/// Reads bodies within limits of size, time and memory; clones share the memory budget.
///
/// The budget is two of the largest bodies, and one client gets half of it at most, so that it cannot keep others waiting.
/// Memory is reserved before a large body is read, so that no two half-read ones wait for each other.
#[derive(Clone, Debug)]
pub struct Bodies {
    limit: usize,
    pub(super) patience: Duration,
    pub(super) queue: Duration,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    held: Mutex<HashMap<IpAddr, usize>>,
    freed: Notify,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 413.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// 408.
    #[error("the body did not come in time")]
    Late,
    /// 503.
    #[error("too many large requests at the same time")]
    Overloaded,
    /// 400.
    #[error("the body broke off")]
    Broken,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let close = (header::CONNECTION, "close");
        match self {
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, text).into_response(),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, [close], text).into_response(),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response(),
            Self::Broken => (StatusCode::BAD_REQUEST, text).into_response(),
        }
    }
}

/// A body; its memory is given back when dropped.
#[derive(Debug)]
pub struct Received {
    /// All of it.
    pub bytes: Bytes,
    _reservation: Option<Reservation>,
}

impl Bodies {
    /// Takes bodies up to `limit` bytes.
    #[must_use]
    pub fn up_to(limit: usize) -> Self {
        Self {
            limit,
            patience: PATIENCE,
            queue: QUEUE,
            budget: Arc::default(),
        }
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// When it is too large, too slow, broken, or one too many.
    pub async fn read(&self, request: Request) -> Result<Received, Refused> {
        let told = request.body().size_hint();
        if told.lower() > self.limit as u64 {
            return Err(Refused::TooLarge(self.limit));
        }
        let size = told.exact().and_then(|size| size.try_into().ok()).unwrap_or(self.limit);
        let reservation = if size > SMALL {
            let peer = request.extensions().get().map_or(UNKNOWN, |Peer(peer)| *peer);
            Some(self.reserve(client_network(peer), size).await?)
        } else {
            None
        };
        match timeout(self.patience, to_bytes(request.into_body(), self.limit)).await {
            Ok(Ok(bytes)) => Ok(Received {
                bytes,
                _reservation: reservation,
            }),
            Ok(Err(error)) => Err(match error.into_inner().is::<LengthLimitError>() {
                true => Refused::TooLarge(self.limit),
                false => Refused::Broken,
            }),
            Err(_) => Err(Refused::Late),
        }
    }

    async fn reserve(&self, peer: IpAddr, size: usize) -> Result<Reservation, Refused> {
        let free = async {
            loop {
                let freed = self.budget.freed.notified();
                if let Some(reservation) = self.budget.take(peer, size, self.limit) {
                    return reservation;
                }
                freed.await;
            }
        };
        timeout(self.queue, free).await.map_err(|_| Refused::Overloaded)
    }
}

impl Budget {
    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves memory; one client gets `half` of the budget at most.
    fn take(self: &Arc<Self>, peer: IpAddr, size: usize, half: usize) -> Option<Reservation> {
        let mut held = self.held();
        let own = held.get(&peer).copied().unwrap_or_default();
        let all: usize = held.values().sum();
        if own + size > half || all + size > 2 * half {
            return None;
        }
        held.insert(peer, own + size);
        let budget = self.clone();
        Some(Reservation { budget, peer, size })
    }
}

#[derive(Debug)]
struct Reservation {
    budget: Arc<Budget>,
    peer: IpAddr,
    size: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        if let Some(own) = held.get_mut(&self.peer) {
            *own -= self.size.min(*own);
            if *own == 0 {
                held.remove(&self.peer);
            }
        }
        drop(held);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const MIB: usize = 1024 * 1024;

    fn request(peer: &str, body: Body) -> Request {
        let mut request = Request::new(body);
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        request
    }

    /// A body that never ends, and never comes either.
    fn endless() -> Body {
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_late_or_is_too_large_is_refused() {
        let bodies = Bodies::up_to(MIB);
        assert_eq!(
            bodies.read(request("10.0.0.1", endless())).await.unwrap_err(),
            Refused::Late
        );
        let large = || vec![b' '; MIB + 1];
        let told = bodies.read(request("10.0.0.1", large().into())).await;
        assert_eq!(told.unwrap_err(), Refused::TooLarge(MIB));
        let untold = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(large()))]);
        let untold = bodies.read(request("10.0.0.1", Body::from_stream(untold))).await;
        assert_eq!(untold.unwrap_err(), Refused::TooLarge(MIB));
        assert_eq!(
            bodies
                .read(request("10.0.0.1", vec![0; MIB].into()))
                .await
                .unwrap()
                .bytes
                .len(),
            MIB
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_half_of_the_room_and_leaves_the_rest_to_others() {
        let bodies = Bodies::up_to(MIB);
        let first = bodies.read(request("10.0.0.1", vec![0; MIB].into())).await.unwrap();
        let more = async || {
            bodies
                .read(request("10.0.0.1", vec![0; SMALL + 1].into()))
                .await
                .map(drop)
        };
        assert_eq!(more().await, Err(Refused::Overloaded));
        let other = bodies.read(request("10.0.0.2", vec![0; MIB].into())).await.unwrap();
        let third = bodies.read(request("10.0.0.3", vec![0; MIB].into())).await;
        assert_eq!(third.unwrap_err(), Refused::Overloaded);
        let small = bodies.read(request("10.0.0.1", vec![0; SMALL].into())).await;
        assert!(small.is_ok(), "small ones are not counted");
        drop((first, other));
        assert_eq!(more().await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_room_that_another_leaves() {
        let bodies = Bodies::up_to(MIB);
        let first = bodies.read(request("10.0.0.1", vec![0; MIB].into())).await.unwrap();
        let waiting = bodies.read(request("10.0.0.1", vec![0; MIB].into()));
        let leave = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        assert!(tokio::join!(waiting, leave).0.is_ok());
        let waited = bodies.read(request("10.0.0.1", vec![0; MIB].into())).await;
        assert!(waited.is_ok(), "nothing is left behind: {waited:?}");
    }
}
