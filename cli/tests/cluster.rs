//! A cluster is read as files are. The API server is a stub that knows the objects of a file of `tests/cases`, forbids what it
//! is told to, and keeps what it was asked. It leads to speakers that say what `tests/cases/bgp-peers/inspect` holds; that of node-e
//! never answers.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");

struct Stub {
    objects: Mutex<Vec<Value>>,
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
        if self.forbidden == "absent" {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "404"});
            return (404, status);
        }
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
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            plural
                .replace("communitys", "communities")
                .replace("statuss", "statuses")
        };
        let ours = |object: &&Value| {
            let labelled = !query.contains("app%3Dmetallb") || object.pointer("/metadata/labels/app").is_some();
            plural(object) == resource && object["apiVersion"] == version.trim_end_matches('/') && labelled
        };
        let objects = self.objects.lock().unwrap();
        let items: Vec<&Value> = objects.iter().filter(ours).collect();
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
        if self.forbidden == "sessions" {
            return (501, json!("the sessions are FRR's"));
        }
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
        let text = std::fs::read_to_string(Path::new(CASES).join(file)).unwrap();
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

/// A stub that forbids a resource, and a kubeconfig that leads to it.
fn cluster(files: &[&str], forbidden: &'static str) -> (Arc<Stub>, tempfile::TempDir) {
    // The controller of a cluster that is online has renewed its Lease.
    let renewed = |text: String| text.replace("renewTime: \"2026", "renewTime: \"2126");
    let read = |name: &&str| renewed(std::fs::read_to_string(Path::new(CASES).join(name)).unwrap());
    let objects = files
        .iter()
        .map(read)
        .flat_map(|text| serde_saphyr::from_multiple::<Value>(&text).unwrap());
    let stub = Arc::new(Stub {
        objects: Mutex::new(objects.collect()),
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
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}], "users": [{"name": "u", "user": {}}]});
    std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
    (stub, folder)
}

fn program(folder: &tempfile::TempDir, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-metallb"));
    program
        .args(command.split(' '))
        .arg("--kubeconfig")
        .arg(folder.path().join("config"));
    program
}

/// Runs a command online; returns text, exit code and what was asked.
fn ran(command: &str, files: &[&str], forbidden: &'static str) -> (String, Option<i32>, Vec<String>) {
    let (text, code, stub) = asked(command, files, forbidden);
    let asked = stub.asked.lock().unwrap().clone();
    (text, code, asked)
}

/// Runs a command online; returns text, exit code, and who was asked.
fn asked(command: &str, files: &[&str], forbidden: &'static str) -> (String, Option<i32>, Arc<Stub>) {
    let (stub, folder) = cluster(files, forbidden);
    let out = program(&folder, command).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    (text, out.status.code(), stub)
}

/// Explains the Service `web` of the context's namespace, by objects alone.
fn explained(forbidden: &'static str) -> (String, Option<i32>, Vec<String>) {
    ran("explain svc web --via none", &["cluster.yaml"], forbidden)
}

fn without_last_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("Rests on: ")).collect();
    lines.join("\n")
}

