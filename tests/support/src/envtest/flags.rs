//! What the programs of the control plane are told.

use std::net::SocketAddr;
use std::path::Path;

use metallb_lab::{Families, LAB_SIX};

use super::pki::Pki;

/// Where etcd listens: the lab's loopback, which nothing else is on.
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
/// The addresses of Services.
const SERVICES: (&str, &str) = ("10.96.0.0/16", "fd00:10:96::/112");
/// The first address of [`SERVICES`] belongs to the Service `kubernetes`.
pub(crate) const KUBERNETES_SERVICE: (&str, &str) = ("10.96.0.1", "fd00:10:96::1");
/// Who the tokens of service accounts are from.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// How long a node may be silent before it counts as dead, and its pods are replaced; 40 s and 5 min by default.
const NODE_GRACE: &str = "6s";
const TOLERATION_SECONDS: u8 = 2;
/// Those of the controller-manager that make sense without kubelets, cloud and volumes. Nodes are left out: the lab
/// says itself when one died, and does not wait 40 s for it. Older API servers find webhooks by Endpoints.
const CONTROLLERS: [&str; 16] = [
    "clusterrole-aggregation-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
];

/// What the audit log keeps: everything that service accounts do, without bodies.
pub(crate) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    userGroups: [\"system:serviceaccounts:kube-system\"]
  - level: Metadata
    userGroups: [\"system:serviceaccounts\"]
  - level: None
";

pub(crate) fn etcd(dir: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=default={ETCD_PEERS}"),
        // A lab's data dies with the lab.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn services(families: Families) -> String {
    format!("--service-cluster-ip-range={}", families.list(SERVICES.0, SERVICES.1))
}

pub(crate) fn api_server(dir: &Path, pki: &Pki, address: SocketAddr, families: Families) -> Vec<String> {
    // Of the family that the Service `kubernetes` has.
    let advertised = match families {
        Families::Six => LAB_SIX.into(),
        Families::Four | Families::Both => address.ip(),
    };
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=::".into(),
        format!("--secure-port={}", address.port()),
        format!("--advertise-address={advertised}"),
        format!("--tls-cert-file={}", pki.serving.0.display()),
        format!("--tls-private-key-file={}", pki.serving.1.display()),
        format!("--client-ca-file={}", pki.ca_file.display()),
        format!("--cert-dir={}", dir.display()),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=Node,RBAC".into(),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-key-file={}", pki.accounts.1.display()),
        format!("--service-account-signing-key-file={}", pki.accounts.0.display()),
        services(families),
        "--allow-privileged=true".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--default-not-ready-toleration-seconds={TOLERATION_SECONDS}"),
        format!("--default-unreachable-toleration-seconds={TOLERATION_SECONDS}"),
        // Webhooks are called by their pods' addresses: no service proxy runs where the API server does.
        "--enable-aggregator-routing=true".into(),
        format!("--audit-policy-file={}", file("audit-policy.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
        "--audit-log-mode=blocking-strict".into(),
        "--profiling=false".into(),
    ]
}

pub(crate) fn scheduler(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
    ]
}

/// All controllers where there are nodes, and what makes their death known soon.
pub(crate) fn controller_manager(dir: &Path, pki: &Pki, nodes: bool, families: Families) -> Vec<String> {
    let controllers = if nodes { "*".into() } else { CONTROLLERS.join(",") };
    vec![
        format!(
            "--kubeconfig={}",
            dir.join("kube-controller-manager.kubeconfig").display()
        ),
        format!("--controllers={controllers}"),
        format!("--node-monitor-grace-period={NODE_GRACE}"),
        "--node-monitor-period=1s".into(),
        "--leader-elect=false".into(),
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", pki.accounts.0.display()),
        format!("--root-ca-file={}", pki.ca_file.display()),
        services(families),
        "--allocate-node-cidrs=false".into(),
        // Nobody looks at its own metrics, and a lab should not wait for its throttle.
        "--secure-port=0".into(),
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
    ]
}
