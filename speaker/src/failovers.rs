//! How long it takes until this node answers for an address that was another's.
//!
//! ```text
//!  last sign of life ──detect──► known to be lost ──elect──► handed to layer 2 ──first frame──► on the wire
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metallb_dataplane::l2::{FirstFrame, L2Handle};
use metallb_dataplane::members::{How, Loss, MembersHandle};
use metallb_engine::{Effect, Event, ServiceKey};
use tokio::sync::mpsc;
use tracing::info;

use crate::metrics::Metrics;

/// What takes longer was held up by something else, such as an interface without carrier.
const LONGEST: Duration = Duration::from_secs(60);

/// A Service that this node took over.
#[derive(Debug)]
struct Pending {
    service: Arc<ServiceKey>,
    from: Arc<str>,
    cause: &'static str,
    /// The last sign of life of its owner, if that was lost.
    heard: Option<Instant>,
    /// When this node came to know of the cause.
    noticed: Instant,
    /// When layer 2 was told.
    handed: Instant,
}

/// Measures every change of owner in favour of this node.
#[derive(Debug)]
pub(crate) struct Failovers {
    l2: L2Handle,
    members: Option<MembersHandle>,
    /// By the first address of the Service.
    pending: HashMap<IpAddr, Vec<Pending>>,
    frames: mpsc::UnboundedReceiver<FirstFrame>,
    sender: mpsc::UnboundedSender<FirstFrame>,
}

impl Failovers {
    pub(crate) fn new(l2: L2Handle, members: Option<MembersHandle>) -> Self {
        let (sender, frames) = mpsc::unbounded_channel();
        Self {
            l2,
            members,
            pending: HashMap::new(),
            frames,
            sender,
        }
    }

    /// To be called between the engine's decision and what is done about it; `noticed` is when its cause was seen.
    pub(crate) fn begin(&mut self, effects: &[Effect], cause: &'static str, noticed: Instant) {
        let now = Instant::now();
        let mut ips = Vec::new();
        for effect in effects {
            let Effect::Moved {
                service,
                from,
                addresses,
            } = effect
            else {
                continue;
            };
            let Some(ip) = addresses.first() else { continue };
            let loss = self.members.as_ref().and_then(|members| members.loss(from));
            let pending = pending(service, from, (cause, noticed), loss, now);
            let same_address = self.pending.entry(*ip).or_default();
            same_address.retain(|known| known.service != *service);
            same_address.push(pending);
            ips.push(*ip);
        }
        if ips.is_empty() {
            return;
        }
        self.pending.retain(|_, all| {
            all.retain(|pending| now.saturating_duration_since(pending.handed) < LONGEST);
            !all.is_empty()
        });
        self.l2.tell_first_frames(ips, &self.sender);
    }

    /// Waits for frames to be sent. Cancel-safe.
    pub(crate) async fn next(&mut self) -> FirstFrame {
        match self.frames.recv().await {
            Some(frame) => frame,
            // It has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Tells of the moves that this frame, and those that were sent besides, have ended.
    pub(crate) fn end(&mut self, first: FirstFrame, metrics: &Metrics) {
        let mut next = Some(first);
        while let Some(frame) = next {
            for pending in self.pending.remove(&frame.ip).unwrap_or_default() {
                pending.tell(frame.at, metrics);
            }
            next = self.frames.try_recv().ok();
        }
    }
}

/// Whoever was lost is the cause, whatever made the engine look.
fn pending(
    service: &Arc<ServiceKey>,
    from: &Arc<str>,
    (cause, noticed): (&'static str, Instant),
    loss: Option<Loss>,
    handed: Instant,
) -> Pending {
    let (cause, heard, noticed) = match loss {
        Some(loss) => (cause_of_loss(loss.how), loss.heard, loss.noticed),
        None => (cause, None, noticed),
    };
    Pending {
        service: Arc::clone(service),
        from: Arc::clone(from),
        cause,
        heard,
        noticed,
        handed,
    }
}

impl Pending {
    fn tell(&self, sent: Instant, metrics: &Metrics) {
        let since = |later: Instant, earlier: Instant| later.saturating_duration_since(earlier).as_secs_f64();
        let detect = self.heard.map(|heard| since(self.noticed, heard)).unwrap_or_default();
        let elect = since(self.handed, self.noticed);
        let first_frame = since(sent, self.handed);
        let total = detect + elect + first_frame;
        metrics.failed_over(self.cause, total);
        let ms = |seconds: f64| (seconds * 10_000.0).round() / 10.0;
        info!(
            event = "ownerChanged",
            service = %self.service,
            from = &*self.from,
            cause = self.cause,
            detectMs = ms(detect),
            electMs = ms(elect),
            firstFrameMs = ms(first_frame),
            totalMs = ms(total),
            "this node answers for the service now"
        );
    }
}

/// The causes of a failover that nobody planned.
pub(crate) const LOSSES: [How; 3] = [How::Suspected, How::Died, How::Left];

/// How a loss is called in the label `cause`.
pub(crate) fn cause_of_loss(how: How) -> &'static str {
    match how {
        How::Suspected => "fastFailover",
        How::Died => "memberlist",
        How::Left => "graceful",
    }
}

/// What made the engine look, as the label `cause` says it. Without `membership` it is the API server that says which
/// nodes have a speaker.
pub(crate) fn cause(events: &[Event], membership: bool) -> &'static str {
    match events.first() {
        Some(Event::Members(_)) if !membership => "node",
        // What members say of themselves comes with who they are.
        Some(Event::Members(_) | Event::Suspects(_) | Event::Unaware(_) | Event::Owners(..) | Event::OwnersListed) => {
            "failback"
        }
        Some(Event::Interfaces(_)) => "links",
        Some(Event::Slice(..)) => "endpoints",
        Some(Event::Node(..)) => "node",
        _ => "config",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> impl Fn(Instant) -> Instant {
        move |start| start + Duration::from_millis(ms)
    }

    #[test]
    fn the_phases_follow_each_other_from_the_last_sign_of_life() {
        let start = Instant::now();
        let metrics = Metrics::new("b").unwrap();
        let (service, from) = (ServiceKey::new("default", "web").into(), "a".into());
        let loss = Loss {
            how: How::Suspected,
            heard: Some(start),
            noticed: at(300)(start),
        };
        let lost = pending(&service, &from, ("config", at(301)(start)), Some(loss), at(304)(start));
        lost.tell(at(310)(start), &metrics);
        let moved = pending(&service, &from, ("config", at(301)(start)), None, at(304)(start));
        moved.tell(at(310)(start), &metrics);
        let text = metrics.text();
        for line in [
            "metallb_layer2_failover_seconds_count{cause=\"fastFailover\"} 1",
            "metallb_layer2_failover_seconds_sum{cause=\"fastFailover\"} 0.31",
            "metallb_layer2_failover_seconds_bucket{cause=\"config\",le=\"0.005\"} 0",
            "metallb_layer2_failover_seconds_bucket{cause=\"config\",le=\"0.01\"} 1",
            "metallb_layer2_failover_seconds_bucket{cause=\"config\",le=\"30\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn the_first_event_is_the_cause() {
        let slice = || Event::Slice(ServiceKey::new("default", "web-1"), None);
        let members = [Event::Members(std::collections::BTreeSet::new())];
        assert_eq!(cause(&[slice(), Event::Listed], true), "endpoints");
        assert_eq!(
            [true, false].map(|membership| cause(&members, membership)),
            ["failback", "node"]
        );
        assert_eq!(cause(&[], true), "config");
    }
}
