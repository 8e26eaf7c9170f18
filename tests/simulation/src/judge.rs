//! What must always be true, and for how long it may not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use metallb_announce::election;
use metallb_members::Timing;

use crate::{
    host::{Host, Process, State, service_ip},
    plan::Plan,
    world::World,
};

/// A node that fails is replaced within this by the fast path.
const FAST: Duration = Duration::from_millis(500);
/// And so much later where datagrams are lost.
const LOSSY: Duration = Duration::from_millis(350);
/// When nothing has failed an address may be on its way from one node to another for so long.
const MOVING: Duration = Duration::from_millis(300);
/// Two owners that hear each other, and are members of one membership, agree within this.
const AGREED: Duration = Duration::from_millis(300);
/// Where they are not, be it that only one of them knows, the segment decides: the better one may wait a second for the other to
/// withdraw before it says so, and says it with its next frame.
const SETTLED: Duration = Duration::from_millis(1500);
/// How long one that yields waits for an answer before it answers itself.
const YIELD: Duration = Duration::from_millis(800);
/// Members that were cut off from each other are of one membership again within this.
const JOINED: Duration = Duration::from_secs(12);
/// One that leaves answers for so long if nobody takes over.
const GOODBYE: Duration = Duration::from_millis(1500);
/// What has failed lately may have to do with what is seen now.
const LATELY: Duration = Duration::from_millis(500);
/// A membership in which nothing has changed for so long knows the runs of all members.
const STEADY: Duration = Duration::from_secs(1);
/// A member is not declared dead sooner by memberlist.
const SUSPECT: Duration = Duration::from_secs(4);
/// First probation of the fast path; twice as long each further time.
const PROBATION: Duration = Duration::from_secs(10);
/// Between two looks at what lasts.
const LOOK: Duration = Duration::from_millis(5);

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Until all have started.
    Boot,
    /// A node is silent from one moment to the next.
    Failure,
    /// A new run.
    Start,
    /// A node goes on after a pause, or has a carrier again.
    Return,
    Leave,
    /// Lasts.
    Carrier,
    /// Lasts. The segment may be cut, too.
    Part {
        members_only: bool,
    },
    /// Lasts.
    Loss,
}

/// A fault.
#[derive(Debug)]
struct Disturbance {
    kind: Kind,
    subject: usize,
    at: Duration,
    until: Option<Duration>,
    /// All others knew each other, and were not in trouble.
    steady: bool,
    /// The fast path must be able to deal with it.
    fast: bool,
}

impl Disturbance {
    /// Whether it lasted at any time since then; what is over at once counts at its moment.
    fn lasts_beyond(&self, since: Duration) -> bool {
        self.until.is_none_or(|until| until >= since)
    }
}

/// A time without an answer.
#[derive(Debug)]
struct Silence {
    since: Duration,
    /// Since when there is a candidate that nobody suspects.
    unsuspected: Option<Duration>,
    /// A candidate has yielded the address to another that had it.
    yielded: bool,
}

/// What a time without an answer was due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A graceful leave, and nothing else.
    Leave,
    /// Nothing that failed: an address that moves.
    Move,
    /// A failure that the fast path must deal with.
    Fast,
    /// One that is left to memberlist.
    Slow,
}

/// Why two may answer for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    None,
    /// Until the segment has decided.
    Settling,
    /// As long as it lasts.
    All,
}

/// Addresses, each on a part of the segment: by which cuts it is far from the rest.
type Place = (usize, Option<u64>);

/// Watches a cluster.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Something has changed that counts.
    pub(crate) look: bool,
    next: Duration,
    disturbances: Vec<Disturbance>,
    silences: BTreeMap<Place, Silence>,
    doubles: BTreeMap<Place, Duration>,
    /// How often each node was newly suspected.
    suspected: BTreeMap<String, u32>,
    current: BTreeSet<String>,
    /// Every time without an answer so far.
    pub(crate) gaps: Vec<(Cause, Duration)>,
    slow: Duration,
}

