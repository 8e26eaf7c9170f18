//! Random memberships with loss, crashes, pauses, partitions and leaves: when they are left in peace, all agree.

use std::{env, time::Duration};

use super::lab::{Lab, SECOND, names};

/// Seeds that are tried, unless the environment says another number, or one seed to replay.
const SEEDS: u64 = 40;
/// Peace after the chaos: the dead are noticed, the parted joined again.
const PEACE: Duration = Duration::from_secs(120);

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn after_chaos_all_that_run_agree() {
    let only = number("METALLB_SEED");
    let count = number("METALLB_SEEDS").unwrap_or(SEEDS);
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        println!("to replay: METALLB_SEED={seed} cargo test -p metallb-members after_chaos");
        let mut lab = Lab::new(seed);
        let count = 3 + lab.dice.below(8);
        lab.loss = lab.dice.below(15);
        lab.boot_all(count);
        for _ in 0..10 {
            let pause = lab.dice.below(20_000);
            lab.run(Duration::from_millis(pause));
            disturb(&mut lab, count);
        }
        lab.heal();
        lab.loss = 0;
        lab.until_all_agree(PEACE);
        lab.run(30 * SECOND);
        assert!(lab.agree());
    }
}

fn disturb(lab: &mut Lab, count: u64) {
    let all = names(count);
    let pick = |lab: &mut Lab| format!("n{}", lab.dice.below(count));
    let name = pick(lab);
    match lab.dice.below(6) {
        0 => lab.stop(&name),
        1 => lab.leave(&name),
        2 => lab.resume_or_boot(&name, &all),
        3 => {
            let middle = usize::try_from(lab.dice.below(count)).unwrap();
            lab.part(&all[..middle], &all[middle..]);
        }
        4 => {
            let other = pick(lab);
            lab.deafen(&[name], &[other]);
        }
        _ => lab.heal(),
    }
}