// CLI-16, CLI-10
#[test]
fn a_cluster_is_explained_as_its_dump_is_and_only_lists_are_asked_for() {
    let (text, code, asked) = explained("nothing");
    let case = Path::new(CASES).join("explain-web/expected.txt");
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

// CLI-34
#[test]
fn a_plan_reads_a_cluster_as_its_dump_and_writes_nothing() {
    let cases = Path::new(CASES);
    let file = cases.join("plan-shrunk/pools.yaml");
    let command = format!("plan {} --delete BGPPeer/tor-2", file.display());
    let (text, code, asked) = ran(&command, &["planned.yaml"], "nothing");
    let offline = std::fs::read_to_string(cases.join("plan-shrunk/expected.txt")).unwrap();
    assert_eq!(without_last_line(&text), without_last_line(&offline));
    assert_eq!(code, Some(1));
    assert!(
        asked
            .iter()
            .all(|request| request.starts_with("GET ") && !request.contains("secret")),
        "{asked:#?}"
    );
    let (text, code, _) = ran(&command, &["planned.yaml"], "bgppeers");
    assert_eq!(code, Some(3), "{text}");
    let (text, code, _) = ran(&command, &["planned.yaml"], "nodes");
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

/// The rows that a table has under its head, by their first words.
fn rows<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let table = text.lines().skip_while(|line| !line.starts_with(head)).skip(1);
    table.take_while(|line| !line.is_empty()).collect()
}

// CLI-4
#[test]
fn status_says_what_it_could_not_see_and_nothing_good_of_it() {
    let files = ["healthy.yaml"];
    let unknown = |line: &str, column: usize| line.split_whitespace().nth(column) == Some("?");
    for resource in [
        "ipaddresspools",
        "bgppeers",
        "l2advertisements",
        "bgpadvertisements",
        "communities",
    ] {
        let (text, code, _) = ran("status", &files, resource);
        assert_eq!((code, text.lines().count()), (Some(3), 1), "{resource}: {text}");
        assert!(text.contains("cannot list resource"), "{text}");
    }
    for resource in [
        "nodes",
        "services",
        "namespaces",
        "pods",
        "deployments",
        "leases",
        "configurationstates",
        "servicel2statuses",
        "bgpsessionstates",
    ] {
        let (text, code, _) = ran("status", &files, resource);
        assert_eq!(code, Some(0), "{resource}: {text}");
        assert!(
            text.contains(&format!("Not seen: {resource} (forbidden: ")),
            "{resource}: {text}"
        );
        let (nodes, peers) = (rows(&text, "NODE "), rows(&text, "PEER "));
        assert_eq!((nodes.len(), peers.len()), (3, 1), "{resource}: {text}");
        let told = match resource {
            "nodes" => nodes.iter().all(|row| unknown(row, 5)) && unknown(peers[0], 3),
            "pods" => nodes.iter().all(|row| unknown(row, 2)),
            "configurationstates" => nodes.iter().all(|row| unknown(row, 3)) && text.contains("configuration ?"),
            "servicel2statuses" => nodes.iter().all(|row| unknown(row, 4)),
            "bgpsessionstates" => nodes.iter().all(|row| unknown(row, 5) && unknown(row, 6)) && unknown(peers[0], 3),
            "services" => text.contains("?/254") && text.contains("none found in 1 pool, "),
            "deployments" => text.contains("controller  ? ready") && text.contains("webhooks    ?\n"),
            _ => true,
        };
        assert!(told, "{resource}: {text}");
    }
}

#[test]
fn status_reads_from_the_memory_of_the_api_server_and_what_it_needs_alone() {
    let (text, code, asked) = ran("status", &["cluster.yaml", "states.yaml"], "nothing");
    let offline = std::fs::read_to_string(Path::new(CASES).join("status/expected.txt")).unwrap();
    for table in ["NODE ", "POOL ", "PEER "] {
        assert!(rows(&text, table).len() > 1, "{text}");
        assert_eq!(rows(&text, table), rows(&offline, table));
    }
    assert_eq!(code, Some(1), "{text}");
    assert!(
        asked.iter().all(|request| request.contains("resourceVersion=0&")),
        "{asked:#?}"
    );
    assert!(
        !asked.iter().any(|request| request.contains("endpointslices")),
        "{asked:#?}"
    );
}

#[test]
fn a_cluster_without_metallb_is_told_from_one_without_problems() {
    let (text, code, _) = ran("status", &[], "absent");
    assert_eq!(
        (text.as_str(), code),
        (
            "error: no MetalLB here: its CustomResourceDefinitions are missing\n",
            Some(3)
        )
    );
}

// CLI-23
#[test]
fn watching_prints_changes_and_ends_when_the_reader_does() {
    let (stub, folder) = cluster(&["healthy.yaml"], "nothing");
    let mut watching = program(&folder, "status --watch=100ms -q")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || {
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("roblem") || line.contains("node.speaker"))
            .unwrap()
    };
    assert!(next().starts_with("Problems: none found in "));
    for object in stub.objects.lock().unwrap().iter_mut() {
        if object["kind"] == "Pod" && object["metadata"]["name"] == "speaker-b" {
            object["status"]["conditions"][0]["status"] = "False".into();
        }
    }
    assert_eq!(next(), "Problems (1)");
    assert!(next().contains("node-b: its speaker is not Ready"));
    drop(lines);
    // A closed pipe is noticed by writing to it.
    stub.objects.lock().unwrap().clear();
    assert!(watching.wait().unwrap().success());
}

// CLI-4
#[test]
fn the_other_explanations_say_what_they_could_not_see() {
    for (command, resource, code, says) in [
        ("explain ip 192.0.2.10", "services", 3, "Services cannot be listed"),
        ("explain ip 192.0.2.20", "nodes", 0, "Verdict: ? it is free"),
        ("explain pool web", "services", 0, "Verdict: ? ?/254 in use, ? free"),
        ("explain pool web", "nodes", 0, "yes: on ? nodes"),
        (
            "explain pool web",
            "ipaddresspools",
            3,
            "IPAddressPools cannot be listed",
        ),
        ("explain node node-a", "nodes", 3, "Nodes cannot be listed"),
        ("explain node node-a", "endpointslices", 0, "Not seen: endpointslices"),
        (
            "explain node node-a",
            "services",
            0,
            "what it should announce is not known",
        ),
        ("explain node node-a", "pods", 0, "Not seen: pods"),
        ("explain peer tor-1", "nodes", 3, "Nodes cannot be listed"),
        (
            "explain peer tor-1",
            "bgpsessionstates",
            0,
            "Verdict: ? it is not known which sessions are up",
        ),
    ] {
        let (text, ended, _) = ran(command, &["healthy.yaml"], resource);
        assert_eq!(ended, Some(code), "{command} without {resource}: {text}");
        assert!(text.contains(says), "{command} without {resource}: {text}");
        assert!(!text.contains("Verdict: ✓"), "{command} without {resource}: {text}");
    }
}

fn expected(case: &str) -> String {
    std::fs::read_to_string(Path::new(CASES).join(format!("{case}/expected.txt"))).unwrap()
}

// CLI-5, CLI-10
#[test]
fn speakers_are_asked_at_once_and_one_that_never_answers_is_named_and_costs_the_timeout_once() {
    let begun = std::time::Instant::now();
    let (text, code, stub) = asked("explain svc web --request-timeout 5s", &["cluster.yaml"], "nothing");
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
        ("sessions", "the sessions are FRR's"),
    ] {
        let (text, code, stub) = asked("bgp routes web", &["cluster.yaml"], forbidden);
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
    let (text, code, _) = asked(
        "bgp peers tor-1 --node node-a --request-timeout 5s",
        &["cluster.yaml"],
        "nothing",
    );
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("node-a  tor-1  198.51.100.241  64501  Established"),
        "{text}"
    );
    assert!(text.contains("1 of 1 speaker answered"), "{text}");
}
