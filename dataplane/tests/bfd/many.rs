//! Many sessions, between two shells of ours in two namespaces.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use metallb_dataplane::bfd::{self, BfdHandle, SessionConfig, SessionKey, State};
use metallb_test_runner::skip;
use nix::sched::{CloneFlags, setns};
use tokio_util::sync::CancellationToken;

use crate::{
    eventually, key,
    neighbour::{Neighbour, in_namespace, run},
    sessions, shell,
};

const SESSIONS: u8 = 200;

fn config() -> SessionConfig {
    SessionConfig {
        transmit_interval: Duration::from_millis(50),
        receive_interval: Duration::from_millis(50),
        // Patient, as the machine may be busy.
        multiplier: 60,
        ..SessionConfig::default()
    }
}

fn all(local: u8, peer: u8) -> BTreeMap<SessionKey, SessionConfig> {
    let session = |n: u8| {
        let key = SessionKey {
            local: Some(format!("10.0.{n}.{local}").parse().unwrap()),
            ..key(&format!("10.0.{n}.{peer}"))
        };
        (key, config())
    };
    (0..SESSIONS).map(session).collect()
}

fn is_up(sessions: &bfd::Sessions) -> bool {
    sessions.len() == usize::from(SESSIONS) && sessions.values().all(|session| session.status.state == State::Up)
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
    in_namespace(async {
        let mut neighbour = Neighbour::new(&[], &[]);
        for n in 0..SESSIONS {
            run(&format!("ip addr add 10.0.{n}.1/24 dev node0"));
            neighbour.run(&format!("ip addr add 10.0.{n}.2/24 dev peer0"));
        }
        let handles = [shell().0, shell_of(&mut neighbour).await];
        handles[0].set_sessions(all(1, 2));
        handles[1].set_sessions(all(2, 1));
        for handle in &handles {
            sessions(handle, is_up).await;
        }
        let before = (ticks(), packets(&handles[0]));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (used, sent) = (ticks() - before.0, packets(&handles[0]) - before.1);
        println!(
            "{SESSIONS} sessions at 50 ms: {sent} packets each way in 5 s, {used}0 ms of processor time for both ends"
        );
        assert!(sent > 0);
        for handle in &handles {
            let found = sessions(handle, is_up).await;
            assert!(found.values().all(|session| session.counters.downs() == 0));
            assert!(handle.refusals().is_empty(), "{:?}", handle.refusals());
        }
    });
}
