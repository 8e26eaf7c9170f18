//! Leader election with a `coordination.k8s.io/v1` Lease, by the rules of client-go.
//!
//! A free lease (absent, without holder, or expired by our own clock since we last saw it renewed) is taken with one
//! write guarded by `resourceVersion`. The holder steps down by itself if it could not renew for [`Timing::deadline`],
//! which is before anyone else may take over, and gives the lease up on shutdown.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The clockwork of an election; the default is client-go's.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a holder is believed without a renewal.
    pub duration: Duration,
    /// A holder that could not renew for this long steps down.
    pub deadline: Duration,
    /// Time between two attempts to take or renew.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Takes part in the election for the lease `name`; the receiver tells whether `identity` holds it.
///
/// The first attempt is made at once. After `stop` the lease is given up and the sender dropped.
/// Must be called inside a tokio runtime.
pub fn hold(
    client: Client,
    namespace: &str,
    name: &str,
    identity: &str,
    timing: Timing,
    stop: CancellationToken,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let candidate = Candidate {
        api: Api::namespaced(client, namespace),
        name: name.to_owned(),
        identity: identity.to_owned(),
        timing,
        seen: None,
    };
    tokio::spawn(candidate.run(sender, stop));
    receiver
}

/// Waits until the lease is given up, at most `limit`: a process that ends before leaves the next holder waiting until
/// the lease expires. For the end of a process, after its stop signal.
pub async fn given_up(mut leading: watch::Receiver<bool>, limit: Duration) {
    let closed = async { while leading.changed().await.is_ok() {} };
    if timeout(limit, closed).await.is_err() {
        warn!(
            event = "leaseKept",
            "the next leader has to wait until the lease expires"
        );
    }
}

struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    /// The last record of another holder and when we first saw it: expiry is judged by our clock alone, so that clocks
    /// of different machines need not agree.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    async fn run(mut self, leading: watch::Sender<bool>, stop: CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            let attempt = Instant::now();
            // One request that is never answered leaves time for another. And a holder has no more time than is left of its
            // last renewal, or it would act when it is not believed any more.
            let mut limit = self.timing.deadline / 2;
            if *leading.borrow() {
                limit = limit.min((renewed + self.timing.deadline).saturating_duration_since(attempt));
            }
            let result = tokio::select! {
                () = stop.cancelled() => break,
                result = timeout(limit, self.attempt()) => result,
            };
            match result {
                Ok(Ok(held)) => {
                    renewed = attempt;
                    self.tell(&leading, held);
                }
                Ok(Err(error)) => warn!(event = "leaseFailed", lease = self.name, %error),
                Err(_) => warn!(event = "leaseFailed", lease = self.name, error = "timed out"),
            }
            if *leading.borrow() && renewed.elapsed() >= self.timing.deadline {
                self.tell(&leading, false);
            }
            let mut next = attempt + self.timing.retry;
            if *leading.borrow() {
                next = next.min(renewed + self.timing.deadline);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
        }
        if leading.send_replace(false) {
            self.release().await;
        }
    }

    fn tell(&self, leading: &watch::Sender<bool>, held: bool) {
        let changed = leading.send_if_modified(|now| std::mem::replace(now, held) != held);
        if changed {
            let event = if held { "leaderElected" } else { "leaderLost" };
            info!(event, lease = self.name, identity = self.identity);
        }
    }

    /// Takes or renews the lease if it is free or ours; returns whether we hold it now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return self.written(self.api.create(&PostParams::default(), &self.fresh()).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.identity);
        if !ours && !self.is_free(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.record(&spec, ours));
        self.written(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// A conflict means that somebody else was quicker.
    fn written(&self, result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(event = "leaseConflict", lease = self.name);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
            return true;
        }
        let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let duration = seconds.map_or(self.timing.duration, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed() >= duration,
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    fn fresh(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.record(&LeaseSpec::default(), false)),
        }
    }

    fn record(&self, before: &LeaseSpec, ours: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            acquire_time: if ours {
                before.acquire_time.clone()
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..before.clone()
        }
    }

    async fn release(&self) {
        if let Err(error) = self.try_release().await {
            warn!(event = "leaseReleaseFailed", lease = self.name, %error);
        }
    }

    async fn try_release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return Ok(());
        };
        let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        info!(event = "leaseReleased", lease = self.name);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
