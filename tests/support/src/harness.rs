//! A test runner whose tests run inside the lab's namespaces, on one control plane after the other.
//!
//! A process with threads cannot enter a user namespace, and the usual harness has threads before any test runs. So a
//! test target with `harness = false` calls [`main`], which re-executes itself once per test and control plane, and
//! takes the flags of the usual harness (names to filter by, `--exact`, `--list`, `--skip`). A name is a claim and what
//! it was judged by: `the_whole_path_works_with_frr [kubernetes 1.36]`.
//!
//! On a real control plane a test fails, too, when the product was refused a request that its Roles do not grant.

mod rights;

pub(crate) use rights::judge_until_now;
mod select;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use metallb_lab::{Inside, Launch, Programs, Role};

use crate::image::image;
use crate::kind::ClusterKind;
use crate::lab::Options;
use crate::stages::{entry, launch};
use select::Selection;

/// Runs exactly one test, in this process: what the harness starts itself with.
const ONE: &str = "__test";
/// The name of no test: asks whether this machine has the namespaces that a lab is made of.
const PROBE: &str = "__namespaces";
/// The product's image for real nodes, built once for all tests.
const IMAGE: &str = "METALLB_LAB_IMAGE";
/// A folder of other builds of the product; what is linked into the tests when not set.
const BINARIES: &str = "METALLB_LAB_BIN_DIR";

type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// One test: its name, where it runs, and what it does inside.
pub struct Test {
    /// The name, a claim.
    pub name: &'static str,
    /// The control planes that it runs on, each for itself; handed over in [`Options`].
    pub on: &'static [ClusterKind],
    /// Says why this machine cannot run it; `None` when it can.
    pub skip: fn() -> Option<String>,
    /// The test; it starts its own [`crate::Lab`].
    pub body: fn(Inside, Options) -> Outcome,
}

/// One test on one control plane.
#[derive(Clone, Copy)]
struct Case<'a> {
    test: &'a Test,
    on: ClusterKind,
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("{} [{}]", self.test.name, self.on)
    }

    fn obstacle(&self) -> Option<String> {
        (self.test.skip)()
            .or_else(|| self.on.obstacle())
            .or_else(|| NO_NAMESPACES.clone())
    }
}

/// Why this machine has not the namespaces that a lab is made of.
static NO_NAMESPACES: LazyLock<Option<String>> = LazyLock::new(|| {
    let probe = Command::new("/proc/self/exe").args([ONE, PROBE]).output().ok()?;
    let said = String::from_utf8_lossy(&probe.stderr);
    let refused = ["cannot create namespaces", "cannot make the mounts private"];
    let line = said
        .lines()
        .find(|line| refused.iter().any(|words| line.contains(words)));
    line.filter(|_| !probe.status.success()).map(str::to_owned)
});

fn cases(tests: &[Test]) -> impl Iterator<Item = Case<'_>> {
    let each = |test| move |on: &ClusterKind| Case { test, on: *on };
    tests.iter().flat_map(move |test| test.on.iter().map(each(test)))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// Runs the tests that the command line asks for. Must be called first thing in `main`.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    run(tests, false)
}

/// Like [`main`], for tests that use every right of the product on a real control plane: if all ran and passed, a right
/// that was not used, for no reason that is known, is a failure.
#[must_use]
pub fn main_proving_rights(tests: &[Test]) -> ExitCode {
    run(tests, true)
}

