//! Any MetalLB speaker as a black box, on a real kube-apiserver and with a BGP router: how soon one Service more is on the
//! wire beside many others, how soon a speaker that starts has announced all of them, and what it costs. Prints figures as
//! a table, each speaker's beside those of the first, which is the baseline; asserts none.
//!
//! ```text
//! cargo bench -p metallb-judges --bench speaker -- --speaker upstream=/path/to/speaker --speaker ours=/path/to/metallb-speaker
//! ```
//! `--changes N` says how many Services are added one by one (300), `--largest N` how many there are at most (10 000; what
//! upstream needs for them grows faster than their number, to minutes at 5 000), `--smallest N` how many at least,
//! `--settle SECONDS` how long a speaker is waited for until it has settled (240), `--quick` makes everything ten times
//! smaller, to try the bench itself.
//!
//! A speaker takes upstream's flags and environment. Ours is the image's program (`.ci/program` builds it and says where it
//! is) under the name `metallb-speaker`; upstream's comes from `go install go.universe.tf/metallb/speaker@v0.16.1`.
//!
//! The speakers are measured in turn, at each number of Services, on one API server and with the same Services, while
//! nothing else is in the cluster: no controllers run, and Services have their addresses before. Everything is in a
//! network namespace of its own, with one interface for layer 2. What the rows mean:
//!
//! - *one added*: from a status written (the PATCH sent, or its answer read) to the UPDATE read by the router; Service and
//!   endpoints are there before. A speaker may see the change before we see the answer: then the second is negative. How
//!   much of it is the API server's, a plain watcher in the bench tells, who is sent the same event.
//! - *CPU a change*: of all threads, over all changes and the second of rest after them, events and statuses included.
//! - *settled*: when a speaker uses less than a hundredth of a core for two seconds, all prefixes being announced.
//! - *writes*: what the API server answered meanwhile.
//!
//! A quiet machine is half of the measurement: what else runs shows in every figure, most of all in the 99th percentile.

mod objects;
mod process;
mod receiver;
mod watcher;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use metallb_judges::control_plane::ControlPlane;
use metallb_judges::namespaces;
use metallb_judges::speaker::Speaker;
use metallb_judges::table::{Table, ms, percentile};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use process::{PATIENCE, Running};
use receiver::Heard;
use watcher::Watcher;

/// Where the router listens; the address is the node's as well.
const ROUTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1790);
/// Makes an interface to announce on, whose other end answers nobody.
const NETWORK: [&str; 6] = [
    "link set lo up",
    "link add eth0 type veth peer name wire0",
    "link set wire0 arp off",
    "address add 192.0.2.1/24 dev eth0",
    "link set eth0 up",
    "link set wire0 up",
];
/// How many Services there are, one stage after the other.
const STAGES: [Stage; 4] = [
    Stage::at(0),
    Stage {
        adds: true,
        ..Stage::at(1000)
    },
    Stage {
        layer2: true,
        ..Stage::at(5000)
    },
    Stage {
        adds: true,
        ..Stage::at(10_000)
    },
];
/// The numbers of the Services that are added one by one begin here.
const ADDED: usize = 100_000;
/// Between two changes, so that a speaker has done with the one before the next.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a change may have effects.
const REST: Duration = Duration::from_secs(1);

/// What is measured at a number of Services, beside the start.
struct Stage {
    services: usize,
    /// Services added one by one.
    adds: bool,
    /// A start with layer 2 as well.
    layer2: bool,
}

impl Stage {
    const fn at(services: usize) -> Self {
        Self {
            services,
            adds: false,
            layer2: false,
        }
    }
}

/// What the command line asks for.
struct Options {
    speakers: Vec<Speaker>,
    changes: usize,
    /// What numbers of Services are divided by.
    divisor: usize,
    /// How many Services there are at most.
    largest: usize,
    /// How many Services there are at least.
    smallest: usize,
    /// How long a speaker may take to settle.
    settle: Duration,
}

fn main() -> ExitCode {
    namespaces::bench(options(), |options| &options.speakers, inside)
}

fn options() -> Result<Options> {
    let mut options = Options {
        speakers: Vec::new(),
        changes: 300,
        divisor: 1,
        largest: usize::MAX,
        smallest: 0,
        settle: Duration::from_secs(240),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--speaker" => options.speakers.push(Speaker::parse(&value()?)?),
            "--changes" => options.changes = value()?.parse()?,
            "--largest" => options.largest = value()?.parse()?,
            "--smallest" => options.smallest = value()?.parse()?,
            "--settle" => options.settle = Duration::from_secs(value()?.parse()?),
            "--quick" => (options.changes, options.divisor) = (30, 10),
            // Cargo's own.
            "--bench" => {}
            other => {
                bail!(
                    "{other} is unknown: known are --speaker LABEL=PATH, --changes N, --largest N, --smallest N, --settle SECONDS and --quick"
                )
            }
        }
    }
    Ok(options)
}