impl Judge {
    pub(crate) fn new(plan: &Plan) -> Self {
        let boot = Disturbance {
            kind: Kind::Boot,
            subject: 0,
            at: Duration::ZERO,
            until: None,
            steady: false,
            fast: false,
        };
        Self {
            look: false,
            next: Duration::ZERO,
            disturbances: vec![boot],
            silences: BTreeMap::new(),
            doubles: BTreeMap::new(),
            suspected: BTreeMap::new(),
            current: BTreeSet::new(),
            gaps: Vec::new(),
            slow: slow(plan.nodes),
        }
    }

    /// A fault that lasts has ended.
    pub(crate) fn end(&mut self, kind: Kind, subject: usize, now: Duration) {
        let open = |d: &&mut Disturbance| d.kind == kind && d.subject == subject && d.until.is_none();
        if let Some(disturbance) = self.disturbances.iter_mut().find(open) {
            disturbance.until = Some(now);
        }
    }

    /// How long after the last fault all must agree.
    pub(crate) fn converged_after(&self) -> Duration {
        let often = self.suspected.values().max().copied().unwrap_or(0).min(7);
        self.slow + JOINED + PROBATION * (1 << often)
    }
}

/// How long memberlist takes at most to find out that a node is silent: until somebody's turn to probe it, with the least
/// aware prober, and the longest suspicion.
fn slow(nodes: usize) -> Duration {
    let timing = Timing::lan();
    let turn = u32::try_from(2 * nodes).unwrap_or(u32::MAX).min(20);
    #[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
    let scale = (nodes.max(1) as f64).log10().max(1.0);
    let suspicion = timing.probe_interval * timing.suspicion_mult * timing.suspicion_max_timeout_mult;
    timing.probe_interval * (turn + timing.awareness_max_multiplier) + suspicion.mul_f64(scale)
}

impl World {
    pub(crate) fn disturb(&mut self, kind: Kind, subject: usize) {
        let lasting = matches!(kind, Kind::Failure | Kind::Carrier | Kind::Part { .. } | Kind::Loss);
        let untroubled = !matches!(kind, Kind::Part { .. } | Kind::Loss);
        let steady = untroubled
            && self.is_steady_without(subject)
            && (!matches!(kind, Kind::Return | Kind::Leave) || self.is_member_to_all(subject));
        let disturbance = Disturbance {
            kind,
            subject,
            at: self.now,
            until: (!lasting).then_some(self.now),
            steady,
            fast: steady && self.is_fast_without(subject),
        };
        self.judge.disturbances.push(disturbance);
    }

    /// Those that run, but for one.
    fn others(&self, than: usize) -> impl Iterator<Item = (&Host, &Process)> + Clone {
        let others = self.hosts.iter().enumerate().filter(move |(node, _)| *node != than);
        others.filter_map(|(_, host)| Some((host, host.running()?)))
    }

    /// Says whether a node and all others are members to each other.
    fn is_member_to_all(&self, node: usize) -> bool {
        let Some(process) = &self.hosts[node].process else {
            return false;
        };
        let (name, alive) = (&self.hosts[node].name, process.members.alive());
        self.others(node)
            .all(|(host, other)| alive.contains(&host.name) && other.members.alive().contains(name))
    }

    /// Says whether no network is in trouble, or was lately, and all others are members to each other.
    fn is_steady_without(&self, one: usize) -> bool {
        let troubled = |d: &Disturbance| match d.kind {
            Kind::Boot => d.until.is_none(),
            Kind::Part { .. } | Kind::Loss => d.until.is_none_or(|until| until + JOINED >= self.now),
            _ => false,
        };
        let knows = |process: &Process| {
            let alive = process.members.alive();
            let long = process.changed + STEADY <= self.now;
            long && process.members.settled() && self.others(one).all(|(host, _)| alive.contains(&host.name))
        };
        !self.judge.disturbances.iter().any(troubled) && self.others(one).all(|(_, process)| knows(process))
    }

