//! A cluster is read as files are. The API server is a stub that knows the objects of a file of `tests/cases`, forbids what it
//! is told to, and keeps what it was asked.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/cluster.yaml");

struct Stub {
    objects: Vec<Value>,
    forbidden: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Stub {
    /// Answers one list of one resource.
    fn answer(&self, request: &str) -> (u16, Value) {
        self.asked.lock().unwrap().push(request.to_owned());
        let path = request.split(' ').nth(1).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let resource = path.rsplit('/').next().unwrap();
        if resource == self.forbidden {
            let message = format!("{resource} is forbidden: User \"mia\" cannot list resource \"{resource}\"");
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message});
            return (403, status);
        }
        let version = path
            .trim_start_matches("/apis/")
            .trim_start_matches("/api/")
            .trim_end_matches(resource)
            .trim_end_matches("namespaces/metallb-system/");
        let plural = |object: &Value| {
            format!("{}s", object["kind"].as_str().unwrap().to_lowercase()).replace("communitys", "communities")
        };
        let ours = |object: &&Value| {
            let labelled = !query.contains("app%3Dmetallb") || object.pointer("/metadata/labels/app").is_some();
            plural(object) == resource && object["apiVersion"] == version.trim_end_matches('/') && labelled
        };
        let items: Vec<&Value> = self.objects.iter().filter(ours).collect();
        (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}),
        )
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line);
            }
            let (code, body) = self.answer(&lines[0]);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            reader.get_mut().write_all((head + &body).as_bytes())?;
        }
    }
}

/// Explains the Service `shop/web` online; returns text, exit code and what was asked.
fn explained(forbidden: &'static str) -> (String, Option<i32>, Vec<String>) {
    // The namespace is that of the context.
    ran(CLUSTER, forbidden, &["explain", "svc", "web"])
}

/// Runs a command where these objects are; returns text, exit code and what was asked.
fn ran(cluster: &str, forbidden: &'static str, arguments: &[&str]) -> (String, Option<i32>, Vec<String>) {
    let text = std::fs::read_to_string(cluster).unwrap();
    let stub = Arc::new(Stub {
        objects: serde_saphyr::from_multiple(&text).unwrap(),
        forbidden,
        asked: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::clone(&stub);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.serve(stream));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}], "users": [{"name": "u", "user": {}}]});
    std::fs::write(&path, config.to_string()).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"))
        .args(arguments)
        .arg("--kubeconfig")
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    let asked = stub.asked.lock().unwrap().clone();
    (text, out.status.code(), asked)
}

fn without_last_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("Rests on: ")).collect();
    lines.join("\n")
}

// CLI-16, CLI-10
#[test]
fn a_cluster_is_explained_as_its_dump_is_and_only_lists_are_asked_for() {
    let (text, code, asked) = explained("nothing");
    let case = Path::new(CLUSTER).parent().unwrap().join("explain-web/expected.txt");
    let offline = std::fs::read_to_string(case).unwrap();
    assert_eq!(without_last_line(&text), without_last_line(&offline));
    assert_eq!(code, Some(0));
    assert!(asked.len() > 10, "{asked:#?}");
    // Not of all namespaces: the role metallb-viewer allows them in MetalLB's.
    for workload in ["/pods", "/deployments", "/daemonsets"] {
        let mut asked = asked.iter().filter(|request| request.contains(workload));
        assert!(
            asked.all(|request| request.contains("/namespaces/metallb-system/")),
            "{workload}"
        );
    }
    assert!(
        asked
            .iter()
            .all(|request| request.starts_with("GET ") && !request.contains("secret")),
        "{asked:#?}"
    );
}

#[test]
fn a_plan_reads_a_cluster_as_its_dump_and_writes_nothing() {
    let cases = Path::new(CLUSTER).parent().unwrap();
    let cluster = cases.join("planned.yaml").display().to_string();
    let file = cases.join("plan-shrunk/pools.yaml").display().to_string();
    let arguments = ["plan", file.as_str(), "--delete", "BGPPeer/tor-2"];
    let (text, code, asked) = ran(&cluster, "nothing", &arguments);
    let offline = std::fs::read_to_string(cases.join("plan-shrunk/expected.txt")).unwrap();
    assert_eq!(without_last_line(&text), without_last_line(&offline));
    assert_eq!(code, Some(1));
    assert!(
        asked
            .iter()
            .all(|request| request.starts_with("GET ") && !request.contains("secret")),
        "{asked:#?}"
    );
    let (text, code, _) = ran(&cluster, "bgppeers", &arguments);
    assert_eq!(code, Some(3), "{text}");
    let (text, code, _) = ran(&cluster, "nodes", &arguments);
    assert!(code == Some(1) && text.contains("Layer 2    ?"), "{text}");
}

// CLI-4
#[test]
fn what_is_forbidden_is_named_and_never_taken_for_good() {
    let mut told = BTreeMap::new();
    for resource in [
        "services",
        "ipaddresspools",
        "l2advertisements",
        "bgpadvertisements",
        "bgppeers",
        "communities",
    ] {
        told.insert(resource, Some(3));
    }
    for resource in [
        "nodes",
        "namespaces",
        "endpointslices",
        "pods",
        "deployments",
        "daemonsets",
    ] {
        told.insert(resource, Some(0));
    }
    for (resource, wanted) in told {
        let (text, code, _) = explained(resource);
        assert_eq!(code, wanted, "{resource}: {text}");
        let says = text.contains("cannot list resource") || text.contains("Assumed: ");
        assert!(says, "{resource}: {text}");
        assert!(
            !(wanted == Some(3) || resource == "nodes") || !text.contains('✓'),
            "{resource}: {text}"
        );
    }
}
