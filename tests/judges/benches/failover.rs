//! Any MetalLB speaker as a black box, when the node fails that answers for an address: how long it takes until another does,
//! how many requests get no answer, and for how long two nodes answer. Prints figures as a table, each speaker's beside those
//! of the first, which is the baseline; asserts none.
//!
//! ```text
//! cargo bench -p metallb-judges --bench failover -- --speaker upstream=/path/to/speaker --speaker ours=/path/to/metallb-speaker
//! ```
//! `--nodes N` says how many nodes there are (3), `--runs N` how often each fault is made (100), `--fault NAME` which (all of
//! them; may be said several times), `--calm SECONDS` how long all must be well before (2; upstream's wants 6, until
//! its members know each other). `--stop-at MS` ends with the first run that takes longer, and keeps the logs.
//!
//! Each run starts all speakers anew. Nodes are network namespaces on one segment with the client, and on a management network
//! with a real kube-apiserver, where the speakers' membership is, too. The client sends a datagram to the address each
//! millisecond, with the help of Linux's own neighbour table; another host sends an ARP request every other. What the rows
//! mean:
//!
//! - *another answers*: from the fault to the first request that another node answers; where the node is cut off, from the
//!   last request that it answered. After `sigkill`, `sigstop` and `hang` its Linux goes on answering whoever knows its
//!   hardware address, until the other node has made itself known.
//! - *requests lost*: those that nobody answered, one a millisecond. Those that the client's Linux kept until it knew where to
//!   send them are not lost.
//! - *two answer*: for how long the failed node answered ARP requests after another had begun to; after `sigstop` and `hang`
//!   also when the speaker goes on.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use metallb_judges::failover::{Cluster, Fault, Outcome};
use metallb_judges::namespaces;
use metallb_judges::speaker::Speaker;
use metallb_judges::table::{Table, ms, percentile};

/// What the command line asks for.
struct Options {
    speakers: Vec<Speaker>,
    nodes: u8,
    runs: usize,
    faults: Vec<Fault>,
    calm: Duration,
    /// A run that takes longer is the last.
    stop_at: Duration,
}

fn main() -> ExitCode {
    namespaces::bench(options(), |options| &options.speakers, inside)
}

fn options() -> Result<Options> {
    let mut options = Options {
        speakers: Vec::new(),
        nodes: 3,
        runs: 100,
        faults: Vec::new(),
        calm: Duration::from_secs(2),
        stop_at: Duration::MAX,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--speaker" => options.speakers.push(Speaker::parse(&value()?)?),
            "--nodes" => options.nodes = value()?.parse()?,
            "--runs" => options.runs = value()?.parse()?,
            "--fault" => options.faults.push(value()?.parse()?),
            "--calm" => options.calm = Duration::from_secs(value()?.parse()?),
            "--stop-at" => options.stop_at = Duration::from_millis(value()?.parse()?),
            // Cargo's own.
            "--bench" => {}
            other => bail!(
                "{other} is unknown: known are --speaker LABEL=PATH, --nodes N, --runs N, --fault NAME, --calm SECONDS and --stop-at MS"
            ),
        }
    }
    if options.faults.is_empty() {
        options.faults = Fault::ALL.to_vec();
    }
    Ok(options)
}

fn inside(options: &Options, programs: &Path) -> Result<ExitCode> {
    let dir = tempfile::Builder::new().prefix("failover-bench-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(measure(options, programs, dir.path())) {
        Ok(table) => println!("{}", table.text()),
        Err(error) => return Err(error.context(format!("logs are kept in {}", dir.keep().display()))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Options, programs: &Path, dir: &Path) -> Result<Table> {
    let mut cluster = Cluster::build(programs, dir, options.nodes, options.calm).await?;
    let labels = options.speakers.iter().map(|speaker| speaker.label.clone());
    let mut table = Table::new(labels.collect());
    for fault in &options.faults {
        for speaker in &options.speakers {
            let mut outcomes = Vec::new();
            for run in 0..options.runs {
                let outcome = cluster.fail(speaker, *fault).await;
                let outcome = outcome.with_context(|| format!("{}, {fault}, run {run}", speaker.label))?;
                eprintln!("{}, {fault}: {outcome:?}", speaker.label);
                ensure!(outcome.taken_over <= options.stop_at, "{fault} took longer");
                outcomes.push(outcome);
            }
            let what = format!("{fault}, {} nodes", options.nodes);
            enter(&mut table, &what, &speaker.label, &outcomes);
        }
    }
    Ok(table)
}

fn enter(table: &mut Table, what: &str, label: &str, outcomes: &[Outcome]) {
    let of = |figure: fn(&Outcome) -> f64| outcomes.iter().map(figure).collect::<Vec<f64>>();
    let figures = [
        ("another answers, ms", of(|outcome| ms(outcome.taken_over))),
        ("requests lost", of(|outcome| outcome.lost as f64)),
        ("two answer, ms", of(|outcome| ms(outcome.two_answer))),
    ];
    for (figure, mut values) in figures {
        for (name, percent) in [("median", 50), ("p99", 99), ("worst", 100)] {
            table.enter(
                &format!("{what}: {figure}, {name}"),
                label,
                percentile(&mut values, percent),
            );
        }
    }
}
