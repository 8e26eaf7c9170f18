//! Changes while sessions are up, between two shells of ours in two namespaces.

use std::{
    collections::BTreeMap,
    process::{Child, Command},
    time::Duration,
};

use metallb_dataplane::bfd::{BfdHandle, SessionConfig, SessionKey, State};

use crate::{
    eventually, fast, key,
    many::{resident, shell_of},
    neighbour::{Neighbour, in_namespace, run},
    sessions, set, shell, up,
};

const ROUTERS: u8 = 4;
const STEPS: u64 = 60;

/// The sessions of one end, by the number of the router.
fn session(n: u8, local: u8, peer: u8) -> SessionKey {
    SessionKey {
        local: Some(format!("10.0.{n}.{local}").parse().unwrap()),
        ..key(&format!("10.0.{n}.{peer}"))
    }
}

/// Two ends with links between them, and the routers' sessions on the other one.
async fn ends() -> (Neighbour, BfdHandle, BfdHandle) {
    let mut neighbour = Neighbour::new(&[], &[]);
    for n in 0..ROUTERS {
        run(&format!("ip addr add 10.0.{n}.1/24 dev node0"));
        neighbour.run(&format!("ip addr add 10.0.{n}.2/24 dev peer0"));
    }
    let theirs = shell_of(&mut neighbour).await;
    set(&theirs, (0..ROUTERS).map(|n| session(n, 2, 1)), &fast());
    (neighbour, shell().0, theirs)
}

/// Numbers that only look like chance, so that a failure comes again.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn downs(handle: &BfdHandle) -> u64 {
    handle
        .sessions()
        .borrow()
        .values()
        .map(|session| session.counters.downs())
        .sum()
}

// BGP-113
pub(crate) fn in_any_order_sessions_come_go_and_change_and_none_of_it_is_a_failure() {
    in_namespace(async {
        let (_neighbour, ours, theirs) = ends().await;
        let mut wanted: BTreeMap<SessionKey, SessionConfig> = BTreeMap::new();
        // Since the last time that all was quiet these have not been taken away.
        let mut settled: BTreeMap<SessionKey, u32> = BTreeMap::new();
        let mut seed = 113;
        for _ in 0..STEPS {
            let key = session((next(&mut seed) % u64::from(ROUTERS)) as u8, 1, 2);
            let config = SessionConfig {
                transmit_interval: Duration::from_millis(50 + next(&mut seed) % 100),
                receive_interval: Duration::from_millis(50 + next(&mut seed) % 100),
                // Patient, as the machine may be busy.
                multiplier: 40 + (next(&mut seed) % 40) as u8,
                // Whoever waits for the router to begin waits until that has forgotten the last session.
                passive: settled.contains_key(&key) && next(&mut seed).is_multiple_of(4),
                ..SessionConfig::default()
            };
            if next(&mut seed).is_multiple_of(3) {
                wanted.remove(&key);
                settled.remove(&key);
            } else {
                wanted.insert(key, config);
            }
            ours.set_sessions(wanted.clone());
            // Every second time there is the next change before the other end has even heard of this one.
            if next(&mut seed).is_multiple_of(2) {
                continue;
            }
            let table = sessions(&ours, |table| {
                table.keys().eq(wanted.keys()) && table.values().all(|session| session.status.state == State::Up)
            })
            .await;
            for (key, discriminator) in settled {
                assert_eq!(table[&key].status.local_discriminator, discriminator, "{key} stayed");
            }
            let discriminators = table
                .iter()
                .map(|(key, session)| (key.clone(), session.status.local_discriminator));
            settled = discriminators.collect();
            assert!(
                table
                    .values()
                    .all(|session| session.failures == 0 && session.error.is_none())
            );
        }
        ours.set_sessions(BTreeMap::new());
        sessions(&ours, BTreeMap::is_empty).await;
        // That they were switched off is no failure to the routers either.
        let table = sessions(&theirs, |table| {
            table
                .values()
                .all(|session| session.status.remote_state == State::AdminDown)
        })
        .await;
        assert!(table.values().all(|session| session.failures == 0));
    });
}

// BGP-114
pub(crate) fn the_same_sessions_200_times_over_are_no_change() {
    in_namespace(async {
        let (_neighbour, ours, theirs) = ends().await;
        let all = || (0..ROUTERS).map(|n| session(n, 1, 2));
        set(&ours, all(), &fast());
        for key in all() {
            up(&ours, &key).await;
        }
        let polls = |handle: &BfdHandle| {
            handle
                .sessions()
                .borrow()
                .values()
                .any(|session| session.status.polling)
        };
        sessions(&ours, |table| table.values().all(|session| !session.status.polling)).await;
        let mut table = ours.sessions();
        table.mark_unchanged();
        for _ in 0..200 {
            set(&ours, all(), &fast());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!table.has_changed().unwrap() && !polls(&ours), "{:?}", table.borrow());
        assert_eq!(downs(&ours) + downs(&theirs), 0);
    });
}

struct Spinning(Child);

impl Drop for Spinning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spin() -> Spinning {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]);
    Spinning(command.spawn().unwrap())
}

// BGP-94
pub(crate) fn sessions_hold_while_all_processors_are_busy() {
    in_namespace(async {
        let (_neighbour, ours, theirs) = ends().await;
        let config = SessionConfig {
            transmit_interval: Duration::from_millis(50),
            receive_interval: Duration::from_millis(50),
            // The bench has three; a test must also pass where others have the machine, too.
            multiplier: 40,
            ..SessionConfig::default()
        };
        set(&theirs, (0..ROUTERS).map(|n| session(n, 2, 1)), &config);
        set(&ours, (0..ROUTERS).map(|n| session(n, 1, 2)), &config);
        for n in 0..ROUTERS {
            up(&ours, &session(n, 1, 2)).await;
        }
        let processors = std::thread::available_parallelism().unwrap().get();
        let _busy: Vec<_> = (0..processors).map(|_| spin()).collect();
        let started: u64 = heard(&ours);
        eventually("a thousand packets", || match heard(&ours) - started {
            1000.. => Ok(()),
            few => Err(few),
        })
        .await;
        assert_eq!(downs(&ours) + downs(&theirs), 0);
    });
}

fn heard(handle: &BfdHandle) -> u64 {
    handle
        .sessions()
        .borrow()
        .values()
        .map(|session| session.counters.control_input())
        .sum()
}

pub(crate) fn a_device_that_is_replaced_by_another_of_its_name_is_heard_again() {
    in_namespace(async {
        let (mut neighbour, ours, theirs) = ends().await;
        let resident = resident(&mut neighbour).await;
        // To the sockets a VRF is a device like any other.
        let within = SessionKey {
            device: Some("node0".to_owned()),
            ..session(0, 1, 2)
        };
        set(&ours, [within.clone()], &fast());
        up(&ours, &within).await;
        run("ip link del node0");
        let before = heard(&ours);
        run(&format!("ip link add node0 type veth peer name peer0 netns {resident}"));
        run("ip addr add 10.0.0.1/24 dev node0 && ip link set node0 up");
        neighbour.run("ip addr add 10.0.0.2/24 dev peer0");
        neighbour.run("ip link set peer0 up");
        // It may come back before anybody has missed it.
        eventually("packets from the new device", || {
            if heard(&ours) > before { Ok(()) } else { Err(before) }
        })
        .await;
        up(&ours, &within).await;
        up(&theirs, &session(0, 2, 1)).await;
    });
}
