//! What the membership costs a speaker when nothing happens: the CPU time of its two threads, the one of memberlist's protocol and
//! the one of the fast path, in a cluster of which all others are in this process, too, each with its own sockets on the
//! loopback interface. Every node is a partner of every other, as with very many Services. Prints figures, asserts none.
//!
//! `cargo bench -p metallb-dataplane --bench members [-- NODES]`

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use metallb_dataplane::members::{self, Config, MembersHandle, Metadata, Timing};
use tokio_util::sync::CancellationToken;

const SECONDS: u32 = 20;
/// Runs and addresses are known to all by then.
const SETTLED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let nodes = env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100);
    let names: BTreeMap<String, SocketAddr> = (1..=nodes)
        .map(|number| (format!("node-{number:03}"), address(number)))
        .collect();
    let (own, _) = names.first_key_value().unwrap();
    let before = threads();
    let (ready, started) = mpsc::channel();
    let (name, at) = (own.clone(), names[own]);
    // It has a thread of its own, so that its share can be told.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (handle, running) = start(&name, at);
            ready.send(handle).unwrap();
            running.await.unwrap();
        });
    });
    let handle = started.recv().unwrap();
    let measured: Vec<String> = threads().difference(&before).cloned().collect();
    let others = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let _entered = others.enter();
    let mut handles = vec![handle];
    for (name, at) in names.iter().skip(1) {
        let (handle, running) = start(name, *at);
        others.spawn(running);
        handles.push(handle);
    }
    for handle in &handles {
        handle.set_peers(names.clone());
        handle.set_partners(names.keys().cloned().collect());
    }
    others.block_on(async {
        let alive = async {
            for handle in &handles {
                handle
                    .alive()
                    .wait_for(|alive| alive.len() == names.len())
                    .await
                    .unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, alive).await.unwrap();
        tokio::time::sleep(SETTLED).await;
    });
    let cpu = || measured.iter().map(|thread| cpu_time(thread)).collect::<Vec<_>>();
    let (from, began) = (cpu(), Instant::now());
    thread::sleep(Duration::from_secs(SECONDS.into()));
    let time = began.elapsed();
    println!("{nodes} nodes, of one of them per cent of a core:");
    for ((thread, from), to) in measured.iter().zip(from).zip(cpu()) {
        let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap();
        let share = (to - from).as_secs_f64() / time.as_secs_f64();
        println!("  {:<20} {:.3}", name.trim(), 100.0 * share);
    }
}

fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([127, 77, high, low], 7946))
}

fn start(
    node: &str,
    bind: SocketAddr,
) -> (
    MembersHandle,
    impl Future<Output = Result<(), members::Error>> + Send + 'static,
) {
    let config = Config {
        node: node.to_owned(),
        bind,
        key: Some(b"0123456789abcdefghijkl".to_vec()),
        timing: Timing::lan(),
        fast: true,
        metadata: Metadata::default(),
    };
    members::start(config, CancellationToken::new()).unwrap()
}

fn threads() -> BTreeSet<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| task.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn cpu_time(thread: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}
