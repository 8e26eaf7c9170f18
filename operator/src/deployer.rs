//! The part of the operator that deploys: election, watches, reconciler. It serves nothing.

use std::time::Duration;

use kube::Client;
use metallb_api::names::{self, event_source};
use metallb_manifests::{Environment, TlsSettings};
use metallb_runtime::{
    CancellationToken,
    admin::Health,
    events::Recorder,
    lease,
    tasks::{Spawner, Tasks},
};
use tokio::sync::watch;

use crate::{
    definitions,
    engine::{CLUSTER, End, Engine},
    openshift::tls_config,
    status::metrics::Metrics,
};

/// Time for tasks to end after the stop signal.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

/// Time to give up the lease after that.
const LEASE_GRACE: Duration = Duration::from_secs(1);

/// Who deploys, and what it was told.
pub struct Deployer {
    /// The cluster.
    pub client: Client,
    /// What to deploy besides the MetalLB resource.
    pub environment: Environment,
    /// A name among the replicas.
    pub identity: String,
    /// Whether to take part in the election of a leader; otherwise it leads.
    pub elect: bool,
    /// The OperatorCondition of the Operator Lifecycle Manager, if that is in charge.
    pub operator_condition: Option<String>,
}

/// What must live as long as the tasks do.
pub(crate) struct Held {
    candidacy: Option<lease::Candidacy>,
    _always: Option<watch::Sender<bool>>,
    /// The TLS settings to serve with, once they are known.
    pub(crate) tls: watch::Receiver<Option<TlsSettings>>,
}

impl Held {
    /// Waits until others may lead.
    pub(crate) async fn give_up(self) {
        if let Some(candidacy) = self.candidacy {
            candidacy.give_up(LEASE_GRACE).await;
        }
    }
}

impl Deployer {
    /// Deploys until `stop`, without probes, metrics or webhooks.
    ///
    /// # Errors
    /// A task ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = Tasks::new(stop.clone());
        let health = Health::waiting_for([CLUSTER]);
        if tasks.during(definitions::wait(&self.client, &health)).await.is_none() {
            return Ok(tasks.join(GRACE).await?);
        }
        let held = self.spawn(&mut tasks, Metrics::new()?, health, &stop);
        let ended = tasks.join(GRACE).await;
        held.give_up().await;
        Ok(ended?)
    }

    pub(crate) fn spawn(self, tasks: &mut Tasks, metrics: Metrics, health: Health, stop: &CancellationToken) -> Held {
        let spawner = tasks.spawner();
        let candidacy = self.candidacy(&spawner);
        let (always, leader) = match &candidacy {
            Some(candidacy) => (None, candidacy.leading()),
            None => {
                let (always, leader) = watch::channel(true);
                (Some(always), leader)
            }
        };
        let work = || candidacy.as_ref().map(lease::Candidacy::work);
        let recorder = Recorder::new(self.client.clone(), event_source::OPERATOR, &self.identity, &spawner);
        let (sender, tls) = watch::channel(None);
        let namespace = self.environment.namespace.clone();
        let keep = tls_config::keep(
            self.client.clone(),
            namespace,
            tls.clone(),
            leader.clone(),
            spawner.clone(),
        );
        let keeping = work();
        tasks.spawn("TLS settings", async move {
            let ended = keep.await;
            done(keeping);
            ended
        });
        let (engine, feeds) = Engine::new(
            self.client,
            self.environment,
            sender,
            recorder,
            metrics,
            self.operator_condition,
            &spawner,
        );
        for feed in feeds {
            tasks.spawn("watch", feed);
        }
        let (reconciling, run) = (work(), engine.run(leader, health, stop.clone()));
        tasks.spawn("reconciler", async move {
            match run.await? {
                End::Clean => done(reconciling),
                // What was under way may still arrive: the lease expires.
                End::Overdue => {}
            }
            Ok(())
        });
        Held {
            candidacy,
            _always: always,
            tls,
        }
    }

    /// Takes part in the election, if there is one; otherwise we always lead.
    fn candidacy(&self, tasks: &Spawner) -> Option<lease::Candidacy> {
        let hold = || {
            lease::hold(
                self.client.clone(),
                &self.environment.namespace,
                names::OPERATOR_LEASE,
                &self.identity,
                lease::Timing::default(),
                tasks,
            )
        };
        self.elect.then(hold)
    }
}

fn done(work: Option<lease::Work>) {
    if let Some(work) = work {
        work.done();
    }
}
