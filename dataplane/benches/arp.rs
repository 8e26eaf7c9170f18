//! How soon an ARP request for an announced address is answered, beside the kernel's own answer for an address of the
//! node on the same pair of interfaces, in turns, as a client sees it that sleeps until an answer comes. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-dataplane --bench arp`

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

#[path = "../tests/l2/segment.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod segment;

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use metallb_dataplane::l2::{self, Interfaces, L2Handle};
use metallb_l2::Instruction;
use metallb_net::{ETHERTYPE_ARP, FrameSocket};
use nix::poll::{PollFd, PollFlags, poll};
use tokio_util::sync::CancellationToken;

use segment::Segment;

const INSIDE: &str = "METALLB_BENCH_IN_NAMESPACE";
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// Senders by whose addresses an answer is matched with its request.
const SENDERS: u32 = 120;
const SENDER: u32 = 0xc000_0280;
const SECONDS: u32 = 10;
const MANY: u32 = 10_000;
/// The burst of a gain is over by then.
const BURST: Duration = Duration::from_secs(5);
/// Answers that come later are lost.
const LATE: Duration = Duration::from_millis(200);
/// Takes everything.
const ACCEPT: Instruction = Instruction {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 65535,
};

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(bench());
    ExitCode::SUCCESS
}

async fn bench() {
    let segment = Segment::new();
    segment.node(&format!("ip addr add {NODE}/24 dev node0"));
    let stop = CancellationToken::new();
    let config = l2::Config {
        exclude: Arc::new(|name| name == "lo"),
        garp_interval: None,
        check_before_announcing: false,
    };
    let (l2, running) = l2::start(config, stop.clone()).unwrap();
    let running = tokio::spawn(running);
    l2.change(vec![(VIP.into(), Some(Interfaces::All))]);
    segment.client_resolves(&VIP.to_string(), segment::NODE_MAC).await;
    tokio::time::sleep(BURST).await;
    for rate in [1_000, 10_000] {
        compare(&segment, &l2, "1 address", rate);
    }
    println!("while {MANY} addresses are announced and told:");
    let before = resident();
    l2.change(many());
    compare(&segment, &l2, "changing", 1_000);
    tokio::time::sleep(Duration::from_secs(20)).await;
    println!("{MANY} addresses: {} KiB more", resident() - before);
    for rate in [1_000, 10_000] {
        compare(&segment, &l2, "10000 addresses", rate);
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn many() -> Vec<(IpAddr, Option<Interfaces>)> {
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n).into();
    (0..MANY).map(|n| (address(n), Some(Interfaces::All))).collect()
}

fn compare(segment: &Segment, l2: &L2Handle, what: &str, rate: u32) {
    let answered = || {
        l2.counters()
            .get(&IpAddr::from(VIP))
            .map_or(0, |counters| counters.responses_sent)
    };
    let before = answered();
    let cpu = cpu_time("l2-answers");
    let [kernel, ours] = segment.on_client(move || measure(rate));
    println!(
        "{what}, {rate} requests/s; the thread that answers took {:?}",
        cpu_time("l2-answers") - cpu
    );
    let asked = rate * SECONDS / 2;
    println!("  answered by the node: {} of {asked}", answered() - before);
    let (kernel, ours) = (report("kernel", kernel), report("ours  ", ours));
    let ratio = |at: usize| ours[at].as_secs_f64() / kernel[at].as_secs_f64();
    println!(
        "  ratio   median {:.2}, p90 {:.2}, p99 {:.2}",
        ratio(0),
        ratio(1),
        ratio(2)
    );
}

/// Times until the answer, and how many did not come before the next request of the same name.
#[derive(Default)]
struct Times {
    took: Vec<Duration>,
    lost: u32,
}

/// When each request was sent that is not answered yet, in nanoseconds since the start; 0 = none.
type Sent = [[AtomicU64; SENDERS as usize]; 2];

/// Asks both in turns, at so many requests a second whether they are answered or not.
fn measure(rate: u32) -> [Times; 2] {
    let start = Instant::now();
    let sent = Arc::new(Sent::from(std::array::from_fn(|_| {
        std::array::from_fn(|_| AtomicU64::new(0))
    })));
    let done = Arc::new(AtomicBool::new(false));
    let socket = FrameSocket::open(ETHERTYPE_ARP).unwrap();
    let hearing = {
        let (sent, done) = (Arc::clone(&sent), Arc::clone(&done));
        thread::spawn(move || hear(start, &sent, &done))
    };
    let index = fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap();
    let index = index.lines().find_map(segment::index_of_client0).unwrap();
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut lost = [0; 2];
    let gap = Duration::from_secs(1) / rate;
    for n in 1..=rate * SECONDS {
        thread::sleep((start + gap * n).saturating_duration_since(Instant::now()));
        let (which, slot) = ((n % 2) as usize, n % SENDERS);
        let request = request(Ipv4Addr::from_bits(SENDER + slot), [NODE, VIP][which]);
        let now = u64::try_from(start.elapsed().as_nanos()).unwrap();
        lost[which] += u32::from(sent[which][slot as usize].swap(now, Relaxed) != 0);
        socket.send(index, &request).unwrap();
    }
    thread::sleep(LATE);
    done.store(true, Relaxed);
    let took = hearing.join().unwrap();
    let left = sent
        .each_ref()
        .map(|slots| slots.iter().filter(|slot| slot.load(Relaxed) != 0).count());
    let [kernel, ours] = took;
    let times = |which: usize, took| Times {
        took,
        lost: lost[which] + u32::try_from(left[which]).unwrap(),
    };
    [times(0, kernel), times(1, ours)]
}

fn hear(start: Instant, sent: &Sent, done: &AtomicBool) -> [Vec<Duration>; 2] {
    let socket = FrameSocket::open(ETHERTYPE_ARP).unwrap();
    socket.set_filter(&[ACCEPT]).unwrap();
    let mut took = [Vec::new(), Vec::new()];
    let mut frame = [0; 128];
    while !done.load(Relaxed) {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], 50_u8).unwrap();
        while socket.receive(&mut frame).is_ok() {
            let now = u64::try_from(start.elapsed().as_nanos()).unwrap();
            let Some(which) = [NODE, VIP].iter().position(|ip| frame[28..32] == ip.octets()) else {
                continue;
            };
            let target = u32::from_be_bytes(*frame[38..].first_chunk().unwrap());
            let Some(slot) = sent[which].get(target.wrapping_sub(SENDER) as usize) else {
                continue;
            };
            match slot.swap(0, Relaxed) {
                0 => {}
                sent => took[which].push(Duration::from_nanos(now.saturating_sub(sent))),
            }
        }
    }
    took
}

