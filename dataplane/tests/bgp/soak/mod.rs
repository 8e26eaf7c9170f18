//! FRR, BIRD and GoBGP together, with random changes of routes and of peers, and random restarts at both ends. Whenever
//! things come to rest, the table of each router is what it should be.
//!
//! `METALLB_SOAK_SECONDS` says for how long, `METALLB_SOAK_SEED` with which random numbers.

mod routers;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use metallb_bgp::Offer;
use metallb_dataplane::bgp::{Attributes, BgpHandle, Command, Path, PeerConfig, Posture, RouteChange, StopReason};

use self::routers::{Name, Routers};
use crate::{eventually, neighbour::in_namespace, session, shell};

const DEFAULT_SECONDS: u64 = 20;
/// As many prefixes there are, most of them announced at a time.
const PREFIXES: u32 = 400;
/// Each route has one of these communities.
const COLOURS: u32 = 3;

/// What a router should know: prefixes and their colours.
type Table = BTreeMap<IpNet, u32>;

// BGP-105
pub(crate) fn tables_equal_what_is_desired_whenever_things_come_to_rest() {
    routers::prepare();
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let end = Duration::from_secs(number("METALLB_SOAK_SECONDS").unwrap_or(DEFAULT_SECONDS));
    let seed = number("METALLB_SOAK_SEED").unwrap_or(1);
    in_namespace(async move {
        let began = Instant::now();
        let mut soak = Soak::start(seed);
        let mut rounds = 0;
        soak.rest().await;
        while began.elapsed() < end {
            for _ in 0..=soak.dice.below(8) {
                soak.disturb().await;
                tokio::time::sleep(Duration::from_millis(soak.dice.below(60).into())).await;
            }
            soak.rest().await;
            soak.last.clear();
            rounds += 1;
        }
        println!("{rounds} rounds with seed {seed}: {:?}", soak.done);
    });
}

/// One announced route.
#[derive(Clone)]
struct Route {
    colour: u32,
    /// Empty for all.
    peers: BTreeSet<Name>,
}

struct Soak {
    dice: Dice,
    routers: Routers,
    handle: BgpHandle,
    peers: BTreeMap<Name, PeerConfig>,
    routes: BTreeMap<IpNet, Route>,
    /// Counts what was done, by name.
    done: BTreeMap<&'static str, u32>,
    /// What was done since the last rest.
    last: Vec<(Name, &'static str)>,
}

impl Soak {
    fn start(seed: u64) -> Self {
        let peers = Name::ALL.map(|name| (name, routers::peer(name))).into();
        let mut soak = Self {
            dice: Dice(seed.max(1)),
            routers: Routers::start(),
            handle: shell(),
            peers,
            routes: BTreeMap::new(),
            done: BTreeMap::new(),
            last: vec![],
        };
        soak.change_routes(PREFIXES);
        soak.handle.routes_known();
        soak.set_peers();
        soak
    }

    async fn disturb(&mut self) {
        let name = self.dice.pick(&Name::ALL);
        let what = match self.dice.below(20) {
            0..8 => {
                let count = 1 + self.dice.below(40);
                self.change_routes(count);
                "routes changed"
            }
            8..11 => {
                self.change_peer(name);
                "peer changed"
            }
            11 => {
                self.leave_out(name).await;
                "peer removed and added"
            }
            12 => {
                self.handle.command(name.text(), Command::Reset(StopReason::Reset));
                "session reset"
            }
            13 => {
                self.handle.show(Posture::Withdraw);
                self.change_routes(5);
                self.handle.show(Posture::Announce);
                "node drained and resumed"
            }
            14..17 => {
                self.routers.clear(name);
                "session cleared by the router"
            }
            17 | 18 => {
                self.routers.restart(name);
                "router restarted"
            }
            _ => {
                self.restart_speaker().await;
                "speaker restarted"
            }
        };
        *self.done.entry(what).or_default() += 1;
        self.last.push((name, what));
    }

    /// Announces, changes or withdraws some routes.
    fn change_routes(&mut self, count: u32) {
        let mut changes = Vec::new();
        for _ in 0..count {
            let prefix = prefix(self.dice.below(PREFIXES));
            if self.dice.below(4) == 0 {
                self.routes.remove(&prefix);
                changes.push(RouteChange { prefix, paths: vec![] });
            } else {
                let peers = match self.dice.below(4) {
                    0 => [self.dice.pick(&Name::ALL)].into(),
                    _ => BTreeSet::new(),
                };
                let colour = 1 + self.dice.below(COLOURS);
                let route = Route { colour, peers };
                changes.push(announce(prefix, &route));
                self.routes.insert(prefix, route);
            }
        }
        self.handle.change_routes(changes);
    }

