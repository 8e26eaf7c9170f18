//! Some seeds, and faults on purpose, which must be found.

use metallb_simulation::{Sabotage, run};

/// So many seeds of small clusters; `.ci/run simulation` runs many more, and larger ones.
const SEEDS: u64 = 200;

#[test]
fn small_clusters_survive_their_faults() {
    for seed in 0..SEEDS {
        run(seed, None, None).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn larger_clusters_survive_their_faults() {
    for (seed, nodes) in [(1, 17), (2, 30)] {
        run(seed, Some(nodes), None).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_happens_the_same_way_each_time() {
    let [one, other] = [(); 2].map(|()| run(7, None, None).unwrap_or_else(|failure| panic!("{failure}")));
    assert_eq!(
        (one.events, one.time, one.story),
        (other.events, other.time, other.story)
    );
}

/// How many seeds it takes to find a fault that was made on purpose.
fn seeds_to_find(sabotage: Sabotage) -> Option<u64> {
    (0..SEEDS).find(|seed| run(*seed, None, Some(sabotage)).is_err())
}

#[test]
fn faults_on_purpose_are_found() {
    for sabotage in Sabotage::ALL {
        let found = seeds_to_find(sabotage);
        println!("{sabotage:?}: found by seed {found:?}");
        assert!(found.is_some(), "{sabotage:?} is not noticed in {SEEDS} seeds");
    }
}

#[test]
fn a_failure_tells_what_was_wrong_and_how_to_replay_it() {
    let failure = (0..SEEDS).find_map(|seed| run(seed, None, Some(Sabotage::NeverWithdraw)).err());
    let text = failure.expect("it is found").to_string();
    assert!(text.contains("have both answered for 192.0.2."), "{text}");
    assert!(text.contains("cargo run --bin metallb-simulation -- --seed "), "{text}");
    assert!(text.contains("***"), "{text}");
}
