//! How benches print what they have found.

use std::fs;
use std::time::Duration;

use anyhow::Result;

/// Prints how a number of waits are spread, beside the goal in milliseconds.
pub fn report(what: &str, mut took: Vec<Duration>, goal: u64) {
    took.sort_unstable();
    let at = |percent: usize| {
        took.get((took.len() * percent / 100).min(took.len() - 1))
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: median {:?}, p90 {:?}, worst {:?} of {} (goal {goal} ms)",
        at(50),
        at(90),
        at(100),
        took.len()
    );
}

/// Prints the resident memory of every process of that program in the lab.
///
/// # Errors
/// When /proc cannot be read.
pub fn weigh(program: &str) -> Result<()> {
    let short = program.trim_start_matches("metallb-");
    for entry in fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        let first = command.split('\0').next().unwrap_or_default();
        let ours = first == format!("/{short}") || (first == "/manager" && short == "operator");
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned))
        };
        if let (true, Some(all), Some(own)) = (ours, field("VmRSS:"), field("RssAnon:")) {
            println!("{program}: resident {all}, of which its own (not mapped from its file) {own}");
        }
    }
    Ok(())
}
