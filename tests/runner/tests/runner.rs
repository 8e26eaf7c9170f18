//! The runner by itself: re-executed with tests that pass, fail and lack something.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::process::{Command, ExitCode, Output};

use metallb_test_runner::{main as run, skip, tests};

/// Set in the child process, which has other tests.
const EXAMPLE: &str = "METALLB_TEST_RUNNER_EXAMPLE";

mod example {
    pub(crate) fn passes() {}

    pub(crate) async fn lacks_something() {
        metallb_test_runner::skip("no unicorn here");
    }

    pub(crate) fn fails() {
        panic!("{} is not {}", 1, 2);
    }
}

fn main() -> ExitCode {
    if std::env::var_os(EXAMPLE).is_some() {
        return run(tests![example::passes, example::lacks_something, example::fails]);
    }
    run(tests![
        what_is_skipped_is_counted_and_why_is_said,
        a_failure_is_told_and_fails_the_target,
        names_filter_as_in_the_usual_harness,
        a_test_may_skip_from_within_a_namespace,
    ])
}

fn example(args: &[&str]) -> (Output, String) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(args).env(EXAMPLE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn what_is_skipped_is_counted_and_why_is_said() {
    let (output, text) = example(&["--skip", "fails"]);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("example::lacks_something ... ignored (no unicorn here)"),
        "{text}"
    );
    assert!(
        text.contains("test result: ok. 1 passed; 0 failed; 1 ignored"),
        "{text}"
    );
}

fn a_failure_is_told_and_fails_the_target() {
    let (output, text) = example(&[]);
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("1 is not 2") && text.contains("1 passed; 1 failed; 1 ignored"),
        "{text}"
    );
}

fn names_filter_as_in_the_usual_harness() {
    let (output, text) = example(&["--exact", "example::passes"]);
    assert!(
        output.status.success() && text.contains("1 passed; 0 failed; 0 ignored"),
        "{text}"
    );
}

fn a_test_may_skip_from_within_a_namespace() {
    metallb_test_runner::in_namespace(async {
        let child = std::env::args().any(|arg| arg == "--exact");
        if !child {
            skip("this is not the child process");
        }
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
        let links = String::from_utf8_lossy(&links.stdout).lines().count();
        assert!(links <= 4, "{links} interfaces are not a namespace of its own");
    });
}
