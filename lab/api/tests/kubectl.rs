//! The real `kubectl` over a loopback listener, where it is installed.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use metallb_lab_api::Options;
use metallb_test_runner::{main as run, skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    run(tests![everyday_kubectl_works])
}

/// Checks whether `kubectl` succeeds, and that it says what is `expected`.
#[track_caller]
fn kubectl(home: &tempfile::TempDir, succeeds: bool, command: &str, input: &str, expected: &str) {
    let mut program = Command::new("kubectl");
    program.args(command.split_whitespace()).env("HOME", home.path());
    program.env("KUBECONFIG", home.path().join("kubeconfig"));
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let Ok(mut child) = program.spawn() else {
        skip("kubectl is not installed")
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let good = output.status.success() == succeeds;
    assert!(
        good && said.contains(expected),
        "kubectl {command}: wanted {expected:?}, got {said}"
    );
}

async fn everyday_kubectl_works() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
        dir: dir.path().to_owned(),
        ..Options::default()
    };
    let _server = metallb_lab_api::start(options).await.unwrap();
    let does = |command: &str, input: &str, expected: &str| kubectl(&dir, true, command, input, expected);
    let refuses = |command: &str, input: &str, expected: &str| kubectl(&dir, false, command, input, expected);
    let crd = include_str!("widget.json");
    does("apply -f -", crd, "widgets.lab.test created");
    does("apply -f -", crd, "unchanged");
    does("apply --server-side -f -", crd, "serverside-applied");
    let widget = |spec: serde_json::Value| {
        json!({"apiVersion": "lab.test/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}).to_string()
    };
    let good = widget(json!({"addresses": ["x"]}));
    does("apply -f -", &good, "widget.lab.test/a created");
    does("apply -f -", &good, "widget.lab.test/a unchanged");
    let misspelt = widget(json!({"addresses": ["x"], "prot": 1}));
    refuses("apply -f -", &misspelt, "unknown field \"spec.prot\"");
    does("get wd", "", "179");
    does("describe wd a", "", "Addresses:");
    does("patch wd a --type=merge -p {\"spec\":{\"port\":9}}", "", "patched");
    does("get wd a -o jsonpath={.spec.port}", "", "9");
    does("delete wd a", "", "deleted");
    refuses("get wd a", "", "widgets.lab.test \"a\" not found");
    let service = |kind: &str| {
        let spec = json!({"type": kind, "ports": [{"port": 80}], "selector": {"app": "web"}});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}).to_string()
    };
    does("apply -f -", &service("ClusterIP"), "service/web created");
    does("apply -f -", &service("LoadBalancer"), "service/web configured");
    does("get services", "", "LoadBalancer");
    does("describe service web", "", "LoadBalancer");
    does("annotate service web metallb.io/address-pool=p", "", "annotated");
    does("get all,events,leases,nodes,crd -A", "", "service/web");
    does("delete service web", "", "deleted");
}
