//! What BGP costs with many routes and peers, beside BIRD and beside upstream's way (one UPDATE for each prefix, the whole
//! table compared after each event), in one run over loopback. Prints figures and goals, asserts none.
//!
//! `cargo bench -p metallb-dataplane --bench bgp`, as root

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

mod bird;
mod reader;
mod upstream;

use std::{
    env, fs,
    net::Ipv4Addr,
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;
use metallb_bgp::RemoteAs;
use metallb_dataplane::bgp::{self, Attributes, BgpHandle, Path, PeerConfig, RouteChange};
use nix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use reader::{Listener, Reader};
use upstream::Upstream;

const INSIDE: &str = "METALLB_BENCH_IN_NAMESPACE";
const TURNS: usize = 5;
const PEERS: usize = 8;
const MANY: u32 = 100_000;
const FLOOD: u32 = 10_000_000;
const SERVICES: u32 = 10_000;
const CHANGES: u32 = 500;
/// How many events upstream's way is given; the rest is multiplied.
const UPSTREAM_EVENTS: u32 = 20;

fn main() -> ExitCode {
    if env::var_os(INSIDE).is_none() {
        let ran = Command::new("unshare")
            .args(["--net".as_ref(), env::current_exe().unwrap().as_os_str()])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        return if ran.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    reader::prepare_addresses(PEERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("load of this machine: {}", load.split(' ').next().unwrap());
    // First, while nothing is left over that could be used again.
    memory();
    flood();
    one_peer();
    eight_peers();
    one_change();
    resync();
    ExitCode::SUCCESS
}

// BGP-103
/// 100 000 /32 to one peer, from Established to the last UPDATE.
fn one_peer() {
    println!(
        "{MANY} /32 to one peer, from Established to the last UPDATE, messages of 4096 octets (goal 75 ms, 130 messages)"
    );
    let routes = routes(MANY);
    let ours = turns(|| {
        let listener = Listener::new(0);
        let handle = speaker(&[&listener]);
        handle.change_routes(routes.clone());
        handle.routes_known();
        learned(listener.accept(), MANY)
    });
    print_turns("ours", &ours);
    let upstream = turns(|| {
        let listener = Listener::new(0);
        let mut upstream = Upstream::dial(&[&listener]);
        let reader = listener.accept_while(|| upstream.establish());
        upstream.event(&routes);
        learned(reader, MANY)
    });
    print_turns("upstream's way", &upstream);
    let bird = turns(|| {
        let listener = Listener::new(0);
        let _bird = bird::start(&listener, &routes);
        learned(listener.accept(), MANY)
    });
    print_turns("BIRD", &bird);
}

fn learned(mut reader: Reader, prefixes: u32) -> Turn {
    let (at, messages) = reader.wait_for(prefixes);
    Turn {
        wall: at.duration_since(reader.established),
        cpu: cpu() - reader.cpu,
        count: messages,
    }
}

/// 10 000 prefixes more for 8 peers, from the change to the last UPDATE of the last peer.
fn eight_peers() {
    println!("\n{SERVICES} prefixes to {PEERS} peers, from the change to the last UPDATE (goal 50 ms)");
    let routes = routes(SERVICES);
    let ours = turns(|| {
        let (handle, mut readers) = established(&[]);
        let began = (Instant::now(), cpu());
        handle.change_routes(routes.clone());
        all_learn(&mut readers, began)
    });
    print_turns("ours", &ours);
    let upstream = turns(|| {
        let listeners: Vec<_> = (0..PEERS).map(Listener::new).collect();
        let mut upstream = Upstream::dial(&listeners.iter().collect::<Vec<_>>());
        let mut readers = upstream.establish_all(&listeners);
        let began = (Instant::now(), cpu());
        upstream.event(&routes);
        all_learn(&mut readers, began)
    });
    print_turns("upstream's way", &upstream);
}

fn all_learn(readers: &mut [Reader], (began, cpu_began): (Instant, Duration)) -> Turn {
    let learned = readers.iter_mut().map(|reader| reader.wait_for(SERVICES));
    let (at, messages): (Vec<_>, Vec<_>) = learned.unzip();
    Turn {
        wall: at.into_iter().max().unwrap().duration_since(began),
        cpu: cpu() - cpu_began,
        count: messages.iter().sum(),
    }
}

// BGP-101
/// One prefix more or less beside 10 000 with 8 peers: from the change to its arrival at each peer.
fn one_change() {
    println!("\none change beside {SERVICES} routes and {PEERS} peers, to the bytes at each peer (goal p99 5 ms)");
    let (handle, mut readers) = established(&routes(SERVICES));
    let extra = route(u32::MAX);
    // Changes apart from each other, and those that come on another's heels and are gathered.
    for (what, pauses) in [("ours, apart", 10..17), ("ours, close together", 0..7)] {
        let mut latencies = Vec::new();
        for round in 0..CHANGES {
            let change = if round % 2 == 0 { extra.clone() } else { gone(&extra) };
            let began = Instant::now();
            handle.change_routes(vec![change]);
            latencies.extend(
                readers
                    .iter_mut()
                    .map(|reader| reader.next_update().duration_since(began)),
            );
            let pause = pauses.start + u64::from(round) % (pauses.end - pauses.start);
            std::thread::sleep(Duration::from_millis(pause));
        }
        print_quantiles(what, latencies);
    }

    let listeners: Vec<_> = (0..PEERS).map(Listener::new).collect();
    let mut upstream = Upstream::dial(&listeners.iter().collect::<Vec<_>>());
    let mut readers = upstream.establish_all(&listeners);
    let mut table = routes(SERVICES);
    upstream.event(&table);
    readers.iter_mut().for_each(|reader| _ = reader.wait_for(SERVICES));
    let mut latencies = Vec::new();
    for _ in 0..UPSTREAM_EVENTS {
        table.push(extra.clone());
        for _ in 0..2 {
            let began = Instant::now();
            upstream.event(&table);
            latencies.extend(
                readers
                    .iter_mut()
                    .map(|reader| reader.next_update().duration_since(began)),
            );
            table.truncate(SERVICES as usize);
        }
    }
    print_quantiles("upstream's way", latencies);
}

// BGP-102
/// All Services told again, one after another, as after a change of the configuration: nothing has changed.
fn resync() {
    println!("\nresync of {SERVICES} Services with {PEERS} peers, CPU time of the process (goal 200 ms, 0 octets)");
    let table = routes(SERVICES);
    let (handle, mut readers) = established(&table);
    let ours = turns(|| {
        let began = (Instant::now(), cpu());
        for change in &table {
            handle.change_routes(vec![change.clone()]);
        }
        counted(began, &mut readers)
    });
    print_counts("ours", &ours, "octets");
    let changing = turns(|| {
        let began = (Instant::now(), cpu());
        for change in table.iter().map(gone) {
            handle.change_routes(vec![change]);
        }
        for change in &table {
            handle.change_routes(vec![change.clone()]);
        }
        std::thread::sleep(Duration::from_millis(300));
        counted(began, &mut readers)
    });
    print_counts("ours, all withdrawn and announced again", &changing, "octets");

    let listeners: Vec<_> = (0..PEERS).map(Listener::new).collect();
    let mut upstream = Upstream::dial(&listeners.iter().collect::<Vec<_>>());
    let mut readers = upstream.establish_all(&listeners);
    upstream.event(&table);
    readers.iter_mut().for_each(|reader| _ = reader.wait_for(SERVICES));
    let began = cpu();
    (0..UPSTREAM_EVENTS).for_each(|_| upstream.event(&table));
    let each = (cpu() - began) / UPSTREAM_EVENTS;
    println!(
        "  {:<40} {:>9.0?} ({each:.1?} an event)",
        "upstream's way, from 20 events",
        each * SERVICES
    );
}

fn counted((began, cpu_began): (Instant, Duration), readers: &mut [Reader]) -> Turn {
    Turn {
        wall: began.elapsed(),
        cpu: cpu() - cpu_began,
        count: readers.iter_mut().map(Reader::octets_meanwhile).sum(),
    }
}

/// What the process grows by with 100 000 routes: the table, then eight sessions that announced it.
fn memory() {
    println!("memory with {MANY} routes and {PEERS} peers (goal 200 octets for each route and peer)");
    let routes = routes(MANY);
    let before = resident();
    let handle = shell();
    handle.change_routes(routes.clone());
    handle.routes_known();
    let table = resident() - before;
    let listeners: Vec<_> = (0..PEERS).map(Listener::new).collect();
    handle.set_peers(listeners.iter().map(Listener::peer).collect());
    for listener in &listeners {
        listener.accept().wait_for(MANY);
    }
    let all = resident() - before;
    let (routes, peers) = (u64::from(MANY), PEERS as u64);
    println!("  table       {:>6} octets a route", table / routes);
    println!(
        "  with peers  {:>6} octets a route and peer, the table included",
        all / routes / peers
    );
}

/// One peer announces a million prefixes; what does another one notice, and the memory?
fn flood() {
    println!("\na peer announces {FLOOD} prefixes: one change after another, to the bytes at another peer");
    let listeners = [0, 1].map(Listener::new);
    let handle = speaker(&listeners.iter().collect::<Vec<_>>());
    handle.change_routes(routes(1));
    handle.routes_known();
    let mut readers = listeners.each_ref().map(Listener::accept);
    readers.iter_mut().for_each(|reader| _ = reader.wait_for(1));
    let extra = route(u32::MAX);
    let before = resident();
    let [flooding, other] = &mut readers;
    let mut measure = |until: &dyn Fn(usize) -> bool| {
        let mut latencies = Vec::new();
        while !until(latencies.len()) {
            for change in [extra.clone(), gone(&extra)] {
                let began = Instant::now();
                handle.change_routes(vec![change]);
                latencies.push(other.next_update().duration_since(began));
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        latencies
    };
    print_quantiles("before", measure(&|count| count >= 100));
    let began = Instant::now();
    let flood = flooding.flood(FLOOD);
    let during = measure(&|_| flood.is_finished());
    println!(
        "  taken in within {:.1?}; memory grew by {} KiB",
        began.elapsed(),
        resident().saturating_sub(before) / 1024
    );
    print_quantiles("meanwhile", during);
}

/// Starts a speaker with eight peers that know these routes.
fn established(routes: &[RouteChange]) -> (BgpHandle, Vec<Reader>) {
    let listeners: Vec<_> = (0..PEERS).map(Listener::new).collect();
    let handle = speaker(&listeners.iter().collect::<Vec<_>>());
    handle.change_routes(routes.to_vec());
    handle.routes_known();
    let mut readers: Vec<_> = listeners.iter().map(Listener::accept).collect();
    let count = u32::try_from(routes.len()).unwrap();
    readers.iter_mut().for_each(|reader| _ = reader.wait_for(count));
    (handle, readers)
}

fn shell() -> BgpHandle {
    let (handle, run) = bgp::start(CancellationToken::new());
    tokio::spawn(run);
    handle
}

fn speaker(listeners: &[&Listener]) -> BgpHandle {
    let handle = shell();
    handle.set_peers(listeners.iter().map(|listener| listener.peer()).collect());
    handle
}

fn peer(name: &str, address: Ipv4Addr, port: u16) -> PeerConfig {
    PeerConfig {
        port,
        ..PeerConfig::new(name, 64500, RemoteAs::Asn(reader::ASN), address.into())
    }
}

/// Makes /32 routes with one set of attributes, as Services of one advertisement have.
fn routes(count: u32) -> Vec<RouteChange> {
    (0..count).map(route).collect()
}

fn route(index: u32) -> RouteChange {
    let address = Ipv4Addr::from_bits(0x6440_0000_u32.wrapping_add(index));
    let attributes = Attributes {
        communities: [64500 << 16 | 7].into(),
        ..Attributes::default()
    };
    RouteChange {
        prefix: Ipv4Net::from(address).into(),
        paths: vec![Path::to_all(Arc::new(attributes))],
    }
}

fn gone(route: &RouteChange) -> RouteChange {
    RouteChange {
        prefix: route.prefix,
        paths: vec![],
    }
}

/// How one attempt went.
struct Turn {
    wall: Duration,
    cpu: Duration,
    /// Of messages, or of octets.
    count: usize,
}

fn turns(mut turn: impl FnMut() -> Turn) -> Vec<Turn> {
    (0..TURNS).map(|_| turn()).collect()
}

fn print_turns(what: &str, turns: &[Turn]) {
    print_counts(what, turns, "messages");
}

/// The CPU time is that of this process, routers included, which BIRD is not in.
fn print_counts(what: &str, turns: &[Turn], unit: &str) {
    let sorted = |of: fn(&Turn) -> Duration| {
        let mut times: Vec<_> = turns.iter().map(of).collect();
        times.sort_unstable();
        times
    };
    let (wall, cpu) = (sorted(|turn| turn.wall), sorted(|turn| turn.cpu));
    let (median, best, cpu, count) = (wall[wall.len() / 2], wall[0], cpu[cpu.len() / 2], turns[0].count);
    println!("  {what:<40} median {median:>8.1?}, best {best:>8.1?}, CPU {cpu:>8.1?}, {count} {unit}");
}

fn print_quantiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let quantile = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let (p50, p99, worst) = (quantile(50), quantile(99), quantile(100));
    println!("  {what:<40} p50 {p50:>9.1?}, p99 {p99:>9.1?}, worst {worst:>9.1?}");
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

/// Octets of memory in use by this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
