//! Simulates seeds: all of a range, until one fails, or one to look at.

use std::{
    collections::BTreeMap,
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use metallb_simulation::{Cause, Failure, Report, run};

/// Simulates clusters: membership, election and failover, with faults drawn from a seed.
#[derive(Debug, Parser)]
struct Args {
    /// The only seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, such as 0..10000.
    #[arg(long, value_parser = range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// How many nodes; otherwise each seed draws a small cluster.
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=1000))]
    nodes: Option<u16>,
    /// How many seeds at a time.
    #[arg(long, default_value_t = threads())]
    threads: usize,
    /// Tell what happened, if all went well, too.
    #[arg(long, short)]
    verbose: bool,
    /// Go on after a failure, and count them.
    #[arg(long)]
    all: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("a range is written 0..1000")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok(number(first)?..number(end)?)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// What all seeds amount to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    nodes: BTreeMap<usize, u64>,
    time: Duration,
    events: u64,
    gaps: BTreeMap<Cause, Vec<Duration>>,
    failures: Vec<Failure>,
}

impl Sum {
    fn add(&mut self, result: Result<Report, Failure>) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                *self.nodes.entry(report.nodes).or_default() += 1;
                self.time += report.time;
                self.events += report.events;
                for (cause, gap) in report.gaps {
                    self.gaps.entry(cause).or_default().push(gap);
                }
            }
            Err(failure) => self.failures.push(failure),
        }
    }

    fn print(&mut self, took: Duration) {
        let (least, most) = (self.nodes.first_key_value(), self.nodes.last_key_value());
        let nodes = least
            .zip(most)
            .map_or((0, 0), |((least, _), (most, _))| (*least, *most));
        println!(
            "{} seeds of {} to {} nodes, {} failed: {:.1} h of virtual time and {} million events in {:.1} s, {:.1} seeds a second",
            self.seeds,
            nodes.0,
            nodes.1,
            self.failures.len(),
            self.time.as_secs_f64() / 3600.0,
            self.events / 1_000_000,
            took.as_secs_f64(),
            self.seeds as f64 / took.as_secs_f64()
        );
        for (cause, gaps) in &mut self.gaps {
            gaps.sort_unstable();
            let at = |part: usize| gaps[(gaps.len() - 1) * part / 100].as_millis();
            println!(
                "  nobody answered ({cause:?}): {} times, median {} ms, 99 % {} ms, most {} ms",
                gaps.len(),
                at(50),
                at(99),
                at(100)
            );
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seeds = args.seed.map_or(args.seeds, |seed| seed..seed + 1);
    let nodes = args.nodes.map(usize::from);
    let (next, stop, sum) = (
        AtomicU64::new(seeds.start),
        AtomicBool::new(false),
        Mutex::new(Sum::default()),
    );
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = run(seed, nodes, None);
                    match &result {
                        Ok(report) if args.verbose => println!("seed {seed}: {}", report.story),
                        Ok(_) => {}
                        Err(failure) => {
                            println!("{failure}");
                            stop.fetch_or(!args.all, Ordering::Relaxed);
                        }
                    }
                    sum.lock().expect("nobody panics while adding").add(result);
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("nobody panics while adding");
    sum.print(began.elapsed());
    if sum.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