    /// Changes a setting that both ends need not agree on.
    fn change_peer(&mut self, name: Name) {
        let offer = Offer {
            route_refresh: self.dice.below(2) == 0,
            extended_message: self.dice.below(2) == 0,
            ..Offer::default()
        };
        let hold_time = Some(Duration::from_secs(9 + u64::from(self.dice.below(80))));
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.offer = offer;
            peer.hold_time = hold_time;
        }
        self.set_peers();
    }

    async fn leave_out(&mut self, name: Name) {
        let Some(peer) = self.peers.remove(&name) else { return };
        self.set_peers();
        tokio::time::sleep(Duration::from_millis(self.dice.below(100).into())).await;
        self.peers.insert(name, peer);
        self.set_peers();
    }

    fn set_peers(&self) {
        self.handle.set_peers(self.peers.values().cloned().collect());
    }

    async fn restart_speaker(&mut self) {
        self.handle.shutdown().await;
        self.handle = shell();
        let routes = self.routes.iter().map(|(prefix, route)| announce(*prefix, route));
        self.handle.change_routes(routes.collect());
        self.handle.routes_known();
        self.set_peers();
    }

    /// Waits until all sessions are up, and each router knows exactly what it should.
    async fn rest(&self) {
        for name in Name::ALL {
            let wanted = self.table(name);
            eventually(&format!("the table of {name:?}"), || {
                let known = self.routers.table(name);
                if known == wanted {
                    Ok(())
                } else {
                    Err(self.complaint(name, &known, &wanted))
                }
            })
            .await;
            let state = session(&self.handle, name.text(), |state| state.up).await;
            assert_eq!(state.counters.advertised(), wanted.len() as u64, "{name:?}");
        }
    }

    fn complaint(&self, name: Name, known: &Table, wanted: &Table) -> String {
        let sessions = self.handle.sessions();
        let state = &sessions.borrow()[name.text()];
        let history = format!("{:?}, last {:?}", self.done, self.last);
        format!(
            "{}\n{:?}\n{history}",
            difference(known, wanted),
            (state.up, &state.reason)
        )
    }

    fn table(&self, name: Name) -> Table {
        let meant = |route: &Route| route.peers.is_empty() || route.peers.contains(&name);
        let routes = self.routes.iter().filter(|(_, route)| meant(route));
        routes.map(|(prefix, route)| (*prefix, route.colour)).collect()
    }
}

fn announce(prefix: IpNet, route: &Route) -> RouteChange {
    let attributes = Attributes {
        communities: [64500 << 16 | route.colour].into(),
        ..Attributes::default()
    };
    let peers = route.peers.iter().map(|name| name.text().to_owned()).collect();
    RouteChange {
        prefix,
        paths: vec![Path {
            peers,
            attributes: attributes.into(),
        }],
    }
}

/// Of three prefixes, two are of IPv4.
fn prefix(index: u32) -> IpNet {
    let text = match index % 3 {
        0 => format!("2001:db8::{index:x}/128"),
        1 => format!("192.168.{}.{}/32", index / 256, index % 256),
        _ => format!("172.16.{}.{}/30", index / 64, index % 64 * 4),
    };
    text.parse().unwrap()
}

/// Names some of what differs.
fn difference(known: &Table, wanted: &Table) -> String {
    let missing = wanted.iter().filter(|(prefix, _)| !known.contains_key(*prefix)).take(5);
    let surplus = known.iter().filter(|(prefix, _)| !wanted.contains_key(*prefix)).take(5);
    let colour = |(prefix, colour): &(&IpNet, &u32)| known.get(*prefix).is_some_and(|known| known != *colour);
    format!(
        "{} known, {} wanted; missing {:?}; surplus {:?}; of another colour {:?}",
        known.len(),
        wanted.len(),
        missing.collect::<Vec<_>>(),
        surplus.collect::<Vec<_>>(),
        wanted.iter().filter(colour).take(5).collect::<Vec<_>>()
    )
}

/// Random numbers that are the same again (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(limit)).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(u32::try_from(of.len()).unwrap()) as usize]
    }
}
