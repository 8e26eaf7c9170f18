//! The program itself: what it refuses, what it listens on, and what each mode does.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use metallb_api::IPAddressPool;
use metallb_runtime::listen;
use metallb_test_runner::{main as run, skip, tests};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";
const WEBHOOK_PORT: u16 = metallb_api::names::WEBHOOK_PORT;

fn main() -> ExitCode {
    run(tests![
        a_wrong_command_line_ends_with_1,
        without_webhooks_addresses_are_assigned_and_nothing_listens_for_webhooks,
        without_an_api_server_the_program_lives_and_is_not_ready,
        with_webhooks_alone_no_service_is_touched,
        metrics_are_served_over_https_to_those_who_may_and_on_both_families,
        clients_of_tls_1_2_are_served_only_if_the_flags_say_so,
    ])
}

struct Cluster {
    api: metallb_lab_api::ApiServer,
    client: Client,
    dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let client = api.client();
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let cluster = Self { api, client, dir };
        create::<Namespace>(
            &Api::all(cluster.client.clone()),
            json!({ "metadata": { "name": NAMESPACE } }),
        )
        .await;
        let pod = json!({ "metadata": { "name": "c" }, "spec": { "containers": [{ "name": "c", "image": "c" }] } });
        create::<Pod>(&Api::namespaced(cluster.client.clone(), NAMESPACE), pod).await;
        let pool = json!({ "metadata": { "name": "p" }, "spec": { "addresses": ["192.0.2.0/30"] } });
        create::<IPAddressPool>(&Api::namespaced(cluster.client.clone(), NAMESPACE), pool).await;
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }] });
        let service = json!({ "metadata": { "name": "web" }, "spec": spec });
        create::<Service>(&Api::namespaced(cluster.client.clone(), "default"), service).await;
        cluster
    }

    fn run(&self, flags: &[&str]) -> Program {
        let mut command = program();
        command.env("KUBECONFIG", self.api.kubeconfig_path());
        command.args(["--namespace=metallb-system", "--pod-name=c"]).args(flags);
        Program(command.spawn().unwrap())
    }

    /// The version of the Service, which every write changes.
    async fn version(&self) -> Option<String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        services.get("web").await.unwrap().metadata.resource_version
    }

    async fn ip(&self) -> Option<String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        let status = services.get("web").await.unwrap().status?.load_balancer?;
        status.ingress?.into_iter().next()?.ip
    }

    fn token(&self) -> String {
        let text = std::fs::read_to_string(self.api.kubeconfig_path()).unwrap();
        let at = text.find("token: ").unwrap() + "token: ".len();
        text[at..].lines().next().unwrap().trim().trim_matches('"').to_owned()
    }
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// A running controller, which ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metallb-controller"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for name in [
        "KUBECONFIG",
        "METALLB_NAMESPACE",
        "METALLB_POD_NAME",
        "METALLB_ML_SECRET_NAME",
        "METALLB_DEPLOYMENT",
    ] {
        command.env_remove(name);
    }
    command
}

fn output(flags: &[&str]) -> Output {
    let mut command = program();
    command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("[::]:0")
        .or_else(|_| TcpListener::bind("0.0.0.0:0"))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn wait_for<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), poll).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

/// Asks over plain HTTP; nothing when nobody listens.
async fn plain(port: u16, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// Asks over HTTPS without looking at the certificate, by curl, which is no code of ours.
fn https(host: &str, port: u16, token: Option<&str>) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-sk", "--max-time", "20", "-w", "\n%{http_code}"]);
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.arg(format!("https://{host}:{port}/metrics")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

fn needs_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        skip("curl is not installed");
    }
}

fn a_wrong_command_line_ends_with_1() {
    // CTL-139 CTL-140 CTL-137
    let wrong: [(&[&str], &str); 5] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (
            &["--webhook-mode=sometimes", "--namespace=n", "--pod-name=p"],
            "sometimes",
        ),
        (&["--pod-name=p"], "namespace"),
        (&["--namespace=n"], "--pod-name"),
        (
            &[
                "--namespace=n",
                "--pod-name=p",
                "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            ],
            "cipher",
        ),
    ];
    for (flags, text) in wrong {
        let output = output(flags);
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {said}");
        assert!(said.contains(text), "{flags:?}: {said}");
    }
}

