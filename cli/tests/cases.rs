//! Every folder of `tests/cases` is a case: a `command`, the files that it reads, and what it prints (`expected.txt`) and ends
//! with (`code`). `METALLB_CLI_EXPECT=write` writes the last two anew, and the examples of `docs/cli` from them.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

fn writes() -> bool {
    std::env::var("METALLB_CLI_EXPECT").is_ok_and(|value| value == "write")
}

/// What a case prints, and its exit code. The version changes, and the time of now.
fn ran(case: &Path) -> (String, String) {
    let command = fs::read_to_string(case.join("command")).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"))
        .args(command.split_whitespace())
        .current_dir(case)
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            if line.starts_with("  \"time\": ") && command.starts_with("lint") {
                "  \"time\": NOW,"
            } else {
                line
            }
        })
        .collect();
    let text = lines.join("\n") + if text.is_empty() { "" } else { "\n" };
    (text, format!("{}\n", out.status.code().unwrap()))
}

// CLI-14 status, CLI-18 explain-clash, CLI-20 explain-one-peer, CLI-21 explain-not-sent, CLI-22 explain-other-class,
// CLI-27 lint-half, CLI-32 plan-nothing, CLI-33 plan-refused and plan-gets, CLI-45 l2-owners-split
#[test]
fn every_case_prints_what_is_expected() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 30, "{} cases", cases.len());
    for case in cases {
        let (text, code) = ran(&case);
        for (name, got) in [("expected.txt", &text), ("code", &code)] {
            let path = case.join(name);
            if writes() {
                fs::write(&path, got).unwrap();
            } else if fs::read_to_string(&path).ok().as_ref() != Some(got) {
                wrong.push(format!("{}:\n{got}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these differ:\n{}", wrong.join("\n"));
}

// CLI-1
#[test]
fn json_and_yaml_are_the_same_value() {
    let read = |name: &str| fs::read_to_string(cases()[0].parent().unwrap().join(name).join("expected.txt")).unwrap();
    for (case, kind) in [
        ("explain-web", "Explanation"),
        ("status", "StatusReport"),
        ("plan-shrunk", "Plan"),
    ] {
        let json: serde_json::Value = serde_json::from_str(&read(&format!("{case}-json"))).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&read(&format!("{case}-yaml"))).unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json["kind"], kind);
    }
}

#[test]
fn no_password_is_shown() {
    for case in cases() {
        let text = fs::read_to_string(case.join("expected.txt")).unwrap();
        assert!(!text.contains("hunter2"), "{}", case.display());
    }
}

// CLI-7
#[test]
fn ascii_and_pipes_are_plain() {
    for case in cases() {
        let text = fs::read_to_string(case.join("expected.txt")).unwrap();
        assert!(!text.contains('\u{1b}'), "{}", case.display());
        let ascii = fs::read_to_string(case.join("command")).unwrap().contains("--ascii");
        assert!(!ascii || text.is_ascii(), "{}", case.display());
    }
}

/// A comment `<!-- case NAME -->` before a block says which case it shows.
#[test]
fn the_documents_show_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs/cli"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.is_file()).chain([root.join("README.md")]);
    let mut shown = 0;
    for path in docs {
        let text = fs::read_to_string(&path).unwrap();
        let mut wanted = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("<!-- case ") {
            let (name, after) = after.split_once(" -->\n").unwrap();
            let (_, after) = after.split_once("```\n").map_or(("", after), |found| found);
            let case = cases()[0].parent().unwrap().join(name);
            let command = fs::read_to_string(case.join("command")).unwrap();
            let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
            wanted += &format!("{before}<!-- case {name} -->\n```console\n$ kubectl metallb {command}{expected}```\n");
            rest = after;
            shown += 1;
        }
        wanted += rest;
        if writes() {
            fs::write(&path, &wanted).unwrap();
        } else {
            assert!(
                text == wanted,
                "{} is out of date: METALLB_CLI_EXPECT=write",
                path.display()
            );
        }
    }
    assert!(shown > 3, "{shown} examples");
}

/// The ids of problems in what a case prints.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let marked = text
        .lines()
        .filter(|line| ["✗ ", "! "].iter().any(|mark| line.starts_with(mark)));
    marked.filter_map(|line| line.split_whitespace().nth(1))
}

// CLI-12
#[test]
fn every_problem_is_described_and_shown_and_a_healthy_cluster_has_none() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/checks.md");
    let docs = fs::read_to_string(docs).unwrap();
    let described = docs.lines().filter_map(|line| {
        let (anchor, id) = line.strip_prefix("## <a id=\"")?.split_once("\"></a>")?;
        assert_eq!(anchor, id.replace('.', "-"));
        Some(id.to_owned())
    });
    let described: BTreeSet<String> = described.collect();
    let mut shown = BTreeSet::new();
    for case in cases() {
        let text = fs::read_to_string(case.join("expected.txt")).unwrap();
        shown.extend(ids(&text).map(str::to_owned));
        if case.ends_with("status-healthy") {
            assert!(
                ids(&text).next().is_none() && text.contains("Problems: none found in "),
                "{text}"
            );
        }
    }
    // `explain svc` tells this one in its verdict.
    shown.insert("control.refused".to_owned());
    assert_eq!(described, shown);
}

// CLI-12
#[test]
fn what_is_said_to_come_next_can_be_run() {
    let mut told = BTreeSet::new();
    for case in cases() {
        let command = fs::read_to_string(case.join("command")).unwrap();
        let text = fs::read_to_string(case.join("expected.txt")).unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        let from = words.windows(2).filter(|pair| pair[0] == "--from").flatten();
        let from: Vec<String> = from.map(|word| (*word).to_owned()).collect();
        for next in text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("→ kubectl metallb "))
        {
            told.insert((case.clone(), from.clone(), next.to_owned()));
        }
    }
    assert!(told.len() > 10, "{told:#?}");
    for (case, from, next) in told {
        let out = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"))
            .args(next.split_whitespace())
            .args(from)
            .current_dir(&case)
            .output()
            .unwrap();
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(
            matches!(out.status.code(), Some(0 | 1)),
            "{}: {next}: {error}",
            case.display()
        );
    }
}

// CLI-3
#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let config = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],\n\
                  clusters: [{name: c, cluster: {server: \"http://127.0.0.1:1\"}}], users: [{name: u, user: {}}]}";
    fs::write(&path, config).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"))
        .args(["explain", "svc", "shop/web", "--request-timeout", "2s", "--kubeconfig"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), text.lines().count()), (Some(3), 1), "{text}");
    assert!(text.contains("127.0.0.1:1"), "{text}");
}
