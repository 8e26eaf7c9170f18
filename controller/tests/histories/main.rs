//! Random histories of a cluster with two replicas: Services come, change and go, pools are edited, writes are lost,
//! refused for a moment or for ever, late or unanswered, somebody else writes the same status, what is watched arrives
//! late, leaders end, die or lose their lease in the middle.
//!
//! The engine under test is the real one; the API server, the watches, the queue, the clock and the lease are models. A
//! history is made from a number: the same ones are played every time, more if `HISTORIES` says so (10 000 take some
//! minutes), and one alone with `HISTORY`.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod cluster;
mod rules;

use std::io::Write;
use std::time::Duration;

use cluster::{Cluster, Fate, Shape};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Histories that are played every time; they take seconds.
const HISTORIES: u64 = 256;
/// Writes of one Service in a minute in which somebody else overwrites them.
const PATIENT: usize = 20;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Shape),
    Delete(usize),
    Recreate(usize),
    /// Somebody else overwrites the status, or empties it.
    Overwrite(usize, bool),
    /// Somebody else overwrites the status for a minute.
    Fight(usize),
    /// From now on all writes of the Service are refused.
    Deny(usize),
    /// The same, when it is about to leave what it has.
    Leave(usize, Shape),
    /// Who refused them has gone.
    Allow,
    /// A write that was given up arrives.
    Land(usize),
    /// So many milliseconds pass.
    Pass(u64),
    Pools(Vec<usize>),
    /// So many changes reach the cache of the replica.
    See(usize, usize),
    /// The leader takes a key from its queue.
    Work(usize),
    /// A write on its way ends.
    Finish(usize, Fate),
    /// The leader is told to end, and does when its writes have ended.
    Stop,
    /// The leader dies, and starts again at once. What was on its way ends so.
    Restart(Vec<Fate>),
    /// The leader loses its lease to the other.
    HandOver(Vec<Fate>),
    /// Time passes without trouble.
    Settle,
}

fn shape() -> impl Strategy<Value = Shape> {
    let share = prop_oneof![2 => Just(None), 3 => any::<bool>().prop_map(Some)];
    let wanted = prop_oneof![4 => Just(None), 2 => (0..4_usize).prop_map(Some)];
    let pool = prop_oneof![6 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let load_balancer = prop_oneof![6 => Just(true), 1 => Just(false)];
    let rest = (any::<bool>(), any::<bool>());
    (share, 80..83, rest, wanted, pool, load_balancer).prop_map(|(share, port, rest, wanted, pool, load_balancer)| {
        let (local, dual) = rest;
        Shape {
            share,
            port,
            local,
            dual,
            wanted,
            pool,
            load_balancer,
        }
    })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Good),
        1 => Just(Fate::Late),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Conflict),
    ]
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(fate(), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..cluster::NAMES.len();
    prop_oneof![
        12 => (name.clone(), shape()).prop_map(|(name, shape)| Step::Put(name, shape)),
        3 => name.clone().prop_map(Step::Delete),
        1 => name.clone().prop_map(Step::Recreate),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, empties)| Step::Overwrite(name, empties)),
        1 => name.clone().prop_map(Step::Deny),
        3 => (name.clone(), shape()).prop_map(|(name, shape)| Step::Leave(name, shape)),
        1 => Just(Step::Allow),
        2 => any::<usize>().prop_map(Step::Land),
        2 => prop_oneof![Just(10_u64), Just(1_000), Just(5_000), Just(70_000)].prop_map(Step::Pass),
        4 => prop::collection::vec(0..cluster::POOLS, 0..5).prop_map(Step::Pools),
        8 => (0..2_usize, 1..6_usize).prop_map(|(replica, count)| Step::See(replica, count)),
        12 => any::<usize>().prop_map(Step::Work),
        8 => (any::<usize>(), fate()).prop_map(|(pick, fate)| Step::Finish(pick, fate)),
        1 => Just(Step::Stop),
        1 => fates().prop_map(Step::Restart),
        1 => fates().prop_map(Step::HandOver),
        2 => Just(Step::Settle),
    ]
}

