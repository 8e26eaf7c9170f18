//! What becomes of an address when the node that announces it fails: whole speakers, each in a network namespace of its own,
//! on a real kube-apiserver, and a client that asks all the time.
//!
//! A run starts all speakers anew, so that none remembers an earlier failure, waits until one node answers and all is calm,
//! makes the fault, waits until another node answers, and mends.

mod client;
mod hang;
mod network;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use metallb_test_support::{apply, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::cluster::{self, SPEAKERS};
use crate::control_plane::ControlPlane;
use crate::speaker::Speaker;

use client::{Asked, Client, Notes, QUERY_PACE};
use hang::Hung;
use network::{Network, Number};

/// How long speakers may take to start, or to take over, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is watched what happens after a takeover.
const REST: Duration = Duration::from_millis(1500);
/// What was sent in the last moment may not have been answered yet.
const ON_THE_WAY: Duration = Duration::from_millis(200);
/// Answers that are further apart are not those of one span.
const ONE_SPAN: Duration = Duration::from_millis(20);
/// So many of the last ARP requests are looked at for how it ended.
const LAST: usize = 50;
/// What the membership of a test encrypts with.
const KEY: &str = "0123456789abcdefghijkl";
const CONFIGURATION: &str = "
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: pool, namespace: metallb-system},
 spec: {addresses: [192.0.2.200/32]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: ad, namespace: metallb-system},
 spec: {interfaces: [eth0]}}
";

/// How the node fails that answers for the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its power: nothing of it is heard any more.
    Crash,
    /// The speaker dies; the node goes on.
    Sigkill,
    /// The speaker hangs, and goes on after another has taken over.
    Sigstop,
    /// All threads of the speaker hang but the one that vouches for it (of upstream's all), and go on after another has
    /// taken over.
    Hang,
    /// The speaker is asked to end.
    Sigterm,
    /// The cable of the only interface that addresses can be announced on; the speakers reach each other.
    Cable,
    /// The cable of one of two such interfaces, the one that is meant.
    CableOfTwo,
}

impl Fault {
    /// Those that there are.
    pub const ALL: [Self; 7] = [
        Self::Crash,
        Self::Sigkill,
        Self::Sigstop,
        Self::Hang,
        Self::Sigterm,
        Self::Cable,
        Self::CableOfTwo,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::Sigkill => "sigkill",
            Self::Sigstop => "sigstop",
            Self::Hang => "hang",
            Self::Sigterm => "sigterm",
            Self::Cable => "cable",
            Self::CableOfTwo => "cable-of-two",
        })
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|fault| fault.to_string() == text);
        found.with_context(|| format!("there is no fault {text}"))
    }
}

/// How a failover went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// From the fault to the first request that another node has answered.
    pub taken_over: Duration,
    /// Requests that nobody has answered, which were sent a millisecond after each other.
    pub lost: usize,
    /// When the first and the last of them were sent, after the fault.
    pub lost_between: Option<(Duration, Duration)>,
    /// For how long two nodes answered ARP requests.
    pub two_answer: Duration,
    /// How many nodes answered the last ARP requests.
    pub answer_last: usize,
}

/// How an exchange of all speakers went, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Requests that nobody has answered, which were sent a millisecond after each other.
    pub lost: usize,
    /// For how long, in all, two nodes answered ARP requests.
    pub two_answer: Duration,
    /// For how long, in all, no node answered ARP requests; whoever knows the address does not notice.
    pub none_answers: Duration,
}

/// Nodes, and what speakers on them find.
pub struct Cluster {
    control_plane: ControlPlane,
    network: Network,
    dir: PathBuf,
    /// How long all must be well before a fault.
    calm: Duration,
}

impl Cluster {
    /// Builds so many nodes around the network namespace of this process, and starts Kubernetes' `programs`, with all files
    /// in `dir`.
    ///
    /// # Errors
    /// When something of it fails.
    pub async fn build(programs: &Path, dir: &Path, nodes: Number, calm: Duration) -> Result<Self> {
        let network = Network::build(dir, nodes)?;
        let control_plane = ControlPlane::start(programs, dir, network::HUB).await?;
        let client = &control_plane.client;
        cluster::prepare(client).await?;
        for node in 1..=nodes {
            cluster::add_speaker(client, &name(node), &pod(node), network::address(node)).await?;
        }
        wait_for("MetalLB's kinds to be served", PATIENCE, async || {
            Ok(apply(client, CONFIGURATION).await.ok())
        })
        .await?;
        cluster::add_service(client, "service", *network::SERVICE.ip(), &name(1)).await?;
        fs::create_dir_all(dir.join("key"))?;
        fs::write(dir.join("key/secretkey"), KEY)?;
        Ok(Self {
            control_plane,
            network,
            dir: dir.to_owned(),
            calm,
        })
    }

