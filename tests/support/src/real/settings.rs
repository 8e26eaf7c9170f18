//! What the programs of a node are told.

use std::path::Path;

use super::{NodeSpec, Proxy};

/// Where distributions put CNI plugins.
pub(super) const CNI_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// Where nodes and pods find the services of a cluster that has no DNS: nobody is there.
const DNS: &str = "10.96.0.10";

/// The image of every pod's sandbox.
pub(super) const PAUSE: &str = "lab.local/pause:lab";
/// The image of the lab's web server.
pub(super) const BACKEND: &str = "lab.local/backend:lab";

pub(super) fn cni_folder() -> Option<&'static str> {
    CNI_FOLDERS
        .into_iter()
        .find(|folder| Path::new(folder).join("bridge").is_file())
}

/// Settings that the kubelet makes for the whole machine: on a node they are files of its own.
pub(super) const KERNEL: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Without CAP_SYS_RESOURCE, as in some virtual machines, nobody may lower an OOM score: hence `restrict_oom_score_adj`.
pub(super) fn containerd(node: &NodeSpec, cni: &str) -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{}"
"#,
        node.dir.join("cni").display()
    )
}

pub(super) fn cni(node: &NodeSpec) -> String {
    let range = |subnet: &str| format!(r#"[{{"subnet": "{subnet}"}}]"#);
    let ranges = node.families.list(&range(&node.pods.0), &range(&node.pods.1));
    let routes = node.families.list(r#"{"dst": "0.0.0.0/0"}"#, r#"{"dst": "::/0"}"#);
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "cni0", "isGateway": true,
  "hairpinMode": true, "ipam": {{"type": "host-local", "ranges": [{ranges}], "routes": [{routes}]}}}}]}}
"#
    )
}

/// A dead node is noticed within seconds, see the node monitor's grace period of the control plane.
pub(super) fn kubelet(node: &NodeSpec) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: {}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
resolvConf: \"\"
clusterDNS: [{DNS}]
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi}}
nodeStatusUpdateFrequency: 1s
nodeLeaseDurationSeconds: 4
",
        node.group
    )
}

pub(super) fn kubelet_flags(node: &NodeSpec) -> Vec<String> {
    vec![
        format!("--config={}", node.dir.join("kubelet.yaml").display()),
        format!("--kubeconfig={}", node.kubeconfigs.0.display()),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.families.list(&node.address.0, &node.address.1)),
    ]
}

pub(super) fn proxy_flags(node: &NodeSpec) -> Vec<String> {
    let mode = match node.proxy {
        Proxy::Iptables => "iptables",
        Proxy::Nftables => "nftables",
    };
    vec![
        format!("--kubeconfig={}", node.kubeconfigs.1.display()),
        format!("--hostname-override={}", node.name),
        format!("--proxy-mode={mode}"),
        format!(
            "--cluster-cidr={}",
            node.families.list("10.244.0.0/16", "fd00:10:244::/48")
        ),
        // These are settings of the whole machine.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0".into(),
        "--conntrack-tcp-timeout-close-wait=0".into(),
    ]
}
