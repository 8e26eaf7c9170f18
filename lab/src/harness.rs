//! A test runner whose tests run inside the lab's namespaces.
//!
//! A process with threads cannot enter a user namespace, and the usual harness has threads before any test runs. So a
//! test target with `harness = false` calls [`main`], which re-executes itself once per test, and takes the flags of
//! the usual harness (names to filter by, `--exact`, `--list`, `--skip`).

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::entry::{Inside, Launch, Role, entry, launch};
use crate::lab::Options;
use crate::products;

/// Runs exactly one test, in this process: what the harness starts itself with.
const ONE: &str = "__test";
/// The folder of the binaries, found and built once for all tests.
const BINARIES: &str = "METALLB_LAB_BIN_DIR";

type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// One test: its name, why it cannot run here, and what it does inside.
pub struct Test {
    /// The name, a claim.
    pub name: &'static str,
    /// Says why this machine cannot run it; `None` when it can.
    pub skip: fn() -> Option<String>,
    /// The test; it starts its own [`crate::Lab`].
    pub body: fn(Inside, Options) -> Outcome,
}

/// Runs the tests that the command line asks for. Must be called first thing in `main`.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    let ran = entry().and_then(|role| match role {
        Role::Inside(inside) => inside_one(inside, tests),
        Role::Outer => outer(tests),
    });
    ran.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn outer(tests: &[Test]) -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = args.as_slice()
        && flag == ONE
    {
        return start_one(name);
    }
    let chosen = choose(tests, &args);
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|test| println!("{}: test", test.name));
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nrunning {} tests", chosen.len());
    let given = std::env::var_os(BINARIES).map(PathBuf::from);
    let runnable = chosen.iter().any(|test| (test.skip)().is_none());
    let binaries = if runnable {
        products::folder(given.as_deref())?
    } else {
        PathBuf::new()
    };
    let count = |wanted: Verdict, all: &[Verdict]| all.iter().filter(|verdict| **verdict == wanted).count();
    let verdicts: Vec<Verdict> = chosen.iter().map(|test| run(test, &binaries)).collect();
    let (passed, failed) = (count(Verdict::Passed, &verdicts), count(Verdict::Failed, &verdicts));
    let skipped = count(Verdict::Skipped, &verdicts);
    // The closing line of the usual harness, which tools look for.
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; {} filtered out\n",
        if failed == 0 { "ok" } else { "FAILED" },
        tests.len() - chosen.len(),
    );
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

fn choose<'a>(tests: &'a [Test], args: &[String]) -> Vec<&'a Test> {
    let exact = args.iter().any(|arg| arg == "--exact");
    let matches = |test: &Test, word: &String| {
        if exact {
            test.name == word
        } else {
            test.name.contains(word.as_str())
        }
    };
    let skipped: Vec<&String> = args
        .windows(2)
        .filter(|pair| pair[0] == "--skip")
        .map(|pair| &pair[1])
        .collect();
    // `--ignored` asks for the expensive ones of the usual harness; there are none here.
    let none = args.iter().any(|arg| arg == "--ignored");
    let mut names = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--skip" | "--test-threads" | "--format" | "--color" | "-Z" => drop(words.next()),
            flag if flag.starts_with('-') => {}
            _ => names.push(word),
        }
    }
    tests
        .iter()
        .filter(|test| !none && (names.is_empty() || names.iter().any(|name| matches(test, name))))
        .filter(|test| !skipped.iter().any(|name| matches(test, name)))
        .collect()
}

fn run(test: &Test, binaries: &std::path::Path) -> Verdict {
    if let Some(reason) = (test.skip)() {
        println!("test {} ... ignored, {reason}", test.name);
        return Verdict::Skipped;
    }
    let began = Instant::now();
    let status = Command::new("/proc/self/exe")
        .args([ONE, test.name])
        .env(BINARIES, binaries)
        .status();
    let verdict = if status.is_ok_and(|status| status.success()) {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let word = if verdict == Verdict::Passed { "ok" } else { "FAILED" };
    println!("test {} ... {word} ({:.2?})", test.name, began.elapsed());
    verdict
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
    let Some(test) = tests.iter().find(|test| test.name == name) else {
        bail!("there is no test {name}")
    };
    let options = Options::new(std::env::var_os(BINARIES).unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on((test.body)(inside, options))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let test = |name| Test {
            name,
            skip: || None,
            body: |_, _| Box::pin(async { Ok(()) }),
        };
        let tests = [test("one"), test("only"), test("two")];
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        choose(&tests, &args).iter().map(|test| test.name).collect()
    }

    #[test]
    fn names_filter_as_in_the_usual_harness() {
        assert_eq!(names(&[]), ["one", "only", "two"]);
        assert_eq!(names(&["on", "--nocapture"]), ["one", "only"]);
        assert_eq!(names(&["on", "--skip", "only", "--test-threads", "1"]), ["one"]);
        assert_eq!(names(&["--exact", "one"]), ["one"]);
        assert!(names(&["--ignored"]).is_empty());
    }
}