    /// Says whether the fast path must notice that a node fails: all others know that all take part, and enough of them hear
    /// each other.
    fn is_fast_without(&self, one: usize) -> bool {
        let wired = |host: &Host| host.carrier || !self.plan.shared;
        let judges = self.others(one).filter(|(host, _)| wired(host));
        let there: BTreeSet<&str> = judges.clone().map(|(host, _)| host.name.as_str()).collect();
        judges.clone().count() > 0
            && judges.into_iter().all(|(host, process)| {
                let alive = process.members.alive();
                let others = alive.iter().filter(|name| **name != host.name);
                if others.clone().count() == 1 {
                    // The gateway is asked twice only.
                    return process.is_fast() && self.plan.gateway && host.carrier && self.plan.loss == 0;
                }
                let counted = others.filter(|name| !process.suspects.contains(*name));
                let answers = counted.clone().filter(|name| there.contains(name.as_str()));
                process.is_fast() && 2 * answers.count() >= counted.count()
            })
    }

    /// Sees what has changed; says what is wrong.
    pub(crate) fn observe(&mut self) -> Result<(), String> {
        if self.now.is_zero() {
            return Ok(());
        }
        if self.judge.look {
            self.judge.look = false;
            self.count_suspected();
            self.look_at_mixed()?;
            for address in 0..self.plan.candidates.len() {
                self.look_at_doubles(address)?;
                self.look_at_silences(address)?;
            }
        }
        if self.now < self.judge.next {
            return Ok(());
        }
        self.judge.next = self.now + LOOK;
        let silences = self.judge.silences.iter();
        let silences = silences.filter_map(|((address, _), silence)| self.too_silent(*address, silence));
        let doubles = self.judge.doubles.iter();
        let doubles = doubles.filter_map(|((address, _), since)| self.too_many(*address, *since));
        silences.chain(doubles).next().map_or(Ok(()), Err)
    }

    pub(crate) fn is_started(&self) -> bool {
        self.judge.disturbances[0].until.is_some()
    }

    /// All have started.
    pub(crate) fn started(&mut self) {
        self.judge.end(Kind::Boot, 0, self.now);
    }

    fn count_suspected(&mut self) {
        let running = self.hosts.iter().filter_map(Host::running);
        let now: BTreeSet<String> = running.flat_map(|process| process.suspects.iter().cloned()).collect();
        for name in now.difference(&self.judge.current) {
            *self.judge.suspected.entry(name.clone()).or_default() += 1;
        }
        self.judge.current = now;
    }

    /// While one member is of another kind nobody is suspected.
    fn look_at_mixed(&self) -> Result<(), String> {
        let wrong = |host: &&Host| {
            host.running()
                .is_some_and(|process| !process.suspects.is_empty() && !process.is_fast())
        };
        let wrong = self.hosts.iter().find(wrong);
        wrong.map_or(Ok(()), |host| {
            Err(format!(
                "{} suspects somebody although a member has no fast path",
                host.name
            ))
        })
    }

    /// By which cuts a node is far from others on the segment.
    fn part_of(&self, node: usize) -> u64 {
        let far = self.parts.iter().filter(|(_, part)| part.segment && part.far[node]);
        far.fold(0, |mask, (number, _)| mask | 1 << number)
    }

    fn look_at_doubles(&mut self, address: usize) -> Result<(), String> {
        let mut answering = BTreeMap::<u64, u32>::new();
        for (node, host) in self.hosts.iter().enumerate() {
            if host.is_answering(address) {
                *answering.entry(self.part_of(node)).or_default() += 1;
            }
        }
        let now = self.now;
        let is_double = |place: &Place| {
            place
                .1
                .is_some_and(|part| answering.get(&part).is_some_and(|count| *count > 1))
        };
        let over: Vec<Place> = self
            .judge
            .doubles
            .keys()
            .copied()
            .filter(|place| place.0 == address && !is_double(place))
            .collect();
        for place in over {
            let since = self.judge.doubles.remove(&place);
            if let Some(wrong) = since.and_then(|since| self.too_many(address, since)) {
                return Err(wrong);
            }
        }
        for (part, _) in answering.iter().filter(|(_, count)| **count > 1) {
            self.judge.doubles.entry((address, Some(*part))).or_insert(now);
        }
        Ok(())
    }

