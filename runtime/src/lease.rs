//! Leader election with a `coordination.k8s.io/v1` Lease, by the rules of client-go.
//!
//! A free lease (absent, without holder, or expired by our own clock since we last saw it renewed) is taken with one
//! write guarded by `resourceVersion`. The holder steps down by itself if it could not renew for [`Timing::deadline`],
//! which is before anyone else may take over. It gives the lease up on shutdown, when all [`Work`] under it is done.

use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use crate::cause::explain;
use crate::tasks::Spawner;

/// Writes of the lease in one attempt, should others write it at the same time.
const WRITES: usize = 3;

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

/// Takes part in the election for the lease `name` under the name `identity`.
///
/// The first attempt is made at once. The candidate outlives the stop signal, since the lease is given up last; should it
/// end before, that is the failure of one of `tasks`. Must be called inside a tokio runtime.
#[must_use]
pub fn hold(client: Client, namespace: &str, name: &str, identity: &str, timing: Timing, tasks: &Spawner) -> Candidacy {
    let (sender, leading) = watch::channel(false);
    let (work, ended) = mpsc::unbounded_channel();
    let candidate = Candidate {
        api: Api::namespaced(client, namespace),
        name: name.to_owned(),
        identity: identity.to_owned(),
        timing,
        seen: None,
    };
    let task = AbortOnDropHandle::new(tokio::spawn(candidate.run(sender, ended)));
    tasks.spawn("lease", watch_over(leading.clone(), tasks.stop().clone()));
    Candidacy {
        leading,
        own: Work { work, done: false },
        task,
    }
}

/// Fails when the candidate ends before `stop`.
async fn watch_over(mut leading: watch::Receiver<bool>, stop: CancellationToken) -> anyhow::Result<()> {
    let ended = async { while leading.changed().await.is_ok() {} };
    match stop.run_until_cancelled(ended).await {
        None => Ok(()),
        Some(()) => bail!("the candidate for the lease has ended"),
    }
}

/// Part in an election. Dropped without being [given up](Self::give_up) it ends like a process that dies: the lease
/// expires.
#[derive(Debug)]
pub struct Candidacy {
    leading: watch::Receiver<bool>,
    /// There is work until the lease is given up.
    own: Work,
    /// Ends with this.
    task: AbortOnDropHandle<()>,
}

impl Candidacy {
    /// Tells whether the lease is ours.
    #[must_use]
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// For a task that writes while the lease is ours.
    #[must_use]
    pub fn work(&self) -> Work {
        Work {
            work: self.own.work.clone(),
            done: false,
        }
    }

    /// Gives the lease up, at most in `limit`: a process that ends before leaves the next holder waiting until the lease
    /// expires. For the end of a process.
    ///
    /// It is not given up if some [`Work`] has not said that it is done: what is under way there may arrive after the next
    /// holder has begun.
    pub async fn give_up(self, limit: Duration) {
        let Self { own, task, .. } = self;
        own.done();
        match timeout(limit, task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(event = "leaseKept", %error, "the next leader waits until the lease expires"),
            Err(_) => warn!(event = "leaseKept", "the next leader waits until the lease expires"),
        }
    }
}

/// Waits until the lease is not ours any more: what is under way then is for somebody else to decide.
pub async fn lost(leading: &watch::Receiver<bool>) {
    // Nor is it when nobody takes part any more.
    let _ = leading.clone().wait_for(|leading| !*leading).await;
}

/// Work that only the holder of the lease may do.
#[derive(Debug)]
pub struct Work {
    work: mpsc::UnboundedSender<()>,
    done: bool,
}

impl Work {
    /// Nothing is under way any more, and nothing will be.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            // Nobody hears it if the candidate has ended before.
            let _ = self.work.send(());
        }
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
    /// Goes on until all work is done, or some has vanished, which `work` says.
    async fn run(mut self, leading: watch::Sender<bool>, mut work: mpsc::UnboundedReceiver<()>) {
        let mut renewed = Instant::now();
        let vanished = loop {
            let attempt = Instant::now();
            // One request that is never answered leaves time for another. And a holder has no more time than is left of its
            // last renewal, or it would act when it is not believed any more.
            let mut limit = self.timing.deadline / 2;
            if *leading.borrow() {
                limit = limit.min((renewed + self.timing.deadline).saturating_duration_since(attempt));
            }
            let result = tokio::select! {
                vanished = work.recv() => break vanished,
                result = timeout(limit, self.attempt()) => result,
            };
            match result {
                Ok(Ok(Some(held))) => {
                    renewed = attempt;
                    self.tell(&leading, held);
                }
                Ok(Ok(None)) => debug!(event = "leaseConflict", lease = self.name),
                Ok(Err(error)) => warn!(event = "leaseFailed", lease = self.name, error = explain(&error)),
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
                vanished = work.recv() => break vanished,
                () = sleep_until(next) => {}
            }
        };
        match (leading.send_replace(false), vanished) {
            (false, _) => {}
            (true, None) => self.release().await,
            (true, Some(())) => warn!(
                event = "leaseKept",
                lease = self.name,
                "work has not ended in time: the next leader waits until the lease expires"
            ),
        }
    }

    fn tell(&self, leading: &watch::Sender<bool>, held: bool) {
        let changed = leading.send_if_modified(|now| std::mem::replace(now, held) != held);
        if changed {
            let event = if held { "leaderElected" } else { "leaderLost" };
            info!(event, lease = self.name, identity = self.identity);
        }
    }

    /// Takes or renews the lease if it is free or ours; returns whether we hold it now, or nothing if others write it all
    /// the time.
    ///
    /// That somebody else was quicker does not mean that the lease is theirs, be it that they wrote an annotation: only
    /// what it says now tells. (client-go goes on until its deadline, whatever it says.)
    async fn attempt(&mut self) -> Result<Option<bool>, kube::Error> {
        for _ in 0..WRITES {
            let result = match self.api.get_opt(&self.name).await? {
                None => self.api.create(&PostParams::default(), &self.fresh()).await,
                Some(mut lease) => {
                    let spec = lease.spec.take().unwrap_or_default();
                    let ours = spec.holder_identity.as_deref() == Some(&self.identity);
                    if !ours && !self.is_free(&spec) {
                        return Ok(Some(false));
                    }
                    lease.spec = Some(self.record(&spec, ours));
                    self.api.replace(&self.name, &PostParams::default(), &lease).await
                }
            };
            match result {
                Ok(_) => return Ok(Some(true)),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
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
            warn!(event = "leaseReleaseFailed", lease = self.name, error = explain(&error));
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
