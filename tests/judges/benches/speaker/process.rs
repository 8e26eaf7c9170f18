//! A speaker's process, and what it costs.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use metallb_judges::speaker::Speaker;
use nix::time::ClockId;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::ROUTER;
use crate::objects::{NODE, POD};
use crate::receiver::Heard;

/// For how long a speaker that has settled does next to nothing.
const CALM: Duration = Duration::from_secs(2);
/// The CPU time that is next to nothing: a hundredth of a core.
const NEXT_TO_NOTHING: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a speaker is waited for, for the first sign and after each.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The running program; it ends with it.
pub(crate) struct Running {
    child: Child,
    clock: ClockId,
    log: PathBuf,
    began: Instant,
}

/// How a start went.
pub(crate) struct Started {
    /// From the start to its OPEN.
    pub to_open: Duration,
    /// From the OPEN to the last of the prefixes.
    pub to_last: Duration,
}

/// What a speaker that has come to rest had cost until then.
pub(crate) struct Settled {
    /// From the start to rest, if it came to rest.
    pub after: Option<Duration>,
    pub cpu: Duration,
}

impl Running {
    /// Starts it as the manifests do, without membership: there is one node.
    pub(crate) fn start(speaker: &Speaker, kubeconfig: &Path, dir: &Path) -> Result<Self> {
        let log = dir.join(&speaker.label).with_extension("log");
        let file = File::create(&log)?;
        let mut command = speaker.command(kubeconfig, NODE, POD, *ROUTER.ip());
        command
            .args(["--port=9120", "--health-probe-port=17472", "--log-level=info"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        let began = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", speaker.path.display()))?;
        let pid = child.id().context("it ended at once")?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
        Ok(Self {
            child,
            clock,
            log,
            began,
        })
    }

    /// Waits for its session and for `count` addresses.
    pub(crate) async fn announces(&self, heard: &mut UnboundedReceiver<Heard>, count: usize) -> Result<Started> {
        let mut opened = None;
        let (mut known, mut last) = (HashSet::<Ipv4Addr>::new(), None);
        while opened.is_none() || known.len() < count {
            match timeout(PATIENCE, heard.recv()).await {
                Ok(Some(Heard::Open(at))) => {
                    opened = Some(at);
                    last = Some(at);
                    known.clear();
                }
                Ok(Some(Heard::Announced(address, at))) => {
                    known.insert(address);
                    last = Some(at);
                }
                Ok(Some(Heard::Withdrawn(address))) => {
                    known.remove(&address);
                }
                Ok(Some(Heard::Closed)) => {}
                Ok(None) | Err(_) => bail!("{} of {count} prefixes announced; {}", known.len(), self.last_words()),
            }
        }
        let (opened, last) = (opened.unwrap_or(self.began), last.unwrap_or(self.began));
        Ok(Started {
            to_open: opened - self.began,
            to_last: last - opened,
        })
    }

    /// Waits until it has come to rest, for `within` at most.
    pub(crate) async fn settles(&mut self, within: Duration) -> Result<Settled> {
        let mut looks = VecDeque::new();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}); {}", self.last_words());
            }
            let (now, cpu) = (Instant::now(), self.cpu()?);
            looks.push_back((now, cpu));
            // The youngest look that is old enough.
            while looks.get(1).is_some_and(|(at, _)| now - *at >= CALM) {
                looks.pop_front();
            }
            if let Some((then, before)) = looks.front()
                && now - *then >= CALM
                && cpu - *before < NEXT_TO_NOTHING
            {
                return Ok(Settled {
                    after: Some(*then - self.began),
                    cpu: *before,
                });
            }
            if now - self.began > within {
                return Ok(Settled { after: None, cpu });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The CPU time of all its threads, those that have ended too.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now().map(Duration::from)?)
    }

    /// Its resident memory, and the part of it that is not mapped from files, in MiB.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let pid = self.child.id().context("it has ended")?;
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let kib = field("VmRSS:")
            .zip(field("RssAnon:"))
            .context("no memory in its status")?;
        Ok((kib.0 / 1024.0, kib.1 / 1024.0))
    }

    /// The end of its log, for a message.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(8)..].join("\n");
        format!("its log ends with\n{end}")
    }

    /// Ends it, and waits until the router has noticed.
    pub(crate) async fn end(mut self, heard: &mut UnboundedReceiver<Heard>) -> Result<()> {
        self.child.kill().await?;
        while !matches!(timeout(PATIENCE, heard.recv()).await?, Some(Heard::Closed) | None) {}
        Ok(())
    }
}