    /// Starts speakers, has the node fail that answers, and ends them.
    ///
    /// # Errors
    /// When nobody answers, before or after.
    pub async fn fail(&mut self, speaker: &Speaker, fault: Fault) -> Result<Outcome> {
        self.network.management_announces(fault != Fault::Cable)?;
        let client = Client::start(&self.network)?;
        let numbers = (1..).take(self.network.nodes.len());
        let mut speakers: Vec<Child> = numbers.map(|node| self.start(speaker, node)).collect::<Result<_>>()?;
        let owner = self.calm(&client).await?;
        let failing = &mut speakers[usize::from(owner) - 1];
        let outcome = self.outcome(&client, owner, failing, fault).await;
        let ended = async {
            for speaker in &mut speakers {
                speaker.kill().await?;
            }
            self.network.mend(owner)
        };
        ended.await?;
        outcome
    }

    /// Starts speakers of one kind and puts those of another in their place, node by node, as a rolling update does.
    ///
    /// # Errors
    /// When nobody answers, or a speaker does not end.
    pub async fn exchange(&mut self, old: &Speaker, new: &Speaker) -> Result<Exchange> {
        self.network.management_announces(true)?;
        let client = Client::start(&self.network)?;
        let numbers = (1..).take(self.network.nodes.len());
        let mut speakers: Vec<Child> = numbers.map(|node| self.start(old, node)).collect::<Result<_>>()?;
        self.calm(&client).await?;
        let from = Instant::now();
        for (node, speaker) in (1..).zip(&mut speakers) {
            let pid = speaker.id().context("a speaker has ended")?;
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
            timeout(PATIENCE, speaker.wait())
                .await
                .context("a speaker does not end")??;
            *speaker = self.start(new, node)?;
            self.calm(&client).await?;
        }
        let to = Instant::now();
        // Answers may be on the way.
        sleep(REST).await;
        let found = client.look(|notes| {
            let [requests, queries] = notes.between(from, to);
            let by = |count: fn(usize) -> bool| queries.iter().filter(|query| count(nodes(query))).count();
            let time = |count: usize| QUERY_PACE * u32::try_from(count).unwrap_or(u32::MAX);
            Exchange {
                lost: lost(requests),
                two_answer: time(by(|nodes| nodes > 1)),
                none_answers: time(by(|nodes| nodes == 0)),
            }
        });
        for speaker in &mut speakers {
            speaker.kill().await?;
        }
        Ok(found)
    }

