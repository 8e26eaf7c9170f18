//! Random histories of a cluster with two replicas: Services come, change and go, pools are edited, writes are lost,
//! refused, late or unanswered, what is watched arrives late, leaders die or lose their lease in the middle.
//!
//! The engine under test is the real one; the API server, the watches, the queue and the lease are models.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

mod cluster;
mod rules;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster::{Cluster, Fate, Shape};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Shape),
    Delete(usize),
    Recreate(usize),
    Wipe(usize),
    Pools(Vec<usize>),
    /// So many changes reach the cache of the replica.
    See(usize, usize),
    /// The leader takes a key from its queue.
    Work(usize),
    /// A write on its way ends.
    Finish(usize, Fate),
    /// The leader dies, and starts again at once.
    Restart(Fate),
    /// The leader loses its lease to the other.
    HandOver(Fate),
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
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Conflict),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..cluster::NAMES.len();
    prop_oneof![
        8 => (name.clone(), shape()).prop_map(|(name, shape)| Step::Put(name, shape)),
        3 => name.clone().prop_map(Step::Delete),
        1 => name.clone().prop_map(Step::Recreate),
        1 => name.prop_map(Step::Wipe),
        2 => prop::collection::vec(0..cluster::POOLS, 0..5).prop_map(Step::Pools),
        8 => (0..2_usize, 1..6_usize).prop_map(|(replica, count)| Step::See(replica, count)),
        12 => any::<usize>().prop_map(Step::Work),
        8 => (any::<usize>(), fate()).prop_map(|(pick, fate)| Step::Finish(pick, fate)),
        1 => fate().prop_map(Step::Restart),
        1 => fate().prop_map(Step::HandOver),
        2 => Just(Step::Settle),
    ]
}

fn play(cluster: &mut Cluster, step: &Step) {
    match step {
        Step::Put(name, shape) => cluster.put(*name, shape),
        Step::Delete(name) => cluster.delete(*name),
        Step::Recreate(name) => cluster.recreate(*name),
        Step::Wipe(name) => cluster.wipe(*name),
        Step::Pools(picks) => {
            cluster.set_pools(picks);
            rules::judge_edit(cluster);
        }
        Step::See(replica, count) => cluster.see(*replica, *count),
        Step::Work(pick) => cluster.work(*pick),
        Step::Finish(pick, fate) => cluster.finish(*pick, *fate),
        Step::Restart(fate) => cluster.restart(*fate),
        Step::HandOver(fate) => cluster.hand_over(*fate),
        Step::Settle => {
            cluster.settle();
            rules::check_settled(cluster);
        }
    }
    rules::check_always(cluster);
}

#[test]
fn no_history_gives_an_address_twice_moves_a_legal_one_or_leaves_one_waiting_in_vain() {
    // 256 histories, or as many as PROPTEST_CASES says.
    let histories = AtomicUsize::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&prop::collection::vec(step(), 1..80), |steps| {
        let mut cluster = Cluster::new();
        for step in &steps {
            play(&mut cluster, step);
        }
        cluster.settle();
        rules::check_settled(&mut cluster);
        // A restart moves nobody; at most it says anew why somebody waits.
        let addresses = cluster.addresses();
        cluster.restart(Fate::Good);
        cluster.settle();
        assert_eq!(cluster.addresses(), addresses, "a restart moves addresses");
        // And one that finds everything in order writes nothing.
        let writes = cluster.writes;
        cluster.restart(Fate::Good);
        cluster.settle();
        assert_eq!(cluster.writes, writes, "a restart writes");
        cluster.hand_over(Fate::Good);
        cluster.settle();
        assert_eq!(cluster.writes, writes, "a hand-over writes");
        histories.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    // Past the test harness, which keeps to itself what a test prints that passes.
    let _ = writeln!(
        std::io::stderr(),
        "{} random histories of two replicas",
        histories.load(Ordering::Relaxed)
    );
    if let Err(error) = result {
        panic!("{error}");
    }
}