async fn without_webhooks_addresses_are_assigned_and_nothing_listens_for_webhooks() {
    // CTL-135 CTL-138 CTL-139
    let cluster = Cluster::start().await;
    let health = free_port();
    let port = format!("--health-probe-port={health}");
    let program = cluster.run(&["--webhook-mode=disabled", "--port=0", &port]);
    wait_for("an address", async || cluster.ip().await.is_some()).await;
    let ready = async || {
        plain(health, "/readyz")
            .await
            .is_some_and(|answer| answer.ends_with("ok"))
    };
    wait_for("readiness", ready).await;
    assert!(plain(health, "/healthz").await.unwrap().ends_with("ok"));
    let listening = listening(program.0.id());
    assert_eq!(listening, [health], "metrics and webhooks are off");
    drop(program);
    cluster.api.shutdown().await;
}

/// Lets whoever calls `port` reach the API server.
async fn forward(port: u16, to: SocketAddr) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    while let Ok((mut client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

async fn without_an_api_server_the_program_lives_and_is_not_ready() {
    // CTL-138
    let cluster = Cluster::start().await;
    let (away, health) = (free_port(), free_port());
    let real = std::fs::read_to_string(cluster.api.kubeconfig_path()).unwrap();
    let address = real.split("https://").nth(1).unwrap().lines().next().unwrap();
    let address = address.trim().trim_matches('"');
    let kubeconfig = cluster.dir.path().join("away.kubeconfig");
    std::fs::write(&kubeconfig, real.replace(address, &format!("127.0.0.1:{away}"))).unwrap();
    let flags = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--health-probe-port={health}"),
    ];
    let mut program = cluster.run(&["--webhook-mode=disabled", "--port=0", &flags[0], &flags[1]]);
    let waits = async || {
        let answer = plain(health, "/readyz").await.unwrap_or_default();
        answer.starts_with("HTTP/1.1 503") && answer.contains("waiting for: ") && answer.contains("Services")
    };
    wait_for("the port of probes", waits).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(program.0.try_wait().unwrap().is_none(), "it has ended");
    assert!(plain(health, "/healthz").await.unwrap().ends_with("ok"));
    assert!(waits().await);
    tokio::spawn(forward(away, address.parse().unwrap()));
    wait_for("an address", async || cluster.ip().await.is_some()).await;
    let ready = async || {
        plain(health, "/readyz")
            .await
            .is_some_and(|answer| answer.ends_with("ok"))
    };
    wait_for("readiness", ready).await;
    drop(program);
    cluster.api.shutdown().await;
}

async fn with_webhooks_alone_no_service_is_touched() {
    // CTL-138 CTL-139
    needs_curl();
    // It cannot be chosen, so another program may have it.
    if listen::bind(listen::everywhere(WEBHOOK_PORT)).is_err() {
        skip("somebody has the port of the webhooks");
    }
    let cluster = Cluster::start().await;
    let folder = cluster.dir.path().join("webhook-certs");
    std::fs::create_dir(&folder).unwrap();
    let pair = metallb_runtime::tls::self_signed().unwrap();
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
    let before = cluster.version().await;
    let health = free_port();
    let program = cluster.run(&[
        "--webhook-mode=onlywebhook",
        "--port=0",
        "--disable-cert-rotation=true",
        &format!("--cert-dir={}", folder.display()),
        &format!("--health-probe-port={health}"),
    ]);
    let ready = async || plain(health, "/readyz").await.unwrap_or_default().ends_with("ok");
    wait_for("readiness", ready).await;
    assert_eq!(
        listening(program.0.id()),
        sorted([health, WEBHOOK_PORT]),
        "nothing else is served"
    );
    let refusal = review("192.0.2.0/30");
    assert!(refusal.contains("overlaps with already defined CIDR"), "{refusal}");
    // A controller that assigns would have taken less than a second for it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.version().await, before, "the Service was written");
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    assert!(
        leases.list(&Default::default()).await.unwrap().items.is_empty(),
        "nobody is elected"
    );
    drop(program);
    cluster.api.shutdown().await;
}

/// What the webhooks say of a new pool with this range.
fn review(range: &str) -> String {
    let object = json!({ "metadata": { "name": "new", "namespace": NAMESPACE }, "spec": { "addresses": [range] } });
    let request = json!({ "uid": "u", "operation": "CREATE", "namespace": NAMESPACE, "object": object });
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    let url = format!("https://127.0.0.1:{WEBHOOK_PORT}/validate-metallb-io-v1beta1-ipaddresspool");
    let mut command = Command::new("curl");
    command.args(["-sk", "--max-time", "20", "-H", "Content-Type: application/json"]);
    let output = command.args(["-d", &review.to_string(), &url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn sorted<const N: usize>(mut ports: [u16; N]) -> [u16; N] {
    ports.sort_unstable();
    ports
}

async fn metrics_are_served_over_https_to_those_who_may_and_on_both_families() {
    // CTL-134 CTL-142
    needs_curl();
    let cluster = Cluster::start().await;
    let (health, metrics) = (free_port(), free_port());
    let ports = [format!("--health-probe-port={health}"), format!("--port={metrics}")];
    let program = cluster.run(&["--webhook-mode=disabled", &ports[0], &ports[1]]);
    wait_for("an address", async || cluster.ip().await.is_some()).await;
    let token = cluster.token();
    assert_eq!(https("127.0.0.1", metrics, None).0, "401");
    assert_eq!(https("127.0.0.1", metrics, Some("nobody")).0, "401");
    // The address is in the status a moment before the controller learns that, and counts it.
    let counted = async || {
        let (code, body) = https("127.0.0.1", metrics, Some(&token));
        let counts = ["addresses_in_use", "services_allocated"];
        let counts = counts.map(|name| format!("metallb_allocator_{name}_total{{pool=\"p\"}} 1\n"));
        code == "200" && counts.iter().all(|count| body.contains(count))
    };
    wait_for("the numbers of the pool", counted).await;
    let (_, body) = https("127.0.0.1", metrics, Some(&token));
    for line in [
        "metallb_allocator_addresses_total{pool=\"p\"} 4",
        "metallb_allocator_services_allocated_total{pool=\"p\"} 1",
        "metallb_k8s_client_config_loaded_bool 1",
        "metallb_k8s_client_config_stale_bool 0",
        "metallb_k8s_client_update_errors_total 0",
        "controller_runtime_max_concurrent_reconciles{controller=\"service\"} 16",
        "controller_runtime_reconcile_errors_total{controller=\"service\"} 0",
        "controller_runtime_reconcile_panics_total{controller=\"service\"} 0",
        "workqueue_depth{controller=\"service\",name=\"service\",priority=\"\"} 0",
    ] {
        assert!(body.contains(&format!("{line}\n")), "{line} is not in\n{body}");
    }
    for name in [
        "rest_client_requests_total{code=\"200\",",
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ] {
        assert!(body.contains(name), "{name} is not in\n{body}");
    }
    assert_eq!(
        plain(metrics, "/metrics")
            .await
            .filter(|answer| answer.contains("200 OK")),
        None,
        "HTTPS only"
    );
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => assert_eq!(https("[::1]", metrics, Some(&token)).0, "200"),
        Err(_) => skip("no IPv6; all else is well"),
    }
    drop(program);
    cluster.api.shutdown().await;
}

async fn clients_of_tls_1_2_are_served_only_if_the_flags_say_so() {
    // CTL-137
    needs_curl();
    let cluster = Cluster::start().await;
    let old = [
        "--tls-min-version=VersionTLS12",
        "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ];
    for (flags, older) in [(&[][..], "000"), (&old[..], "401")] {
        let metrics = free_port();
        let port = format!("--port={metrics}");
        let more = ["--webhook-mode=disabled", "--health-probe-port=0", &port];
        let program = cluster.run(&[&more[..], flags].concat());
        let status = |version: &str| {
            let mut command = Command::new("curl");
            command.args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
            let output = command.args(["--tls-max", version, &format!("https://127.0.0.1:{metrics}/metrics")]);
            String::from_utf8(output.output().unwrap().stdout).unwrap()
        };
        wait_for("the metrics", async || status("1.3") == "401").await;
        assert_eq!(status("1.2"), older, "{flags:?}");
        drop(program);
    }
    cluster.api.shutdown().await;
}

/// The TCP ports that a process listens on.
fn listening(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports: Vec<u16> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            // State 0A is LISTEN, the tenth field the inode.
            let ours = fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]);
            let port = fields[1].rsplit(':').next()?;
            ours.then(|| u16::from_str_radix(port, 16).ok()).flatten()
        })
        .collect();
    ports.sort_unstable();
    ports
}
