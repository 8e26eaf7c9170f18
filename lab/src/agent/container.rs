//! One container: start, probe, restart with backoff, stop with grace.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, Probe};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::probe::Asker;
use super::status::{Observed, Progress};
use crate::cluster::now;
use crate::entry::EXEC;
use crate::net::Netns;
use crate::sandbox::Spec;

/// First and longest wait before a restart; a kubelet's are 10 s and 5 min.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// A container that ran this long starts afresh.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// One container, ready to be started any number of times.
pub(crate) struct Job {
    /// Its place among the pod's containers.
    pub index: usize,
    pub container: Container,
    pub spec: Spec,
    pub environment: BTreeMap<String, String>,
    pub log: std::path::PathBuf,
    pub node: Netns,
    pub pod_ip: IpAddr,
    pub grace: Duration,
    pub state: watch::Sender<Observed>,
    pub stop: CancellationToken,
    pub power_off: CancellationToken,
}

enum End {
    Exited(ExitStatus),
    Unhealthy,
    Stopped,
    PowerOff,
}

impl Job {
    /// Keeps the container running until it is told to stop.
    pub(crate) async fn run(&self) {
        let mut backoff = BACKOFF.0;
        loop {
            let began = Instant::now();
            match self.run_once().await {
                Ok(None) => return,
                Ok(Some(code)) => self.exited(code),
                Err(error) => self.update(|own| own.waiting = Some(("RunContainerError".into(), format!("{error:#}")))),
            }
            if began.elapsed() > FORGIVEN_AFTER {
                backoff = BACKOFF.0;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF.1),
                () = self.stop.cancelled() => return,
                () = self.power_off.cancelled() => return,
            }
        }
    }

    /// Runs to its end once: an init container. Says whether it succeeded.
    pub(crate) async fn complete(&self) -> bool {
        matches!(self.run_once().await, Ok(Some(0)))
    }

    /// The exit code, or nothing when it was stopped on purpose.
    async fn run_once(&self) -> Result<Option<i32>> {
        let mut child = self.spawn()?;
        self.update(|own| {
            own.running_since = Some(now());
            own.waiting = None;
            own.ready = self.container.readiness_probe.is_none();
        });
        let end = tokio::select! {
            status = child.wait() => End::Exited(status?),
            () = self.watch_health() => End::Unhealthy,
            () = self.stop.cancelled() => End::Stopped,
            () = self.power_off.cancelled() => End::PowerOff,
        };
        match end {
            End::Exited(status) => {
                signal(&child, Signal::SIGKILL);
                Ok(Some(exit_code(status)))
            }
            End::Unhealthy => {
                tracing::warn!(container = self.container.name, "liveness probe failed, restarting");
                self.terminate(&mut child).await.map(exit_code).map(Some)
            }
            End::Stopped => {
                self.update(|own| own.ready = false);
                let status = self.terminate(&mut child).await?;
                self.update(|own| {
                    own.running_since = None;
                    own.last_exit = Some((exit_code(status), now()));
                });
                Ok(None)
            }
            End::PowerOff => {
                signal(&child, Signal::SIGKILL);
                child.wait().await?;
                Ok(None)
            }
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot open {}", self.log.display()))?;
        Command::new("/proc/self/exe")
            .arg0(&self.container.name)
            .arg(EXEC)
            .arg(serde_json::to_string(&self.spec)?)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a process")
    }

    async fn terminate(&self, child: &mut Child) -> Result<ExitStatus> {
        signal(child, Signal::SIGTERM);
        let ended = tokio::select! {
            ended = tokio::time::timeout(self.grace, child.wait()) => ended.ok(),
            () = self.power_off.cancelled() => None,
        };
        signal(child, Signal::SIGKILL);
        Ok(match ended {
            Some(status) => status?,
            None => child.wait().await?,
        })
    }

    /// Keeps the readiness up to date; returns when the container should be killed.
    async fn watch_health(&self) {
        let readiness = async {
            if let Some(probe) = &self.container.readiness_probe {
                self.asker(probe)
                    .readiness(|ready| self.update(|own| own.ready = ready))
                    .await;
            }
            std::future::pending::<()>().await;
        };
        let liveness = async {
            match &self.container.liveness_probe {
                Some(probe) => self.asker(probe).liveness().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => {}
            () = liveness => {}
        }
    }

    fn asker<'a>(&'a self, probe: &'a Probe) -> Asker<'a> {
        Asker {
            netns: &self.node,
            pod_ip: self.pod_ip,
            container: &self.container,
            probe,
        }
    }

    fn exited(&self, code: i32) {
        self.update(|own| {
            own.running_since = None;
            own.ready = false;
            own.restarts += 1;
            own.last_exit = Some((code, now()));
            own.waiting = Some((
                "CrashLoopBackOff".into(),
                format!("exited with {code}; see {}", self.log.display()),
            ));
        });
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.state.send_if_modified(|observed| {
            let Some(own) = observed.containers.get_mut(self.index) else {
                return false;
            };
            let before = own.clone();
            change(own);
            *own != before
        });
    }
}

/// To the whole session; the process itself as well, in case it has not made its session yet.
fn signal(child: &Child, signal: Signal) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else {
        return;
    };
    if killpg(pid, signal).is_err() {
        let _ = kill(pid, signal);
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}
