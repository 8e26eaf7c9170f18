//! What kubectl is told when somebody presses the tabulator key.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

/// Two Services of namespace `shop`, one of them with an address of its own.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut request = String::new();
    lines.read_line(&mut request)?;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 2 {
        line.clear();
    }
    let service =
        |name: &str, kind: &str| json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": { "type": kind } });
    let items = match request.starts_with("GET /api/v1/namespaces/shop/services?") {
        true => vec![service("web", "LoadBalancer"), service("wire", "ClusterIP")],
        false => vec![],
    };
    let body = json!({ "kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": items }).to_string();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    lines.get_mut().write_all(text.as_bytes())
}

/// Asks as kubectl does, with a cluster that serves connections so.
fn completed(words: &[&str], serve: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(serve));
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u", "namespace": "shop" } }],
        "clusters": [{ "name": "c", "cluster": { "server": server } }], "users": [{ "name": "u", "user": {} }] });
    std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
    let program = folder.path().join("kubectl_complete-metallb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-metallb"), &program).unwrap();
    let out = Command::new(program)
        .args(words)
        .env("KUBECONFIG", folder.path().join("config"))
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

// CLI-50
#[test]
fn services_with_addresses_are_named() {
    let serve = |stream| answer(stream).unwrap();
    assert_eq!(completed(&["explain", "svc", "w"], serve), "web\n:4\n");
    assert_eq!(completed(&["explain", "svc", "shop/w"], serve), "shop/web\n:4\n");
    assert_eq!(completed(&["explain", "svc", "-n", "shop", ""], serve), "web\n:4\n");
    assert_eq!(completed(&["explain", "svc", "--namespace", "none", ""], serve), ":4\n");
}

// CLI-50
#[test]
fn a_silent_cluster_is_not_waited_for() {
    // Held open as long as the test lasts, and each request may take longer than anybody would wait for a test.
    let silent = |stream| std::mem::forget::<TcpStream>(stream);
    let words = ["explain", "svc", "--request-timeout", "600m", ""];
    assert_eq!(completed(&words, silent), ":4\n");
}