    /// An address is silent where nobody answers who could. Where only the segment is cut nobody can know, so that an answer
    /// anywhere will do.
    fn look_at_silences(&mut self, address: usize) -> Result<(), String> {
        let parted = self.parts.values().any(|part| part.segment);
        let apart = self
            .parts
            .values()
            .all(|part| part.members && part.segment && !part.one_way);
        let mut places = BTreeMap::<Option<u64>, (bool, bool, bool)>::new();
        for (node, host) in self.hosts.iter().enumerate() {
            let place = (parted && apart).then(|| self.part_of(node));
            let (answered, able, unsuspected) = places.entry(place).or_default();
            *answered |= host.is_answering(address);
            let candidate = self.plan.candidates[address][node] && host.carrier;
            if candidate && host.running().is_some_and(|process| process.open) {
                *able = true;
                *unsuspected |= !self.judge.current.contains(&host.name);
            }
        }
        let now = self.now;
        let silent = |place: &Place| {
            places
                .get(&place.1)
                .is_some_and(|(answered, able, _)| !answered && *able)
        };
        let over: Vec<Place> = self
            .judge
            .silences
            .keys()
            .copied()
            .filter(|place| place.0 == address && !silent(place))
            .collect();
        for place in over {
            let Some(silence) = self.judge.silences.remove(&place) else {
                continue;
            };
            if let Some(wrong) = self.too_silent(address, &silence) {
                return Err(wrong);
            }
            if places.get(&place.1).is_some_and(|(answered, ..)| *answered) {
                let (cause, _) = self.cause(silence.since);
                self.judge.gaps.push((cause, now - silence.since));
            }
        }
        for (place, (_, _, unsuspected)) in places.iter().filter(|(place, _)| silent(&(address, **place))) {
            let silence = self.judge.silences.entry((address, *place)).or_insert(Silence {
                since: now,
                unsuspected: None,
                yielded: false,
            });
            let yields = |host: &Host| host.running().is_some() && host.yielded.contains(&address);
            silence.yielded |= self.hosts.iter().any(yields);
            silence.unsuspected = if *unsuspected {
                Some(silence.unsuspected.unwrap_or(now))
            } else {
                None
            };
        }
        Ok(())
    }

    /// Why nobody has answered since then, and for how long that may be; `None` is without limit.
    fn cause(&self, since: Duration) -> (Cause, Option<Duration>) {
        let from = since.saturating_sub(LATELY);
        let mixed = self.hosts.iter().any(|host| host.plain && host.is_on());
        let (mut failures, mut moves, mut left, mut slow) = (0, 0, false, false);
        for d in &self.judge.disturbances {
            let tail = match d.kind {
                Kind::Part { .. } | Kind::Loss => JOINED,
                // Who does not know it as a member waits for it as long as it answers.
                Kind::Leave if !d.steady => GOODBYE,
                _ => Duration::ZERO,
            };
            if !d.lasts_beyond(from.saturating_sub(tail)) {
                continue;
            }
            match d.kind {
                Kind::Boot => return (Cause::Slow, None),
                // Those that do not hear it said by the one that has none cannot know, and in a mixed cluster none goes by it.
                Kind::Carrier if !d.fast || mixed => return (Cause::Slow, None),
                Kind::Part { .. } | Kind::Loss => slow = true,
                Kind::Carrier if d.at < from => {}
                // Memberlist may not have noticed yet.
                Kind::Failure if !d.fast => slow |= d.at + self.judge.slow >= from,
                Kind::Failure if d.at < from => {}
                Kind::Failure | Kind::Carrier => {
                    failures += 1;
                    slow |= !d.fast;
                }
                Kind::Start | Kind::Return => {
                    moves += 1;
                    slow |= !d.steady;
                }
                Kind::Leave => {
                    left = true;
                    slow |= !d.steady;
                }
            }
        }
        let lossy = if self.plan.loss > 0 { LOSSY } else { Duration::ZERO };
        // Who leaves may have been needed to see the failure, and answers meanwhile for what is now the silent one's.
        slow |= left && failures > 0;
        match (slow, failures, moves, left) {
            (true, ..) => (Cause::Slow, Some(self.judge.slow)),
            (false, 0, 0, true) => (Cause::Leave, Some(lossy)),
            (false, 0, ..) => (Cause::Move, Some((MOVING + lossy) * (moves + 1))),
            (false, ..) => (Cause::Fast, Some((FAST + lossy) * (failures + moves))),
        }
    }