fn run(tests: &[Test], proving_rights: bool) -> ExitCode {
    let ran = entry().and_then(|role| match role {
        Role::Inside(inside) => inside_one(inside, tests),
        Role::Outer => outer(tests, proving_rights),
        Role::Ended(code) => Ok(code),
    });
    ran.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn outer(tests: &[Test], proving_rights: bool) -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = args.as_slice()
        && flag == ONE
    {
        return start_one(name);
    }
    let selection = Selection::parse(args);
    let chosen: Vec<Case<'_>> = cases(tests).filter(|case| selection.has(&case.name())).collect();
    if selection.list {
        chosen.iter().for_each(|case| println!("{}: test", case.name()));
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nrunning {} tests", chosen.len());
    let whole = chosen.len() == cases(tests).count();
    let log = rights::begin()?;
    let ran = Runner::new(&chosen, &log)?.run(&chosen);
    let count = |wanted| ran.iter().filter(|(_, verdict)| *verdict == wanted).count();
    let (passed, failed, skipped) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Skipped));
    per_control_plane(&ran);
    rights::report(&log)?;
    let real = ran
        .iter()
        .any(|(case, verdict)| case.on != ClusterKind::Embedded && *verdict == Verdict::Passed);
    let proven = match proving_rights && whole && failed == 0 && real {
        true => rights::prove(&log),
        false => Ok(()),
    };
    if let Err(error) = &proven {
        println!("{error:#}");
    }
    let good = failed == 0 && proven.is_ok();
    // The closing line of the usual harness, which tools look for.
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; {} filtered out\n",
        if good { "ok" } else { "FAILED" },
        cases(tests).count() - chosen.len(),
    );
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says how many passed on each control plane.
fn per_control_plane(ran: &[(Case<'_>, Verdict)]) {
    let mut passed: BTreeMap<ClusterKind, (usize, usize)> = BTreeMap::new();
    for (case, verdict) in ran.iter().filter(|(_, verdict)| *verdict != Verdict::Skipped) {
        let (good, all) = passed.entry(case.on).or_default();
        *good += usize::from(*verdict == Verdict::Passed);
        *all += 1;
    }
    let words: Vec<String> = passed
        .iter()
        .map(|(on, (good, all))| format!("{good} of {all} on {on}"))
        .collect();
    if !words.is_empty() {
        println!("\npassed: {}", words.join(", "));
    }
}

/// What all tests need, made once.
struct Runner<'a> {
    /// Why a control plane could not be made.
    broken: BTreeMap<ClusterKind, String>,
    image: PathBuf,
    rights: &'a Path,
}

impl<'a> Runner<'a> {
    fn new(chosen: &[Case<'_>], rights: &'a Path) -> Result<Self> {
        let runnable: Vec<_> = chosen.iter().filter(|case| case.obstacle().is_none()).collect();
        let (mut broken, mut image) = (BTreeMap::new(), PathBuf::new());
        for on in runnable
            .iter()
            .map(|case| case.on)
            .collect::<std::collections::BTreeSet<_>>()
        {
            let mut prepared = on.prepare();
            if let ClusterKind::Real(_) = on
                && prepared.is_ok()
                && image.as_os_str().is_empty()
            {
                prepared = self::image().map(|archive| image = archive);
            }
            if let Err(error) = prepared {
                broken.insert(on, format!("{error:#}"));
            }
        }
        Ok(Self { broken, image, rights })
    }

    fn run<'c>(&self, chosen: &[Case<'c>]) -> Vec<(Case<'c>, Verdict)> {
        chosen.iter().map(|case| (*case, self.run_one(case))).collect()
    }

    fn run_one(&self, case: &Case<'_>) -> Verdict {
        let name = case.name();
        if let Some(reason) = case.obstacle() {
            println!("test {name} ... ignored, {reason}");
            return Verdict::Skipped;
        }
        if let Some(error) = self.broken.get(&case.on) {
            println!("{error}\ntest {name} ... FAILED");
            return Verdict::Failed;
        }
        let began = Instant::now();
        let status = Command::new("/proc/self/exe")
            .args([ONE, &name])
            .env(rights::LOG, self.rights)
            .env(IMAGE, &self.image)
            .status();
        let good = status.is_ok_and(|status| status.success());
        let word = if good { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.2?})", began.elapsed());
        if good { Verdict::Passed } else { Verdict::Failed }
    }
}

fn start_one(name: &str) -> Result<ExitCode> {
    let dir = tempfile::Builder::new()
        .prefix("metallb-lab-")
        .tempdir()
        .context("cannot make a work directory")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
    launch(Launch {
        dir: dir.path().into(),
        listener,
        args: vec![name.into()],
    })
}

fn inside_one(inside: Inside, tests: &[Test]) -> Result<ExitCode> {
    let name = inside.args.first().cloned().unwrap_or_default();
    if name == PROBE {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(case) = cases(tests).find(|case| case.name() == name) else {
        bail!("there is no test {name}")
    };
    let foreign = std::env::var_os(BINARIES).map(PathBuf::from);
    let options = Options {
        cluster: case.on,
        image: std::env::var_os(IMAGE)
            .map(PathBuf::from)
            .filter(|path| !path.as_os_str().is_empty()),
        ..Options::new(Programs::of(&inside.dir, foreign.as_deref())?)
    };
    let dir = inside.dir.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on((case.test.body)(inside, options));
    // A refused request may be why the test failed: both are told.
    let judged = rights::judge(&dir);
    match (done, judged) {
        (Ok(()), judged) => judged?,
        (Err(error), Ok(())) => return Err(error),
        (Err(error), Err(refused)) => return Err(error.context(format!("{refused:#}"))),
    }
    Ok(ExitCode::SUCCESS)
}