fn inside(options: &Options, programs: &Path) -> Result<ExitCode> {
    for step in NETWORK {
        let status = Command::new("ip")
            .args(step.split(' '))
            .status()
            .context("cannot start ip")?;
        ensure!(status.success(), "ip {step} failed");
    }
    let dir = tempfile::Builder::new().prefix("speaker-bench-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(measure(options, programs, dir.path())) {
        Ok(table) => println!("{}", table.text()),
        Err(error) => return Err(error.context(format!("logs are kept in {}", dir.keep().display()))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Options, programs: &Path, dir: &Path) -> Result<Table> {
    let control_plane = ControlPlane::start(programs, dir, Ipv4Addr::LOCALHOST).await?;
    objects::prepare(&control_plane.client, ROUTER).await?;
    let labels = options.speakers.iter().map(|speaker| speaker.label.clone());
    let mut bench = Bench {
        options,
        dir,
        client: control_plane.client.clone(),
        kubeconfig: &control_plane.kubeconfig,
        heard: receiver::listen(ROUTER)?,
        table: Table::new(labels.collect()),
    };
    bench.run().await?;
    Ok(bench.table)
}

struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    client: Client,
    kubeconfig: &'a Path,
    heard: UnboundedReceiver<Heard>,
    table: Table,
}

impl Bench<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut there = 0;
        for stage in STAGES {
            let services = stage.services / self.options.divisor;
            if services > self.options.largest {
                break;
            }
            if services < self.options.smallest {
                continue;
            }
            eprintln!("== {services} Services");
            objects::create_services(&self.client, there..services, true).await?;
            there = services;
            for speaker in &self.options.speakers {
                let measured = self.stage(speaker, &stage, services).await;
                measured.with_context(|| format!("{} with {services} Services", speaker.label))?;
            }
        }
        Ok(())
    }

    async fn stage(&mut self, speaker: &Speaker, stage: &Stage, services: usize) -> Result<()> {
        let added = ADDED..ADDED + if stage.adds { self.options.changes } else { 0 };
        objects::create_services(&self.client, added.clone(), false).await?;
        let running = self.start(speaker, services, "BGP").await?;
        if stage.adds {
            self.add(&running, &speaker.label, services).await?;
        }
        running.end(&mut self.heard).await?;
        objects::delete_services(&self.client, added).await?;
        objects::clear(&self.client).await?;
        if stage.layer2 {
            objects::layer2(&self.client, true).await?;
            let running = self.start(speaker, services, "BGP and layer 2").await?;
            running.end(&mut self.heard).await?;
            objects::layer2(&self.client, false).await?;
            objects::clear(&self.client).await?;
        }
        Ok(())
    }

    /// Starts a speaker and measures it until it has settled.
    async fn start(&mut self, speaker: &Speaker, services: usize, how: &str) -> Result<Running> {
        while self.heard.try_recv().is_ok() {}
        let before = objects::writes(&self.client).await?;
        let mut running = Running::start(speaker, self.kubeconfig, self.dir)?;
        let started = running.announces(&mut self.heard, services).await?;
        let settled = running.settles(self.options.settle).await?;
        let (memory, own) = running.memory()?;
        let what = format!("start with {services}, {how}");
        let mut enter = |figure: &str, value| self.table.enter(&format!("{what}: {figure}"), &speaker.label, value);
        enter("to OPEN, ms", Some(ms(started.to_open)));
        if services > 0 {
            enter("OPEN to last prefix, ms", Some(ms(started.to_last)));
        }
        enter("settled after, s", settled.after.map(|after| after.as_secs_f64()));
        enter("CPU until settled, s", Some(settled.cpu.as_secs_f64()));
        enter("RSS, MiB", Some(memory));
        enter("of it RssAnon, MiB", Some(own));
        if settled.after.is_none() {
            let within = self.options.settle;
            let note = format!(
                "{what}: {} has not settled in {within:?}, and is measured as it was then",
                speaker.label
            );
            self.table.note(note);
        }
        let after = objects::writes(&self.client).await?;
        let writes = after.iter().filter_map(|(name, count)| {
            let more = count - before.get(name).copied().unwrap_or_default();
            (more > 0).then(|| format!("{more} {name}"))
        });
        let writes: Vec<String> = writes.collect();
        let note = format!("{what}: writes of {}: {}", speaker.label, writes.join(", "));
        self.table.note(note);
        Ok(running)
    }

    /// Adds Services one by one.
    async fn add(&mut self, running: &Running, label: &str, services: usize) -> Result<()> {
        let api = objects::services(&self.client);
        let mut watcher = Watcher::start(&api, objects::ADDED).await?;
        let (mut sent, mut answered, mut event, mut seen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let before = running.cpu()?;
        for number in ADDED..ADDED + self.options.changes {
            let began = Instant::now();
            objects::assign(&api, number).await?;
            let written = Instant::now();
            let at = self.announced(objects::address(number)).await;
            let at = at.with_context(|| running.last_words())?;
            let watched = watcher.saw(objects::address(number)).await?;
            let took = ms(at - began);
            sent.push(took);
            answered.push(took - ms(written - began));
            event.push(took - ms(watched - began));
            seen.push(ms(watched - began));
            sleep(PAUSE).await;
        }
        sleep(REST).await;
        let cpu = running.cpu()? - before;
        let what = format!("one added beside {services}");
        let times = [
            ("PATCH sent to UPDATE", &mut sent),
            ("PATCH answered to UPDATE", &mut answered),
            ("plain watcher's event to UPDATE", &mut event),
            ("PATCH sent to plain watcher's event", &mut seen),
        ];
        for (span, times) in times {
            for (name, percent) in [("median", 50), ("p99", 99)] {
                let what = format!("{what}: {span}, {name}, ms");
                self.table.enter(&what, label, percentile(times, percent));
            }
        }
        let each = ms(cpu) / self.options.changes.max(1) as f64;
        self.table
            .enter(&format!("{what}: CPU a change, ms"), label, Some(each));
        Ok(())
    }

    /// Waits for the announcement of an address.
    async fn announced(&mut self, address: Ipv4Addr) -> Result<Instant> {
        loop {
            match timeout(PATIENCE, self.heard.recv()).await {
                Ok(Some(Heard::Announced(heard, at))) if heard == address => return Ok(at),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => bail!("{address} was not announced"),
            }
        }
    }
}
