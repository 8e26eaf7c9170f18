//! The real `kubectl` over a loopback listener, where it is installed.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use metallb_lab_api::{ApiServer, Options};
use metallb_test_runner::{main as run, skip, tests};
use serde_json::json;

fn main() -> ExitCode {
    run(tests![everyday_kubectl_works, kubectl_runs_a_service])
}

/// A server with a loopback listener, and the folder with its kubeconfig.
async fn server() -> (ApiServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listeners: vec![listener],
        dir: dir.path().to_owned(),
        ..Options::default()
    };
    (metallb_lab_api::start(options).await.unwrap(), dir)
}

struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    fn installed(kubeconfig: PathBuf, home: &Path) -> Self {
        let found = Command::new("kubectl")
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            skip("kubectl is not installed");
        }
        Self {
            kubeconfig,
            home: home.to_owned(),
        }
    }

    /// Runs a command with `input`; gives success, and both outputs together.
    fn run(&self, command: &str, input: &str) -> (bool, String) {
        let mut child = Command::new("kubectl")
            .args(command.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr]
            .map(|o| String::from_utf8_lossy(&o).into_owned())
            .concat();
        (output.status.success(), text)
    }

    #[track_caller]
    fn does(&self, command: &str, input: &str, expected: &str) {
        let (success, text) = self.run(command, input);
        assert!(
            success && text.contains(expected),
            "kubectl {command}: wanted {expected:?}, got {text}"
        );
    }

    #[track_caller]
    fn refuses(&self, command: &str, input: &str, expected: &str) {
        let (success, text) = self.run(command, input);
        assert!(
            !success && text.contains(expected),
            "kubectl {command}: wanted {expected:?}, got {text}"
        );
    }
}

async fn everyday_kubectl_works() {
    let (server, dir) = server().await;
    let kubectl = Kubectl::installed(server.kubeconfig_path(), dir.path());
    let widget = |name: &str, spec: serde_json::Value| {
        json!({"apiVersion": "lab.test/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}).to_string()
    };
    let crd = include_str!("widget.json");
    kubectl.does(
        "apply -f -",
        crd,
        "customresourcedefinition.apiextensions.k8s.io/widgets.lab.test created",
    );
    kubectl.does("apply -f -", crd, "unchanged");
    kubectl.does("apply --server-side -f -", crd, "serverside-applied");
    kubectl.does(
        "wait --for=condition=Established crd/widgets.lab.test --timeout=10s",
        "",
        "condition met",
    );
    let good = widget("a", json!({"addresses": ["x"]}));
    kubectl.does("apply -f -", &good, "widget.lab.test/a created");
    kubectl.does("apply -f -", &good, "widget.lab.test/a unchanged");
    kubectl.refuses(
        "apply -f -",
        &widget("b", json!({"addresses": ["x"], "prot": 1})),
        "unknown field \"spec.prot\"",
    );
    kubectl.refuses(
        "apply -f -",
        &widget("b", json!({"addresses": ["x"], "port": 0})),
        "should be greater than or equal to 1",
    );
    kubectl.refuses(
        "apply -f -",
        &widget("b", json!({"addresses": ["x"], "hold": 1, "keep": 2})),
        "keep must be less than hold",
    );
    kubectl.does("get wd", "", "179");
    kubectl.does("describe wd a", "", "Addresses:");
    kubectl.does("explain widget.spec", "", "addresses");
    kubectl.does("patch wd a --type=merge -p {\"spec\":{\"port\":9}}", "", "patched");
    kubectl.does("get wd a -o jsonpath={.spec.port}", "", "9");
    kubectl.does("label wd a x=y", "", "labeled");
    kubectl.does("delete wd a", "", "deleted");
    kubectl.refuses(
        "get wd a",
        "",
        "Error from server (NotFound): widgets.lab.test \"a\" not found",
    );
}

async fn kubectl_runs_a_service() {
    let (server, dir) = server().await;
    let kubectl = Kubectl::installed(server.kubeconfig_path(), dir.path());
    kubectl.does("create namespace shop", "", "namespace/shop created");
    kubectl.does(
        "create deployment web -n shop --image=lab.local/backend --replicas=2 --port=8080",
        "",
        "created",
    );
    kubectl.does("scale deployment web -n shop --replicas=3", "", "scaled");
    kubectl.does("get deployment web -n shop", "", "0/3");
    kubectl.does(
        "expose deployment web -n shop --port=80 --target-port=8080 --type=LoadBalancer",
        "",
        "exposed",
    );
    kubectl.does("get services -n shop", "", "<pending>");
    kubectl.does("describe service web -n shop", "", "LoadBalancer");
    kubectl.does(
        "annotate service web -n shop metallb.io/address-pool=p",
        "",
        "annotated",
    );
    kubectl.does(
        "create secret generic s -n shop --from-literal=password=x",
        "",
        "created",
    );
    kubectl.does("get secret s -n shop -o jsonpath={.data.password}", "", "eA==");
    kubectl.does("create configmap c -n shop --from-literal=a=b", "", "created");
    kubectl.does("create serviceaccount sa -n shop", "", "created");
    kubectl.does("create token sa -n shop", "", "");
    kubectl.does("set image deployment/web backend=other -n shop", "", "image updated");
    kubectl.does("rollout restart deployment/web -n shop", "", "restarted");
    kubectl.does("auth can-i list pods", "", "yes");
    kubectl.does("get all,events,leases,nodes,crd -A", "", "deployment.apps/web");
    kubectl.does("delete namespace shop --timeout=20s", "", "deleted");
}
