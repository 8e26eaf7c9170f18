//! What is going to happen: drawn from the seed before anything runs, so that it can be printed.

use std::{fmt, ops::Range, time::Duration};

use fastrand::Rng;

use crate::host::service_ip;

/// The first fault comes when all have found each other.
const FIRST_FAULT: u64 = 6_000;
/// Most faults of a seed, not counting what ends them.
const MOST_FAULTS: usize = 5;
/// So many nodes are small clusters, of which a seed draws one.
const SMALL: &[(usize, u32)] = &[
    (2, 4),
    (3, 36),
    (4, 22),
    (5, 16),
    (6, 8),
    (7, 5),
    (8, 4),
    (9, 3),
    (10, 2),
];

/// A network that is divided in two.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Who is on the far side.
    pub(crate) far: Vec<bool>,
    /// Members do not reach each other.
    pub(crate) members: bool,
    /// ARP does not get through.
    pub(crate) segment: bool,
    /// Only what the far side sends is lost.
    pub(crate) one_way: bool,
}

impl Part {
    pub(crate) fn blocks(&self, from: usize, to: usize) -> bool {
        self.far[from] != self.far[to] && (!self.one_way || self.far[from])
    }
}

/// Something that happens to a cluster. What does not fit, such as a pause of a node that is down, is left out.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The process ends without a word; with its host, or so that connections are refused.
    Crash {
        node: usize,
        host: bool,
    },
    /// A new run; as a speaker of upstream's kind, which knows nothing of the fast path, or of ours.
    Start {
        node: usize,
        plain: bool,
    },
    /// The process is asked to end.
    Leave {
        node: usize,
    },
    /// Nothing of the process runs.
    Pause {
        node: usize,
    },
    Resume {
        node: usize,
    },
    /// The link to the segment.
    Carrier {
        node: usize,
        up: bool,
    },
    /// By a number, for [`Fault::Heal`].
    Part(usize, Part),
    Heal(usize),
    /// So many of a thousand datagrams are lost.
    Loss(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { node, host: true } => write!(f, "{} crashes with its host", name(*node)),
            Self::Crash { node, host: false } => write!(f, "{} is killed", name(*node)),
            Self::Start { node, plain: false } => write!(f, "{} starts", name(*node)),
            Self::Start { node, plain: true } => write!(f, "{} starts without the fast path", name(*node)),
            Self::Leave { node } => write!(f, "{} is asked to end", name(*node)),
            Self::Pause { node } => write!(f, "{} is paused", name(*node)),
            Self::Resume { node } => write!(f, "{} goes on", name(*node)),
            Self::Carrier { node, up: false } => write!(f, "{} loses its carrier", name(*node)),
            Self::Carrier { node, up: true } => write!(f, "{} has a carrier again", name(*node)),
            Self::Part(number, part) => {
                let far = part.far.iter().enumerate().filter(|(_, far)| **far);
                let far: Vec<String> = far.map(|(node, _)| name(node)).collect();
                let network = match (part.members, part.segment) {
                    (true, true) => "members and segment",
                    (true, false) => "members",
                    _ => "segment",
                };
                let way = if part.one_way {
                    "are not heard by"
                } else {
                    "are cut off from"
                };
                write!(f, "cut {number} of {network}: {} {way} the rest", far.join(", "))
            }
            Self::Heal(number) => write!(f, "cut {number} is mended"),
            Self::Loss(loss) => write!(f, "{}.{} % are lost", loss / 10, loss % 10),
        }
    }
}

/// The name of a node.
pub(crate) fn name(node: usize) -> String {
    format!("n{node:03}")
}

/// A cluster and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Which have no fast path.
    pub(crate) plain: Vec<bool>,
    /// How wrong the clocks go, in millionths.
    pub(crate) drift: Vec<i32>,
    /// Of each address, which nodes may announce it.
    pub(crate) candidates: Vec<Vec<bool>>,
    /// Of a thousand datagrams, so many are lost, arrive twice, and are late by up to 50 ms.
    pub(crate) loss: u32,
    pub(crate) twice: u32,
    pub(crate) late: u32,
    /// Longest way of the others, in microseconds.
    pub(crate) latency: u64,
    /// Whether the default gateway answers.
    pub(crate) gateway: bool,
    /// Whether the members meet on the segment itself.
    pub(crate) shared: bool,
    /// In order of time.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

