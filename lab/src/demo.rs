//! The demonstration: from a MetalLB resource to an ARP reply and a BGP route, step by step, each observed and timed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::lab::{Lab, log_files};
use crate::steps::{Addresses, Steps, join};

/// Where a refusal's text is cut on the progress line; the summary has it whole.
const LINE: usize = 160;

/// One observed step.
struct Line {
    title: &'static str,
    took: Duration,
    seen: Result<String>,
}

/// Narrates steps, and remembers them for the summary.
#[derive(Default)]
pub(crate) struct Narrator {
    lines: Vec<Line>,
}

impl Narrator {
    /// Performs one step and tells about it.
    pub(crate) async fn step<T>(
        &mut self,
        title: &'static str,
        step: impl Future<Output = Result<T>>,
        tell: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let began = Instant::now();
        let done = step.await;
        let took = began.elapsed();
        let (value, seen) = match done {
            Ok(value) => {
                let seen = tell(&value);
                (Some(value), Ok(seen))
            }
            Err(error) => (None, Err(error)),
        };
        self.tell(Line { title, took, seen });
        value
    }

    fn tell(&mut self, line: Line) {
        let number = self.lines.len() + 1;
        let (mark, text) = match &line.seen {
            Ok(seen) => ("ok  ", shorten(seen)),
            Err(error) => ("FAIL", format!("{error:#}")),
        };
        println!("{number:>2}  {mark} {:>7}  {}: {text}", time(line.took), line.title);
        self.lines.push(line);
    }

    fn all_seen(&self) -> bool {
        self.lines.iter().all(|line| line.seen.is_ok())
    }

    fn summary(&self, total: Duration) -> String {
        let width = self.lines.iter().map(|line| line.title.len()).max().unwrap_or(0);
        let mut text = String::from("\nSummary\n");
        for line in &self.lines {
            let mark = if line.seen.is_ok() { "seen" } else { "NOT SEEN" };
            let _ = writeln!(text, "  {:<width$}  {:>8}  {mark}", line.title, time(line.took));
        }
        let seen = self.lines.iter().filter(|line| line.seen.is_ok()).count();
        let _ = writeln!(
            text,
            "  {seen} of {} steps observed in {}",
            self.lines.len(),
            time(total)
        );
        text
    }
}

/// Runs the demonstration on the lab of `nodes` nodes that `start` starts in `dir`.
pub(crate) async fn run(dir: &Path, nodes: u8, start: impl Future<Output = Result<Lab>>) -> Result<ExitCode> {
    let began = Instant::now();
    let mut narrator = Narrator::default();
    let started = narrator
        .step("lab started", start, |lab| {
            format!("API server, {nodes} nodes, client; router is {}", lab.router().name())
        })
        .await;
    let Some(lab) = started else {
        return Ok(ExitCode::FAILURE);
    };
    let finished = play(&lab, &mut narrator).await;
    lab.stop().await;
    print!("{}", narrator.summary(began.elapsed()));
    if finished.is_some() && narrator.all_seen() {
        return Ok(ExitCode::SUCCESS);
    }
    show_logs(dir)?;
    Ok(ExitCode::FAILURE)
}

/// The scenes; ends early when one that others stand on fails.
async fn play(lab: &Lab, narrator: &mut Narrator) -> Option<()> {
    let steps = Steps::new(lab);
    narrator.step("CRDs applied", steps.apply_crds(), String::clone).await?;
    narrator
        .step("operator installed", steps.install_operator(), String::clone)
        .await?;
    narrator
        .step("MetalLB created", steps.create_metallb(), String::clone)
        .await?;
    narrator
        .step("configuration applied", steps.configure(), String::clone)
        .await?;
    narrator
        .step("bad pool refused", steps.try_bad_pool(), String::clone)
        .await;
    narrator
        .step("bad peer refused", steps.try_bad_peer(), String::clone)
        .await;
    narrator
        .step("backends started", steps.start_backends(), String::clone)
        .await?;
    let addresses = narrator
        .step("Services have addresses", steps.create_services(), |found| {
            format!("{} from pool layer2, {} from pool bgp", found.layer2, found.bgp)
        })
        .await?;
    let announcer = narrator
        .step("layer-2 address answers", steps.request(addresses.layer2), |reply| {
            format!(
                "{} is announced by {}, which reached pod {}",
                addresses.layer2, reply.via, reply.pod
            )
        })
        .await;
    bgp(lab, narrator, addresses).await;
    let left = lab.topology().nodes.len() - 1;
    if left == 0 {
        println!("    (one node: none is killed)");
    } else if let Some(announcer) = announcer {
        narrator
            .step(
                "announcing node killed",
                steps.fail_over(&announcer.via, addresses.layer2),
                |(outage, reply)| {
                    let (from, to) = (&announcer.via, &reply.via);
                    format!(
                        "{} moved from {from} to {to}; the client saw an outage of {}",
                        addresses.layer2,
                        time(*outage)
                    )
                },
            )
            .await;
        narrator
            .step(
                "dead node's route withdrawn",
                steps.next_hops(addresses.bgp, left),
                |hops| format!("{}/32 via {}", addresses.bgp, join(hops)),
            )
            .await;
    }
    narrator
        .step("MetalLB deleted", steps.delete_metallb(addresses), String::clone)
        .await
        .map(drop)
}

async fn bgp(lab: &Lab, narrator: &mut Narrator, addresses: Addresses) {
    let (steps, nodes) = (Steps::new(lab), lab.topology().nodes.len());
    narrator
        .step(
            "router has the BGP route",
            steps.next_hops(addresses.bgp, nodes),
            |hops| format!("{}/32 via {}", addresses.bgp, join(hops)),
        )
        .await;
    let spread = async {
        let by = steps.spread(addresses.bgp).await?;
        ensure!(by.len() == nodes, "requests came by {} of {nodes} nodes", by.len());
        Ok(by)
    };
    let tell = |by: &std::collections::BTreeMap<String, usize>| {
        join(by.iter().map(|(node, count)| format!("{node} {count}×")))
    };
    narrator.step("requests spread over nodes", spread, tell).await;
}

/// The last lines of every log, which vanish with the lab.
fn show_logs(dir: &Path) -> Result<()> {
    const LAST: usize = 15;
    for path in log_files(dir) {
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        println!("\n{}", path.strip_prefix(dir).unwrap_or(&path).display());
        for line in lines.iter().skip(lines.len().saturating_sub(LAST)) {
            println!("  {line}");
        }
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= LINE {
        return text.to_owned();
    }
    text.chars().take(LINE - 1).chain(['…']).collect()
}

pub(crate) fn time(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_is_not_observed_is_told_and_counted() {
        let mut narrator = Narrator::default();
        narrator.step("one", async { Ok(1) }, ToString::to_string).await;
        narrator.step("two", async { anyhow::bail!("no") }, String::clone).await;
        assert!(!narrator.all_seen());
        assert!(
            narrator
                .summary(Duration::from_millis(1500))
                .contains("1 of 2 steps observed in 1.50 s")
        );
    }
}
