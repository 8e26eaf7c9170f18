//! How soon an ARP request for an announced address is answered, beside the kernel's own answer for an address of the
//! node on the same pair of interfaces, in turns; as the client sees it. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-dataplane --bench arp`

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

#[path = "../tests/l2/segment.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod segment;

use std::{
    env, fs,
    net::Ipv4Addr,
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use metallb_dataplane::l2::{self, Interfaces};
use metallb_l2::Instruction;
use metallb_net::{ETHERTYPE_ARP, FrameSocket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio_util::sync::CancellationToken;

use segment::Segment;

const INSIDE: &str = "METALLB_BENCH_IN_NAMESPACE";
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// Senders by whose addresses an answer is matched with its request.
const SENDERS: u32 = 64;
const SENDER: u32 = 0xc000_0280;
const LOST: Duration = Duration::from_millis(100);
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
    };
    let (l2, running) = l2::start(config, stop.clone()).unwrap();
    let running = tokio::spawn(running);
    l2.change(vec![(VIP.into(), Some(Interfaces::All))]);
    segment.client_resolves(&VIP.to_string(), segment::NODE_MAC).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (addresses, rate) in [(1, 1_000), (1, 10_000), (10_000, 1_000), (10_000, 10_000)] {
        if addresses > 1 && rate == 1_000 {
            let before = resident();
            l2.change(many(addresses));
            tokio::time::sleep(Duration::from_secs(30)).await;
            println!("{addresses} addresses: {} KiB more", resident() - before);
        }
        let cpu = cpu_time();
        let (kernel, ours) = segment.on_client(move || measure(rate));
        println!(
            "{addresses} addresses, {rate} requests/s, {:?} of CPU time",
            cpu_time() - cpu
        );
        let (kernel, ours) = (report("kernel", kernel), report("ours  ", ours));
        let ratio = |at: usize| ours[at].as_secs_f64() / kernel[at].as_secs_f64();
        println!(
            "  ratio   median {:.2}, p90 {:.2}, p99 {:.2}",
            ratio(0),
            ratio(1),
            ratio(2)
        );
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}

fn many(count: u32) -> Vec<(std::net::IpAddr, Option<Interfaces>)> {
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n).into();
    (0..count).map(|n| (address(n), Some(Interfaces::All))).collect()
}

/// Asks both in turns, at so many requests a second; returns the times of each until the answer, `None` = lost.
fn measure(rate: u32) -> (Vec<Option<Duration>>, Vec<Option<Duration>>) {
    let socket = FrameSocket::open(ETHERTYPE_ARP).unwrap();
    socket.set_filter(&[ACCEPT]).unwrap();
    let index = fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap();
    let index = index.lines().find_map(segment::index_of_client0).unwrap();
    let (mut kernel, mut ours) = (Vec::new(), Vec::new());
    let (count, gap) = (rate.min(2_000) * 20, Duration::from_secs(1) / rate);
    let mut due = Instant::now();
    for n in 0..count {
        due = (due + gap).max(Instant::now());
        wait_until(due);
        let (target, times) = if n % 2 == 0 {
            (NODE, &mut kernel)
        } else {
            (VIP, &mut ours)
        };
        let sender = Ipv4Addr::from_bits(SENDER + n % SENDERS);
        times.push(ask(&socket, index, sender, target));
    }
    (kernel, ours)
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > Duration::from_micros(200) {
        thread::sleep(left - Duration::from_micros(100));
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

fn ask(socket: &FrameSocket, index: u32, sender: Ipv4Addr, target: Ipv4Addr) -> Option<Duration> {
    let mut request = [0; 60];
    request[..6].fill(0xff);
    request[6..12].copy_from_slice(&segment::CLIENT_MAC);
    request[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    request[22..28].copy_from_slice(&segment::CLIENT_MAC);
    request[28..32].copy_from_slice(&sender.octets());
    request[38..42].copy_from_slice(&target.octets());
    let began = Instant::now();
    socket.send(index, &request).unwrap();
    let mut buffer = [0; 128];
    loop {
        match socket.receive(&mut buffer) {
            Ok(_) if buffer[28..32] == target.octets() && buffer[38..42] == sender.octets() => {
                return Some(began.elapsed());
            }
            Ok(_) => {}
            Err(_) if began.elapsed() > LOST => return None,
            Err(_) => {
                let timeout = PollTimeout::try_from(LOST).unwrap();
                poll(
                    &mut [PollFd::new(std::os::fd::AsFd::as_fd(socket), PollFlags::POLLIN)],
                    timeout,
                )
                .unwrap();
            }
        }
    }
}

/// Prints how the times are spread; returns median, p90 and p99.
fn report(what: &str, times: Vec<Option<Duration>>) -> [Duration; 3] {
    let (asked, mut took): (usize, Vec<Duration>) = (times.len(), times.into_iter().flatten().collect());
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    let [median, p90, p99, worst] = [50, 90, 99, 100].map(at);
    let lost = asked - took.len();
    println!("  {what}  median {median:?}, p90 {p90:?}, p99 {p99:?}, worst {worst:?}, {lost} of {asked} lost");
    [median, p90, p99]
}

/// Memory of this process, in KiB.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// CPU time of this process, the client included.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