fn request(sender: Ipv4Addr, target: Ipv4Addr) -> [u8; 60] {
    let mut request = [0; 60];
    request[..6].fill(0xff);
    request[6..12].copy_from_slice(&segment::CLIENT_MAC);
    request[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    request[22..28].copy_from_slice(&segment::CLIENT_MAC);
    request[28..32].copy_from_slice(&sender.octets());
    request[38..42].copy_from_slice(&target.octets());
    request
}

/// Prints how the times are spread; returns median, p90 and p99.
fn report(what: &str, Times { mut took, lost }: Times) -> [Duration; 3] {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    let [median, p90, p99, worst] = [50, 90, 99, 100].map(at);
    let asked = took.len() + lost as usize;
    println!(
        "  {what}  median {median:?}, p90 {p90:?}, p99 {p99:?}, worst {worst:?}, {lost} of {asked} too late for the client"
    );
    [median, p90, p99]
}

/// Memory of this process, in KiB.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// CPU time of the thread called `name`, if there is one.
fn cpu_time(name: &str) -> Duration {
    let of = |path: PathBuf| {
        let named = fs::read_to_string(path.join("comm")).ok()?.trim() == name;
        let ran = fs::read_to_string(path.join("schedstat")).ok()?;
        let nanos: u64 = ran.split_whitespace().next()?.parse().ok()?;
        named.then(|| Duration::from_nanos(nanos))
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter_map(|task| of(task.path())).sum()
}