impl Plan {
    /// Draws a plan for so many nodes, or for a small cluster.
    pub(crate) fn of(seed: u64, nodes: Option<usize>) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        // Drawn in any case, so that a seed that is replayed with its number of nodes is the same.
        let drawn = weighted(&mut rng, SMALL);
        let nodes = nodes.unwrap_or(drawn);
        let mixed = rng.u32(0..5) == 0;
        let plain: Vec<bool> = (0..nodes).map(|_| mixed && rng.u32(0..3) == 0).collect();
        let widest = *rng.choice([0, 200, 20_000].iter()).unwrap_or(&0);
        let loss = weighted(&mut rng, &[(0..1, 5), (1..30, 3), (30..100, 2)]);
        let shared = rng.u32(0..3) == 0;
        let mut plan = Self {
            seed,
            nodes,
            drift: (0..nodes).map(|_| rng.i32(-widest..=widest)).collect(),
            candidates: vec![
                vec![true; nodes],
                vec![true; nodes],
                some(&mut rng, nodes, 2.min(nodes)),
            ],
            loss: rng.u32(loss),
            twice: rng.u32(0..20),
            late: rng.u32(0..20),
            latency: rng.u64(200..3_000),
            gateway: rng.u32(0..10) > 0,
            shared,
            faults: Vec::new(),
            plain,
        };
        let (mut at, mut lost) = (FIRST_FAULT + rng.u64(0..1000), 0);
        for number in 0..weighted(&mut rng, &[(1, 8), (2, 5), (3, 3), (4, 2), (MOST_FAULTS, 2)]) {
            plan.add(number, at, &mut lost, &mut rng);
            at += if rng.u32(0..3) == 0 {
                rng.u64(0..600)
            } else {
                rng.u64(1_000..8_000)
            };
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Says whether some speakers are of upstream's kind, now or later.
    pub(crate) fn is_mixed(&self) -> bool {
        self.plain.contains(&true)
    }

    /// Adds a fault and what ends it; `lost` counts nodes that do not come back.
    fn add(&mut self, number: usize, at: u64, lost: &mut usize, rng: &mut Rng) {
        let node = rng.usize(0..self.nodes);
        let mut plain = self.plain[node];
        if self.plain.contains(&true) && rng.u32(0..3) == 0 {
            plain = !plain;
        }
        let start = Fault::Start { node, plain };
        let (begin, end) = match weighted(rng, &[(0, 25), (1, 20), (2, 15), (3, 12), (4, 18), (5, 10)]) {
            0 => {
                let host = rng.bool();
                let down = weighted(rng, &[(20..600, 3), (1_000..15_000, 4), (0..1, 3)]);
                let end = self.comes_back(down, lost, rng).map(|down| (down, start));
                (Fault::Crash { node, host }, end)
            }
            1 => (
                Fault::Pause { node },
                Some((rng.u64(100..5_000), Fault::Resume { node })),
            ),
            2 => {
                let down = weighted(rng, &[(2_000..10_000, 1), (0..1, 1)]);
                let end = self.comes_back(down, lost, rng).map(|down| (down, start));
                (Fault::Leave { node }, end)
            }
            3 => {
                let up = Fault::Carrier { node, up: true };
                (Fault::Carrier { node, up: false }, Some((rng.u64(50..8_000), up)))
            }
            4 => {
                let part = self.part(rng);
                (
                    Fault::Part(number, part),
                    Some((rng.u64(200..12_000), Fault::Heal(number))),
                )
            }
            _ => {
                let calm = Fault::Loss(self.loss);
                (Fault::Loss(rng.u32(200..600)), Some((rng.u64(500..6_000), calm)))
            }
        };
        let time = |at: u64, rng: &mut Rng| Duration::from_micros(at * 1000 + rng.u64(0..1000));
        self.faults.push((time(at, rng), begin));
        if let Some((after, end)) = end {
            self.faults.push((time(at + after, rng), end));
        }
    }

    /// How long a node is down; the first millisecond means for good, unless too few would be left.
    fn comes_back(&self, down: Range<u64>, lost: &mut usize, rng: &mut Rng) -> Option<u64> {
        if down.start > 0 {
            return Some(rng.u64(down));
        }
        if *lost + 2 < self.nodes {
            *lost += 1;
            return None;
        }
        Some(rng.u64(500..5_000))
    }

    fn part(&self, rng: &mut Rng) -> Part {
        let (members, segment) = if self.shared {
            (true, true)
        } else {
            weighted(rng, &[((true, false), 12), ((false, true), 4), ((true, true), 4)])
        };
        let far = if rng.bool() {
            let lonely = rng.usize(0..self.nodes);
            (0..self.nodes).map(|node| node == lonely).collect()
        } else {
            some(rng, self.nodes, 1)
        };
        Part {
            far,
            members,
            segment,
            one_way: rng.u32(0..3) == 0,
        }
    }
}

/// One of `choices`, each as often as its weight says.
fn weighted<T: Clone>(rng: &mut Rng, choices: &[(T, u32)]) -> T {
    let mut drawn = rng.u32(0..choices.iter().map(|(_, weight)| weight).sum());
    for (choice, weight) in choices {
        if drawn < *weight {
            return choice.clone();
        }
        drawn -= weight;
    }
    choices[0].0.clone()
}

/// At least so many of the nodes, and not all if there can be another.
fn some(rng: &mut Rng, nodes: usize, least: usize) -> Vec<bool> {
    let count = rng.usize(least..nodes.max(least + 1));
    let mut chosen: Vec<bool> = (0..nodes).map(|node| node < count).collect();
    rng.shuffle(&mut chosen);
    chosen
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = if self.shared { "one network" } else { "two networks" };
        let gateway = if self.gateway { "" } else { ", no gateway" };
        writeln!(
            f,
            "{} nodes, {network}{gateway}, {} ‰ lost, {} ‰ twice, {} ‰ late, latency up to {} µs, drift {:?}",
            self.nodes,
            self.loss,
            self.twice,
            self.late,
            self.latency,
            &self.drift[..self.nodes.min(10)]
        )?;
        let plain = (0..self.nodes).filter(|node| self.plain[*node]).map(name);
        let plain: Vec<String> = plain.collect();
        if !plain.is_empty() {
            writeln!(f, "without the fast path: {}", plain.join(", "))?;
        }
        for (address, candidates) in self
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, all)| all.contains(&false))
        {
            let names: Vec<String> = (0..self.nodes).filter(|node| candidates[*node]).map(name).collect();
            writeln!(f, "{} only on {}", service_ip(address), names.join(", "))?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "{:>11.6} {fault}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
