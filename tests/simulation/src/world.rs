//! The virtual clock and its queue; what lands where.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use fastrand::Rng;
use metallb_engine::Event as EngineEvent;
use metallb_members::{Event, StreamId, fast::Event as FastEvent};

use crate::{
    Sabotage,
    host::{self, Core, Host, State, Target},
    judge::Judge,
    plan::{Part, Plan},
};

/// Datagrams that wait in a socket; later ones are lost, as by Linux's usual buffer.
const SOCKET_BUFFER: usize = 256;
/// How much of the past is printed.
const TRACE: usize = 60;

/// Something that is going to happen; `run` says to which run of a speaker, others are not concerned.
#[derive(Debug)]
pub(crate) enum Happening {
    Datagram {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Request {
        from: usize,
        to: usize,
        stream: StreamId,
        bytes: Vec<u8>,
    },
    Reply {
        to: usize,
        run: u32,
        id: StreamId,
        bytes: Vec<u8>,
    },
    Failed {
        to: usize,
        run: u32,
        id: StreamId,
    },
    /// The first run of a speaker starts.
    Start {
        node: usize,
    },
    /// A core's deadline.
    Tick {
        node: usize,
        run: u32,
        core: Core,
    },
    /// The API has told who the other speakers are.
    Peers {
        node: usize,
        run: u32,
    },
    /// The API has told everything else.
    Listed {
        node: usize,
        run: u32,
    },
    /// The engine's task looks what is new.
    Woken {
        node: usize,
        run: u32,
    },
    /// The kernel tells of the link.
    Link {
        node: usize,
        run: u32,
    },
    /// A question reaches the segment, and an answer the one who asked.
    Probe {
        from: usize,
        run: u32,
        target: Target,
    },
    Found {
        to: usize,
        run: u32,
        target: Target,
    },
    /// Another is heard to claim an address; none if one that is released was answered for long enough.
    Claimed {
        to: usize,
        run: u32,
        address: usize,
        by: Option<usize>,
    },
    /// A node tells the segment again that it answers for an address, so often more.
    Round {
        node: usize,
        run: u32,
        address: usize,
        left: u32,
    },
    /// One that yields asks whether the other still answers; `silent` if it did not when it was asked before, and the
    /// `patience` is for that.
    StillThere {
        node: usize,
        run: u32,
        address: usize,
        silent: bool,
        patience: Duration,
    },
    /// One that leaves has waited long enough.
    Ended {
        node: usize,
        run: u32,
    },
    /// Of the plan, by number.
    Fault(usize),
    /// Time to see whether all agree.
    Check,
}

impl Happening {
    /// Which speaker it concerns, and which run of it.
    fn concerns(&self) -> Option<(usize, Option<u32>)> {
        match *self {
            Self::Datagram { to, .. } | Self::Request { to, .. } => Some((to, None)),
            Self::Reply { to, run, .. }
            | Self::Failed { to, run, .. }
            | Self::Found { to, run, .. }
            | Self::Claimed { to, run, .. } => Some((to, Some(run))),
            Self::Tick { node, run, .. }
            | Self::Peers { node, run }
            | Self::Listed { node, run }
            | Self::Woken { node, run }
            | Self::Link { node, run }
            | Self::Round { node, run, .. }
            | Self::StillThere { node, run, .. }
            | Self::Ended { node, run } => Some((node, Some(run))),
            Self::Start { .. } | Self::Probe { .. } | Self::Fault(_) | Self::Check => None,
        }
    }
}

/// A place in the queue: what comes first, and of what comes at the same time, what was put there first.
struct Entry {
    at: Duration,
    order: u64,
    what: Happening,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

/// A cluster, and everything that is on its way.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) now: Duration,
    pub(crate) rng: Rng,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(crate) hosts: Vec<Host>,
    /// What every speaker reads from the API.
    pub(crate) cluster: Vec<EngineEvent>,
    /// Cuts, by number.
    pub(crate) parts: BTreeMap<usize, Part>,
    /// So many of a thousand datagrams are lost at present.
    pub(crate) loss: u32,
    /// Streams so far, and those on which somebody waits for an answer.
    pub(crate) streams: StreamId,
    pub(crate) asked: BTreeMap<StreamId, (usize, u32, StreamId)>,
    pub(crate) judge: Judge,
    trace: VecDeque<(Duration, String)>,
    /// Everything that landed.
    pub(crate) events: u64,
}

impl World {
    pub(crate) fn new(plan: Plan, sabotage: Option<Sabotage>) -> Self {
        // An Instant cannot be made otherwise; its value does not matter.
        let base = Instant::now();
        let hosts = (0..plan.nodes).map(|node| Host::new(node, &plan, base)).collect();
        let mut world = Self {
            rng: Rng::with_seed(plan.seed),
            sabotage,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            order: 0,
            hosts,
            cluster: host::cluster(&plan),
            parts: BTreeMap::new(),
            loss: plan.loss,
            streams: 0,
            asked: BTreeMap::new(),
            judge: Judge::new(&plan),
            trace: VecDeque::new(),
            events: 0,
            plan,
        };
        for number in 0..world.plan.faults.len() {
            world.after(world.plan.faults[number].0, Happening::Fault(number));
        }
        world
    }