/// A fight takes longer than all the rest, so there is one in few histories.
fn history() -> impl Strategy<Value = Vec<Step>> {
    let steps = prop::collection::vec(step(), 1..120);
    let fight = prop_oneof![9 => Just(None), 1 => (0..cluster::NAMES.len()).prop_map(Some)];
    (steps, fight, any::<prop::sample::Index>()).prop_map(|(mut steps, fight, place)| {
        if let Some(name) = fight {
            steps.insert(place.index(steps.len()), Step::Fight(name));
        }
        steps
    })
}

fn play(cluster: &mut Cluster, step: &Step) {
    match step {
        Step::Put(name, shape) => cluster.put(*name, shape),
        Step::Delete(name) => cluster.delete(*name),
        Step::Recreate(name) => cluster.recreate(*name),
        Step::Overwrite(name, empties) => cluster.overwrite(*name, *empties),
        Step::Fight(name) => {
            let writes = cluster.fight(*name);
            assert!(writes < PATIENT, "{writes} writes in a minute");
        }
        Step::Deny(name) => cluster.deny(*name),
        Step::Leave(name, shape) => cluster.leave(*name, shape),
        Step::Allow => cluster.allow_all(),
        Step::Land(pick) => cluster.land(*pick),
        Step::Pass(millis) => cluster.pass(Duration::from_millis(*millis)),
        Step::Pools(picks) => {
            cluster.set_pools(picks);
            rules::judge_edit(cluster);
        }
        Step::See(replica, count) => cluster.see(*replica, *count),
        Step::Work(pick) => cluster.work(*pick),
        Step::Finish(pick, fate) => cluster.finish(*pick, *fate),
        Step::Stop => cluster.stop(),
        Step::Restart(fates) => cluster.restart(fates),
        Step::HandOver(fates) => cluster.hand_over(fates),
        Step::Settle => {
            cluster.settle();
            rules::check_settled(cluster);
            let writes = cluster.writes;
            cluster.look_at_all();
            cluster.settle();
            let denied = !cluster.denied.is_empty();
            assert!(
                denied || cluster.writes == writes,
                "it writes although nothing has changed"
            );
        }
    }
    rules::check_always(cluster);
}

fn live(steps: &[Step]) {
    let mut cluster = Cluster::new();
    for step in steps {
        play(&mut cluster, step);
    }
    cluster.allow_all();
    cluster.pass(Duration::from_secs(60));
    cluster.settle();
    rules::check_settled(&mut cluster);
    // A restart moves nobody; at most it says anew why somebody waits.
    let addresses = cluster.addresses();
    cluster.restart(&[Fate::Good]);
    cluster.settle();
    assert_eq!(cluster.addresses(), addresses, "a restart moves addresses");
    // And one that finds everything in order writes nothing.
    let writes = cluster.writes;
    cluster.restart(&[Fate::Good]);
    cluster.settle();
    assert_eq!(cluster.writes, writes, "a restart writes");
    cluster.hand_over(&[Fate::Good]);
    cluster.settle();
    assert_eq!(cluster.writes, writes, "a hand-over writes");
}

/// A number that the environment gives.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn no_history_gives_an_address_twice_moves_a_legal_one_or_leaves_one_waiting_in_vain() {
    // CTL-9 CTL-12 CTL-16 CTL-27 CTL-32 CTL-33
    let numbers = match given("HISTORY") {
        Some(one) => one..one + 1,
        None => 0..given("HISTORIES").unwrap_or(HISTORIES),
    };
    let count = numbers.end - numbers.start;
    for number in numbers {
        let config = ProptestConfig {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 5_000,
            ..ProptestConfig::default()
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let result = TestRunner::new_with_rng(config, random).run(&history(), |steps| {
            live(&steps);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}\nagain: HISTORY={number} cargo test -p metallb-controller --test histories");
        }
    }
    // Past the test harness, which keeps to itself what a test prints that passes.
    let _ = writeln!(std::io::stderr(), "{count} random histories of two replicas");
}
