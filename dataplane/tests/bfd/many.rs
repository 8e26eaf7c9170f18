//! Many sessions, between two shells of ours in two namespaces.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
    time::Duration,
};

use metallb_dataplane::bfd::{self, BfdHandle, SessionConfig, SessionKey, State};
use metallb_test_runner::skip;
use nix::sched::{CloneFlags, setns};
use tokio_util::sync::CancellationToken;

use crate::{
    eventually, key,
    neighbour::{Neighbour, in_namespace, run},
    sessions, shell,
};

/// How many sessions, how fast, and for how long they must hold.
struct Load {
    sessions: u16,
    interval: Duration,
    multiplier: u8,
    hold: Duration,
}

impl Load {
    /// The sessions of one end.
    fn all(&self, local: u8, peer: u8) -> BTreeMap<SessionKey, SessionConfig> {
        let config = SessionConfig {
            transmit_interval: self.interval,
            receive_interval: self.interval,
            multiplier: self.multiplier,
            ..SessionConfig::default()
        };
        let session = |n| {
            let key = SessionKey {
                local: Some(address(n, local).parse().unwrap()),
                ..key(&address(n, peer))
            };
            (key, config.clone())
        };
        (0..self.sessions).map(session).collect()
    }

    fn is_up(&self, sessions: &bfd::Sessions) -> bool {
        let up = |session: &bfd::SessionState| session.status.state == State::Up;
        sessions.len() == usize::from(self.sessions) && sessions.values().all(up)
    }

    /// What `ip -batch` reads to give one end its addresses. It knows where the others are: of neighbours that it has to
    /// ask for, the kernel keeps no more than a thousand.
    fn addresses(&self, (end, device): (u8, &str), (other, mac): (u8, &str)) -> String {
        let lines = |n| {
            let (own, other) = (address(n, end), address(n, other));
            format!("addr add {own}/24 dev {device}\nneigh add {other} lladdr {mac} dev {device} nud permanent\n")
        };
        (0..self.sessions).map(lines).collect()
    }
}

/// Address of one end of session `n`.
fn address(n: u16, end: u8) -> String {
    format!("10.{}.{}.{end}", n / 250, n % 250)
}

/// What the kernel says of the BFD threads of this process: the fields of proc_pid_stat(5) from the third one on.
fn threads() -> Vec<Vec<u64>> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
        let (_, fields) = stat.split_once(" (bfd) ")?;
        Some(
            fields
                .split(' ')
                .map(|field| field.trim().parse().unwrap_or_default())
                .collect(),
        )
    };
    tasks.filter_map(of).collect()
}

/// Processor time of all BFD threads so far, in ticks of 10 ms, as the kernel counts.
fn ticks() -> u64 {
    threads().iter().map(|fields| fields[11] + fields[12]).sum()
}

fn packets(handle: &BfdHandle) -> u64 {
    let table = handle.sessions();
    table
        .borrow()
        .values()
        .map(|session| session.counters.control_output())
        .sum()
}

pub(crate) async fn the_thread_goes_before_others_where_that_is_allowed() {
    let allowed = Command::new("chrt").args(["-f", "1", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        skip("real-time priority is not allowed here");
    }
    let _shell = shell();
    eventually("a real-time thread", || {
        let policies: Vec<_> = threads().iter().map(|fields| fields[38]).collect();
        // SCHED_FIFO
        if policies.contains(&1) {
            Ok(())
        } else {
            Err(format!("{policies:?}"))
        }
    })
    .await;
}

/// A process in the namespace of the neighbour, which stands for it; not before it is there.
pub(crate) async fn resident(neighbour: &mut Neighbour) -> u32 {
    let resident = neighbour.start("sleep", &["infinity"]);
    let there = neighbour.run("readlink /proc/self/ns/net").stdout;
    eventually("a process over there", || {
        let found = run(&format!("readlink /proc/{resident}/ns/net")).stdout;
        if found == there { Ok(()) } else { Err("not yet") }
    })
    .await;
    resident
}

/// Starts our shell in the namespace of the neighbour, in which its thread is born.
pub(crate) async fn shell_of(neighbour: &mut Neighbour) -> BfdHandle {
    let namespace = format!("/proc/{}/ns/net", resident(neighbour).await);
    let namespace = fs::File::open(namespace).unwrap();
    let born = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        bfd::start(CancellationToken::new()).unwrap()
    });
    let (handle, work) = born.join().unwrap();
    tokio::spawn(work);
    handle
}

// BGP-94
pub(crate) fn hundreds_of_sessions_come_up_and_hold() {
    come_up_and_hold(&Load {
        sessions: 200,
        interval: Duration::from_millis(50),
        // Patient, as the machine may be busy.
        multiplier: 60,
        hold: Duration::from_secs(5),
    });
}

// BGP-94
/// For an hour, by hand: `BFD_HOLD_SECONDS=3600 cargo test --test bfd -- a_thousand`.
pub(crate) fn a_thousand_sessions_hold_for_two_minutes() {
    let seconds = std::env::var("BFD_HOLD_SECONDS").map_or(120, |seconds| seconds.parse().unwrap());
    come_up_and_hold(&Load {
        sessions: 1000,
        interval: Duration::from_millis(300),
        multiplier: 3,
        hold: Duration::from_secs(seconds),
    });
}

/// The hardware address in what `ip -brief` says of a link.
fn mac(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().nth(2).unwrap().to_owned()
}

fn come_up_and_hold(load: &Load) {
    in_namespace(async {
        let mut neighbour = Neighbour::new(&[], &[]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("addresses");
        let batch = format!("ip -batch {}", file.display());
        let here = mac(&run("ip -brief link show dev node0"));
        let there = mac(&neighbour.run("ip -brief link show dev peer0"));
        fs::write(&file, load.addresses((1, "node0"), (2, &there))).unwrap();
        run(&batch);
        fs::write(&file, load.addresses((2, "peer0"), (1, &here))).unwrap();
        neighbour.run(&batch);
        let handles = [shell().0, shell_of(&mut neighbour).await];
        handles[0].set_sessions(load.all(1, 2));
        handles[1].set_sessions(load.all(2, 1));
        for handle in &handles {
            sessions(handle, |table| load.is_up(table)).await;
        }
        let before = (ticks(), packets(&handles[0]));
        tokio::time::sleep(load.hold).await;
        let (used, sent) = (ticks() - before.0, packets(&handles[0]) - before.1);
        println!(
            "{} sessions at {:?}: {sent} packets each way in {:?}, {used}0 ms of processor time for both ends",
            load.sessions, load.interval, load.hold
        );
        assert!(sent > 0);
        for handle in &handles {
            let found = sessions(handle, |table| load.is_up(table)).await;
            assert!(found.values().all(|session| session.counters.downs() == 0));
            assert!(handle.refusals().is_empty(), "{:?}", handle.refusals());
        }
    });
}
