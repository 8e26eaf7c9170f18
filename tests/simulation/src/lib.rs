//! Whole clusters on a virtual clock: membership, election and failover, with faults drawn from a seed.
//!
//! Each node joins the cores that the speaker is made of, as the program does: the membership ([`metallb_members`]), the
//! detector of its fast path, and the engine, which says for which addresses it answers. Between them are a network that
//! loses, delays, doubles and reorders datagrams, a segment on which addresses are asked for, and clocks that go wrong;
//! nodes crash, pause, leave, return, lose their carrier and are cut off from each other.
//!
//! What must be true is in `judge.rs`:
//! - Where a node could answer, somebody does again within the time that the cause allows.
//! - Two do not answer on one segment for longer than it takes those to agree that hear each other.
//! - After the last fault all agree on members, suspects and owners.
//! - A node that leaves leaves no gap.
//! - While one member has no fast path nobody is suspected.
//!
//! It does not simulate frames, encryption, or the API: every speaker reads the same Services.

mod clock;
mod contest;
mod faults;
mod host;
mod judge;
mod network;
mod plan;
mod speaker;
mod world;

use std::{fmt, time::Duration};

pub use judge::Cause;
use plan::Plan;
use world::{Happening, World};

/// All start within this, in microseconds.
const STARTS: u64 = 1_000_000;
/// By then all must have found each other.
const STARTED: Duration = Duration::from_millis(5_900);
/// Between two looks whether all agree.
const CHECK: Duration = Duration::from_millis(250);
/// Agreement has to last.
const LASTING: Duration = Duration::from_secs(2);

/// A fault of the product, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A suspect stays one.
    NeverLift,
    /// What was announced is answered for ever.
    NeverWithdraw,
    /// Answers on the segment are not told to the detector.
    NoSecondOpinion,
    /// A node that leaves does not say so.
    NoGoodbye,
    /// The engine does not learn that a member is dead.
    BlindToDeath,
    /// The fast path is on although a member has none.
    FastInMixedClusters,
    /// A node that hears another claim what it has itself does nothing about it.
    NeverYield,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NeverLift,
        Self::NeverWithdraw,
        Self::NoSecondOpinion,
        Self::NoGoodbye,
        Self::BlindToDeath,
        Self::FastInMixedClusters,
        Self::NeverYield,
    ];
}

/// So many things may happen for each pair of nodes.
const EVENTS: u64 = 100_000;

/// What a seed amounted to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many nodes.
    pub nodes: usize,
    /// How much virtual time has passed.
    pub time: Duration,
    /// How many things have happened.
    pub events: u64,
    /// Every time in which nobody answered for an address although somebody could.
    pub gaps: Vec<(Cause, Duration)>,
    /// What was planned, and the last of what happened.
    pub story: String,
}

/// What was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    seed: u64,
    nodes: usize,
    /// What is not true.
    pub what: String,
    plan: String,
    trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            nodes,
            what,
            plan,
            trace,
        } = self;
        write!(
            f,
            "seed {seed}: {what}\n\nThe plan: {plan}\nWhat happened last:\n{trace}\nto replay: cargo run --bin metallb-simulation -- --seed {seed} --nodes {nodes}\n"
        )
    }
}

/// Runs one seed, with so many nodes or a small cluster.
///
/// # Errors
/// What was wrong.
pub fn run(seed: u64, nodes: Option<usize>, sabotage: Option<Sabotage>) -> Result<Report, Failure> {
    let mut world = World::new(Plan::of(seed, nodes), sabotage);
    let drive = drive(&mut world);
    let nodes = world.plan.nodes;
    match drive {
        Ok(()) => Ok(Report {
            nodes,
            time: world.now,
            events: world.events,
            story: format!("{}\n{}", world.plan, world.trace()),
            gaps: world.judge.gaps,
        }),
        Err(what) => Err(Failure {
            seed,
            nodes,
            what: format!("at {:.6} s, {what}", world.now.as_secs_f64()),
            plan: world.plan.to_string(),
            trace: world.trace(),
        }),
    }
}

fn drive(world: &mut World) -> Result<(), String> {
    for node in 0..world.plan.nodes {
        let at = Duration::from_micros(world.rng.u64(0..STARTS));
        world.after(at, Happening::Start { node });
    }
    world.after(STARTED, Happening::Check);
    let mut left = world.plan.faults.len();
    let (mut last, mut agreed) = (Duration::ZERO, None);
    let limit = EVENTS * (world.plan.nodes * world.plan.nodes) as u64;
    loop {
        match world.step() {
            Some(Happening::Fault(number)) => {
                let fault = world.plan.faults[number].1.clone();
                world.strike(&fault);
                left -= 1;
                last = world.now;
            }
            Some(Happening::Check) => {
                if !world.is_started() {
                    if let Some(what) = world.disagreement() {
                        return Err(format!("after the start {what}"));
                    }
                    world.started();
                }
                world.after(CHECK, Happening::Check);
                if left > 0 {
                    continue;
                }
                match world.disagreement() {
                    None if agreed.is_some_and(|since| since + LASTING <= world.now) => return Ok(()),
                    None => agreed = agreed.or(Some(world.now)),
                    Some(what) if world.now > last + world.judge.converged_after() => return Err(what),
                    Some(_) => agreed = None,
                }
            }
            _ => {}
        }
        if world.events > limit {
            return Err(format!("more than {limit} things have happened: a storm of packets"));
        }
        world.observe()?;
    }
}