    fn start(&self, speaker: &Speaker, node: Number) -> Result<Child> {
        let log = File::create(self.dir.join(format!("{}-{}.log", speaker.label, name(node))))?;
        let address = network::address(node);
        let mut command = speaker.command(&self.control_plane.kubeconfig, &name(node), &pod(node), address);
        command
            .args(["--port=0", "--log-level=info"])
            .arg(format!("--ml-bindaddr={address}"))
            .arg(format!("--ml-labels={SPEAKERS}"))
            .arg(format!("--ml-secret-key-path={}", self.dir.join("key").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let started = self.network.nodes[usize::from(node) - 1].run(|| command.spawn())?;
        started.with_context(|| format!("cannot start {}", speaker.path.display()))
    }

    /// Waits until the same node has answered all requests for a while; which it is.
    async fn calm(&self, client: &Client) -> Result<Number> {
        let began = Instant::now();
        wait_for("one node to answer", PATIENCE, async || {
            let to = Instant::now().checked_sub(ON_THE_WAY).unwrap_or(began);
            let Some(from) = to.checked_sub(self.calm).filter(|from| *from > began) else {
                return Ok(None);
            };
            Ok(client.look(|notes| {
                let [requests, queries] = notes.between(from, to);
                only(requests).filter(|owner| only(queries) == Some(*owner))
            }))
        })
        .await
    }

    /// Makes the fault; what hangs goes on when that is dropped.
    fn make(&mut self, fault: Fault, owner: Number, process: u32) -> Result<Option<Hung>> {
        let send = |signal| kill(Pid::from_raw(process.cast_signed()), signal);
        match fault {
            Fault::Crash => {
                self.network.cut(owner)?;
                send(Signal::SIGKILL)?;
            }
            Fault::Sigkill => send(Signal::SIGKILL)?,
            Fault::Sigstop => send(Signal::SIGSTOP)?,
            Fault::Hang => return Hung::hang(process).map(Some),
            Fault::Sigterm => send(Signal::SIGTERM)?,
            Fault::Cable | Fault::CableOfTwo => self.network.pull(owner)?,
        }
        Ok(None)
    }

    async fn outcome(&mut self, client: &Client, owner: Number, speaker: &mut Child, fault: Fault) -> Result<Outcome> {
        let process = speaker.id().context("the speaker has ended")?;
        let at = Instant::now();
        let hung = self.make(fault, owner, process)?;
        let answered = wait_for("another node to answer", PATIENCE, async || {
            Ok(client.look(|notes| answered_by_another(notes, owner, at)))
        })
        .await?;
        // On a busy machine the kernel takes its time to change a link.
        let at = match fault {
            Fault::Crash | Fault::Cable | Fault::CableOfTwo => client.look(|notes| last_answered_by(notes, owner, at)),
            _ => at,
        };
        let taken_over = answered.saturating_duration_since(at);
        sleep(REST).await;
        if matches!(fault, Fault::Sigstop | Fault::Hang) {
            drop(hung);
            kill(Pid::from_raw(process.cast_signed()), Signal::SIGCONT)?;
            sleep(REST).await;
        }
        let end = Instant::now();
        if fault == Fault::Sigterm {
            ensure!(speaker.wait().await?.success(), "the speaker has ended with an error");
        }
        Ok(client.look(|notes| judge(notes, at, end, taken_over)))
    }
}

fn name(node: Number) -> String {
    format!("node{node}")
}

fn pod(node: Number) -> String {
    format!("speaker-{node}")
}

/// The node that has answered everything, alone.
fn only(asked: &[Asked]) -> Option<Number> {
    let (owner, _) = *asked.first()?.answers.first()?;
    let only = |asked: &Asked| matches!(asked.answers[..], [(node, _)] if node == owner);
    asked.iter().all(only).then_some(owner)
}

fn answered_by_another(notes: &Notes, owner: Number, since: Instant) -> Option<Instant> {
    let [requests, _] = notes.between(since, Instant::now());
    let answers = requests.iter().flat_map(|asked| &asked.answers);
    answers.filter(|(node, _)| *node != owner).map(|(_, at)| *at).min()
}

/// When the last request was sent that the owner has answered, since the fault was made.
fn last_answered_by(notes: &Notes, owner: Number, since: Instant) -> Instant {
    let [requests, _] = notes.between(since, Instant::now());
    let answered = |asked: &&Asked| asked.answers.iter().any(|(node, _)| *node == owner);
    requests.iter().rev().find(answered).map_or(since, |asked| asked.at)
}

/// How many nodes have answered.
fn nodes(asked: &Asked) -> usize {
    let nodes: BTreeSet<Number> = asked.answers.iter().map(|(node, _)| *node).collect();
    nodes.len()
}

/// How many nobody has answered.
fn lost(requests: &[Asked]) -> usize {
    requests.iter().filter(|asked| asked.answers.is_empty()).count()
}

fn judge(notes: &Notes, from: Instant, to: Instant, taken_over: Duration) -> Outcome {
    let [requests, queries] = notes.between(from, to.checked_sub(ON_THE_WAY).unwrap_or(to));
    let mut unanswered = requests.iter().filter(|asked| asked.answers.is_empty());
    let after = |asked: &Asked| asked.at.saturating_duration_since(from);
    let first = unanswered.next().map(after);
    Outcome {
        taken_over,
        lost: lost(requests),
        lost_between: first.map(|first| (first, unanswered.next_back().map_or(first, after))),
        two_answer: two_answer(queries),
        answer_last: queries.iter().rev().take(LAST).map(nodes).max().unwrap_or(0),
    }
}

/// For how long others than the one that answers in the end have answered after it had begun to.
fn two_answer(queries: &[Asked]) -> Duration {
    let mut answers: Vec<(Number, Instant)> = queries.iter().flat_map(|asked| asked.answers.clone()).collect();
    answers.sort_unstable_by_key(|(_, at)| *at);
    let Some((last, _)) = answers.last().copied() else {
        return Duration::ZERO;
    };
    let after = answers.iter().position(|(node, _)| *node == last);
    let late = answers[after.unwrap_or(0)..].iter().filter(|(node, _)| *node != last);
    let late: Vec<Instant> = late.map(|(_, at)| *at).collect();
    let spans = late.windows(2).map(|pair| (pair[1] - pair[0]).min(ONE_SPAN));
    // The first answer is not nothing either.
    spans.sum::<Duration>() + if late.is_empty() { Duration::ZERO } else { QUERY_PACE }
}