    pub(crate) fn after(&mut self, time: Duration, what: Happening) {
        self.order += 1;
        let (at, order) = (self.now + time, self.order);
        self.queue.push(Reverse(Entry { at, order, what }));
    }

    /// Remembers something that is worth printing, should this seed fail.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.trace.len() >= TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, text()));
    }

    /// The last that was noted, one line each.
    pub(crate) fn trace(&self) -> String {
        let line = |(at, text): &(Duration, String)| format!("{:>11.6} {text}\n", at.as_secs_f64());
        self.trace.iter().map(line).collect()
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) -> Option<Happening> {
        let Reverse(Entry { at, what, .. }) = self.queue.pop()?;
        self.now = at;
        self.events += 1;
        match what {
            Happening::Check | Happening::Fault(_) => return Some(what),
            _ => self.arrive(what),
        }
        None
    }

    fn arrive(&mut self, what: Happening) {
        if let Some((node, run)) = what.concerns() {
            let host = &mut self.hosts[node];
            if run.is_some_and(|run| run != host.run) || host.process.is_none() {
                return;
            }
            if host.state == State::Paused {
                host.backlog.push(what);
                return;
            }
        }
        self.land(what);
    }

    fn land(&mut self, what: Happening) {
        match what {
            Happening::Datagram { from, to, bytes } => self.hear(from, to, bytes),
            Happening::Request {
                from,
                to,
                stream,
                bytes,
            } => {
                let from = Self::source(from);
                self.feed_members(
                    to,
                    Event::Request {
                        id: stream,
                        from,
                        bytes,
                    },
                );
            }
            Happening::Reply { to, id, bytes, .. } => self.feed_members(to, Event::Reply { id, bytes }),
            Happening::Failed { to, id, .. } => self.feed_members(to, Event::Failed { id }),
            Happening::Tick { node, core, .. } => self.tick(node, core),
            Happening::Peers { node, .. } => {
                let peers = host::peers(&self.hosts, node);
                self.feed_members(node, Event::Peers(peers));
            }
            Happening::Listed { node, .. } => self.list(node),
            Happening::Woken { node, .. } => self.woken(node),
            Happening::Link { node, .. } => {
                if let Some(process) = &mut self.hosts[node].process {
                    process.pending.links = true;
                    self.wake(node);
                }
            }
            Happening::Probe { from, run, target } => self.probed(from, run, target),
            Happening::Found { to, target, .. } => self.found(to, target),
            Happening::Claimed { to, address, by, .. } => self.claimed(to, address, by),
            Happening::Round {
                node, address, left, ..
            } => self.round(node, address, left),
            Happening::StillThere {
                node,
                address,
                silent,
                patience,
                ..
            } => self.still_there(node, address, silent, patience),
            Happening::Ended { node, .. } => self.end(node),
            Happening::Start { node } => self.start(node),
            Happening::Fault(_) | Happening::Check => {}
        }
    }

    fn hear(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if bytes.first() == Some(&metallb_members::fast::FIRST_BYTE) {
            self.feed_fast(to, FastEvent::Datagram(bytes));
        } else {
            let from = Self::source(from);
            self.feed_members(to, Event::Datagram { from, bytes });
        }
    }

    /// After a pause: what has come in is heard first, then deadlines have passed.
    pub(crate) fn catch_up(&mut self, node: usize) {
        let backlog = std::mem::take(&mut self.hosts[node].backlog);
        let (ticks, mut rest): (Vec<_>, Vec<_>) = backlog
            .into_iter()
            .partition(|what| matches!(what, Happening::Tick { .. }));
        let mut heard = [0; 2];
        rest.retain(|what| match what {
            Happening::Datagram { bytes, .. } => {
                let socket = usize::from(bytes.first() == Some(&metallb_members::fast::FIRST_BYTE));
                heard[socket] += 1;
                heard[socket] <= SOCKET_BUFFER
            }
            _ => true,
        });
        for what in rest.into_iter().chain(ticks) {
            self.arrive(what);
        }
    }
}
