//! A cluster is read as files are. The API server is a stub that knows the objects of `tests/cases/cluster.yaml`, forbids what it
//! is told to, and keeps what it was asked. It leads to speakers that say what `tests/cases/bgp-peers/inspect` holds; that of node-e
//! never answers.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
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
    /// Paths that were asked for with the token of speakers.
    proxied: Mutex<Vec<String>>,
}

impl Stub {
    /// Answers one list of one resource, gives a token, or leads to a speaker.
    fn answer(&self, lines: &[String]) -> (u16, Value) {
        let request = &lines[0];
        self.asked.lock().unwrap().push(request.clone());
        let path = request.split(' ').nth(1).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if path.ends_with("/serviceaccounts/metallb-inspect/token") {
            let status = json!({"token": "t0k3n", "expirationTimestamp": "2026-09-01T14:12:11Z"});
            let spec = json!({"audiences": ["metallb.io"]});
            let made = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec, "status": status});
            let failed = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"});
            return match self.forbidden {
                "token" => (403, failed(403)),
                "account" => (404, failed(404)),
                _ => (201, made),
            };
        }
        if let Some((_, rest)) = path.split_once("/pods/https:speaker-") {
            let (speaker, path) = rest.split_once(":9120/proxy/inspect/v1").unwrap();
            return self.say(speaker, path, lines);
        }
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

    fn say(&self, speaker: &str, path: &str, lines: &[String]) -> (u16, Value) {
        assert!(
            lines
                .iter()
                .any(|line| line.to_lowercase().trim() == "x-metallb-token: t0k3n"),
            "{lines:?}"
        );
        assert!(
            !lines
                .iter()
                .any(|line| line.to_lowercase().starts_with("authorization")),
            "{lines:?}"
        );
        if speaker == "e" {
            // Longer than anybody waits.
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        let mut proxied = self.proxied.lock().unwrap();
        proxied.push(format!("{speaker}{path}"));
        // The first is told to come again.
        if proxied.len() == 1 {
            return (429, json!("others are asking"));
        }
        let file = format!(
            "bgp-peers/inspect/speaker-node-{speaker}/{}.json",
            path[1..].replace('/', "-")
        );
        let text = std::fs::read_to_string(Path::new(CLUSTER).with_file_name(file)).unwrap();
        (200, serde_json::from_str(&text).unwrap())
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
            let length = lines
                .iter()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            reader.read_exact(&mut vec![0; length])?;
            let (code, body) = self.answer(&lines);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            reader.get_mut().write_all((head + &body).as_bytes())?;
        }
    }
}

/// Explains the Service `shop/web` online, by objects alone; returns text, exit code and what was asked.
fn explained(forbidden: &'static str) -> (String, Option<i32>, Vec<String>) {
    let (text, code, stub) = ran(forbidden, &["explain", "svc", "web", "--via", "none"]);
    let asked = stub.asked.lock().unwrap().clone();
    (text, code, asked)
}

fn ran(forbidden: &'static str, command: &[&str]) -> (String, Option<i32>, Arc<Stub>) {
    let text = std::fs::read_to_string(CLUSTER).unwrap();
    let stub = Arc::new(Stub {
        objects: serde_saphyr::from_multiple(&text).unwrap(),
        forbidden,
        asked: Mutex::default(),
        proxied: Mutex::default(),
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
    // The namespace is that of the context.
    let out = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"))
        .args(command)
        .arg("--kubeconfig")
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    (text, out.status.code(), stub)
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

fn expected(case: &str) -> String {
    std::fs::read_to_string(Path::new(CLUSTER).with_file_name(format!("{case}/expected.txt"))).unwrap()
}

// CLI-5, CLI-10
#[test]
fn speakers_are_asked_at_once_and_one_that_never_answers_is_named_and_costs_the_timeout_once() {
    let begun = std::time::Instant::now();
    let (text, code, stub) = ran("nothing", &["explain", "svc", "web", "--request-timeout", "5s"]);
    // One after the other, or twice, would take longer.
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let silent = "1 of 5: node-e: no answer within 5s";
    let offline = expected("explain-sent").replace("1 of 5: node-e: no answer of it is in the input", silent);
    // Ages are told by the time of now.
    let plain = |text: &str| {
        without_last_line(text)
            .split("Active for")
            .map(|part| part.split_once(':').unwrap_or(("", part)).1.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(&text), plain(&offline));
    assert_eq!(code, Some(1));
    let proxied = stub.proxied.lock().unwrap().clone();
    assert_eq!(
        proxied.iter().filter(|path| *path == &proxied[0]).count(),
        2,
        "{proxied:?}"
    );
    let asked = stub.asked.lock().unwrap().clone();
    let writes: Vec<&String> = asked.iter().filter(|request| !request.starts_with("GET ")).collect();
    let token = "POST /api/v1/namespaces/metallb-system/serviceaccounts/metallb-inspect/token";
    assert!(matches!(writes[..], [only] if only.starts_with(token)), "{writes:?}");
    // Of all routes those alone that the Service may have.
    let routes = asked.iter().filter(|request| request.contains("/bgp/routes"));
    assert!(
        routes.clone().count() > 3 && routes.clone().all(|request| request.contains("prefix=192.0.2.10/32")),
        "{asked:#?}"
    );
}

// CLI-9, CLI-64
#[test]
fn without_a_looking_glass_the_objects_are_told_with_the_reason() {
    for (forbidden, why) in [
        ("token", "no token is given to ask them with"),
        ("account", "ServiceAccount metallb-system/metallb-inspect is missing"),
    ] {
        let (text, code, stub) = ran(forbidden, &["bgp", "routes", "web"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains(why) && text.contains("routes are those decided"),
            "{text}"
        );
        assert!(stub.proxied.lock().unwrap().is_empty());
    }
}

#[test]
fn sessions_are_told_through_the_api_server_as_from_a_dump() {
    let (text, code, _) = ran(
        "nothing",
        &["bgp", "peers", "tor-1", "--node", "node-a", "--request-timeout", "5s"],
    );
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("node-a  tor-1  198.51.100.241  64501  Established"),
        "{text}"
    );
    assert!(text.contains("1 of 1 speaker answered"), "{text}");
}
