//! The demo as its user starts it: one program, whatever becomes of its file.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use metallb_test_runner::{main as run, skip, tests};

fn main() -> ExitCode {
    run(tests![
        a_demo_goes_on_when_its_program_is_built_again,
        a_single_node_is_not_killed,
    ])
}

/// The demo by a copy of the program; `started` is called when the lab runs. Returns what was said.
fn demo(args: &[&str], started: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("metallb-lab");
    // Not by this process: while it writes, another test may start a child, which then keeps the file open for writing.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_metallb-lab"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut child = Command::new(&program)
        .args(["demo", "--router", "builtin"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    if text.contains("lab started") {
        started(&program);
    }
    out.read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    let good = child.wait().unwrap().success();
    if text.contains("cannot create namespaces") {
        skip(text);
    }
    assert!(good, "{text}");
    text
}

fn a_demo_goes_on_when_its_program_is_built_again() {
    let text = demo(&[], |program| {
        // As a linker does it: another file under the same name.
        let other = program.with_extension("new");
        fs::write(&other, "not a program").unwrap();
        fs::rename(&other, program).unwrap();
    });
    assert!(text.contains("15 of 15 steps observed"), "{text}");
}

fn a_single_node_is_not_killed() {
    let text = demo(&["--nodes", "1"], |_| ());
    assert!(text.contains("13 of 13 steps observed"), "{text}");
}