    fn too_silent(&self, address: usize, silence: &Silence) -> Option<String> {
        let (cause, limit) = self.cause(silence.since);
        let limit = limit?;
        let (since, limit) = match silence.unsuspected {
            Some(since) if limit < self.judge.slow => (since, limit),
            _ => (silence.since, self.judge.slow),
        };
        let limit = limit + if silence.yielded { YIELD } else { Duration::ZERO };
        let silent = self.now - since;
        (silent > limit).then(|| {
            format!(
                "nobody has answered for {} for {silent:?} although somebody could; {limit:?} are allowed ({cause:?})",
                service_ip(address)
            )
        })
    }

    /// For how long two may answer because of something that has happened.
    fn excuse(&self, d: &Disturbance, from: Duration) -> Excuse {
        let lately = d.lasts_beyond(from.saturating_sub(JOINED));
        let all = |excused: bool| if excused && lately { Excuse::All } else { Excuse::None };
        match d.kind {
            Kind::Boot => all(d.lasts_beyond(from)),
            // Nobody is dead to memberlist yet, and the fast path asks the segment.
            Kind::Part { members_only: true }
                if self.plan.loss == 0 && self.judge.disturbances.len() == 2 && d.at + SUSPECT > self.now =>
            {
                Excuse::None
            }
            // Those that hear each other on the segment settle it there; upstream's do not.
            Kind::Part { members_only: true } if lately && !self.plan.is_mixed() => Excuse::Settling,
            // Who announces nothing anew, after a segment was in two parts, is not noticed before the members meet.
            Kind::Part { .. } | Kind::Loss => all(true),
            Kind::Start | Kind::Leave => all(!d.steady),
            // Members that know each other and of which not all have heard of an accusation insist both.
            Kind::Failure | Kind::Return | Kind::Carrier => all(!d.fast),
        }
    }

    fn too_many(&self, address: usize, since: Duration) -> Option<String> {
        let lossy = if self.plan.loss > 0 { LOSSY } else { Duration::ZERO };
        let from = self.now.saturating_sub(AGREED + lossy);
        let mut limit = AGREED + lossy;
        for d in &self.judge.disturbances {
            match self.excuse(d, from) {
                Excuse::None => {}
                Excuse::Settling => limit = SETTLED + lossy,
                Excuse::All => return None,
            }
        }
        if since + limit >= self.now {
            return None;
        }
        let owners = self.hosts.iter().filter(|host| host.is_answering(address));
        let owners: Vec<&str> = owners.map(|host| host.name.as_str()).collect();
        let ip = service_ip(address);
        Some(format!(
            "{owners:?} have both answered for {ip} for {:?}",
            self.now - since
        ))
    }

    /// Says in what the nodes do not agree, if they do not.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let running: BTreeSet<String> = self
            .hosts
            .iter()
            .filter(|h| h.state != (State::Off { host_down: false }) && h.state != (State::Off { host_down: true }))
            .map(|host| host.name.clone())
            .collect();
        for host in &self.hosts {
            let Some(process) = host.running() else { continue };
            let alive = process.members.alive();
            if alive != running {
                let wrong: Vec<_> = alive.symmetric_difference(&running).collect();
                return Some(format!("{} is wrong about {wrong:?}", host.name));
            }
            if let Some(name) = process.suspects.intersection(&running).next() {
                return Some(format!("{} suspects {name}", host.name));
            }
        }
        for (address, candidates) in self.plan.candidates.iter().enumerate() {
            let able = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(node, host)| candidates[*node] && running.contains(&host.name));
            let able = able.map(|(_, host)| host.name.as_str());
            let ip = service_ip(address);
            let first: Vec<&str> = election::order(able, ip, &BTreeMap::new())
                .into_iter()
                .take(1)
                .collect();
            let owners = self.hosts.iter().filter(|host| host.is_answering(address));
            let owners: Vec<&str> = owners.map(|host| host.name.as_str()).collect();
            if owners != first {
                return Some(format!("{ip} is answered for by {owners:?} instead of {first:?}"));
            }
        }
        None
    }
}
